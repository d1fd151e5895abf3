"""Photographs as files: which there are, what results of each are called, and what their lens saw.

Nothing here decodes one, and nothing but Pillow is imported: exported files predict with NumPy and Pillow alone.
"""
