"""
Classification: which state a stack is in, by tables of rules, and what an instruction calls.
"""
