"""What the pixels of an image mean: any kind of picture as RGB with 8 bits, for files and for arrays alike.

Nothing here reads a file, and nothing but NumPy and Pillow is imported: exported files predict with these alone.
"""
