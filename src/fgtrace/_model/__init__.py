"""
Values: the words of the house (tracks, frames, slices, waits) as frozen values, the states, and slices as
begins and ends.
"""
