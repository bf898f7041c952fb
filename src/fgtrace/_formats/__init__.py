"""
File formats: encoders, decoders, conversion between them, and files that become whole at once.
"""
