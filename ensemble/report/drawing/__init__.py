"""Pictures and charts, drawn from arrays: depth, weights, errors, curves.

Nothing here reads scores from a run or shows a window.
"""

LARGEST_ERROR = 0.5
"""Relative error of full colour in error maps, the same in every report so that they can be compared."""
