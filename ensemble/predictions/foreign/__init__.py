"""Depth maps from elsewhere as rows of a learner: checked, brought to metres, imported, and kept on record.

In this order: ``checks``, ``scale``, ``import_depth``, ``record``; truth of test frames is read nowhere here.
"""
