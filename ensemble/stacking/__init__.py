"""Weights over learners: the fit of the meta-learner, a fitted stack, baselines, and which learners to stack.

Rows of training alone are read here; scores on test frames belong to ``evaluation``.
"""
