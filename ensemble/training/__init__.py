"""Weights: networks built from settings, one engine around Lightning that trains them, and what they cost.

Learners alone are trained here; what weighs them is fitted in ``stacking``, and no cached row is read.
"""
