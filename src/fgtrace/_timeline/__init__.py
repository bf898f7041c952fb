"""
The timeline: a recording in, slices out. Pure: no clock, no thread, no bytes.
"""
