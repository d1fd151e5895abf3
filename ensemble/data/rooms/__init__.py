"""Generated indoor scenes with exact depth: drawn, furnished, rendered, and handed out as a source of frames.

Nothing here reads a file or knows another source.
"""
