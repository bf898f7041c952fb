"""
Output: a captured trace with its metadata on its way to a file, in this process or in one of its own.
"""
