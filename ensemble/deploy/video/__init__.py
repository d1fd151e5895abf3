"""Depth of films and cameras: frames in (``reading``), films and 16-bit depth out (``writing``), nothing kept between.

In this order: ``smoothing``, ``queues`` and ``sharing`` know no film; ``shapes`` of frames; ``reading``, ``writing``;
``film`` joins them.
"""

WIDEST = 1920
"""Columns of a film that phones still play, and that take no longer to write than small networks to compute."""
