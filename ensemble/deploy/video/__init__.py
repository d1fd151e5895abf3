"""Depth of films and cameras: frames in (``reading``), films and 16-bit depth out (``writing``), nothing kept between.

In this order: ``smoothing`` and ``queues`` know no film; ``reading``, ``writing``, ``film``, which joins them.
"""
