"""
The debug hook: it watches loops and tasks, names the culprit, and dumps the flight recorder.
"""
