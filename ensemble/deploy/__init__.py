"""A fitted stack at work outside of its data: depth of any photograph.

Nothing here trains, and nothing here reads a frame with a truth.
"""
