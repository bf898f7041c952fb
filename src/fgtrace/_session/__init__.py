"""
Sessions: one trace from start to stop, and the flight recorder, which keeps the last seconds.
"""
