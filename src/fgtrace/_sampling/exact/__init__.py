"""
Exact awaits: hooks in asyncio that note when each step of a task begins and ends.
"""
