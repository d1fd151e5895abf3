"""Depth of every frame by every learner: which models there are, what they predict, and the rows that a stack reads.

``store`` keeps rows in HDF5, ``foreign`` takes depth maps from elsewhere; nothing here weighs or scores learners.
"""
