"""One reader per kind of file: images, depth maps, HDF5; each refuses what would silently be read as something else.

No data set and no split is known here.
"""

LARGEST_MEMBER_BYTES = 1 << 28
"""What one array of a file, or one map of an archive, may hold."""
