"""
Options: one frozen value that checks itself once, and how it is read from queries, command lines and the
environment.
"""
