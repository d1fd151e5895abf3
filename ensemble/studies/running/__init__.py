"""Trials: prepared, drawn, fitted, watched, and run by workers that may die.

Test frames are out of reach here; arms are held against each other in ``comparing``.
"""
