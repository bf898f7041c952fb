"""
Conversion: a file that was read, or a part of it, in another format.
"""
