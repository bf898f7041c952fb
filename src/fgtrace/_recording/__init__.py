"""
The recording: what collectors append to while the program runs, and windows and rings of it.
"""
