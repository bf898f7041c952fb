"""
Sampling: the clock, the two samplers that take a tick, and what keeps their threads out of the program's
way.
"""
