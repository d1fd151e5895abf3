"""A photograph as coloured points in space: pixels to metres (``cloud``), files that other programs open (``files``).

In this order: ``cloud``, ``files``, ``photograph``.
"""
