"""Scores on the test frames: the methods side by side, what they are called and cost, calibration of their uncertainty.

Only ``evaluate`` reads truth of test frames; nothing that trains or chooses may import it.
"""
