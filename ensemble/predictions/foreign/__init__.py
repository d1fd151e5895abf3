"""Depth maps from elsewhere as rows of a learner: checked, brought to metres, imported, and kept on record.

In this order: ``asked``, ``guesses``, ``checks``, ``scale``, ``import_depth``, ``record``. No truth of a test frame is
read here.
"""
