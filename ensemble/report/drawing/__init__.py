"""Pictures and charts, drawn from arrays: depth, weights, errors, curves.

Nothing here reads scores from a run or shows a window.
"""
