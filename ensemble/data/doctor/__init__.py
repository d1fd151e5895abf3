"""Examines a copy without trusting it: what it holds, and what would make training wrong.

Findings only; the command line words them.
"""
