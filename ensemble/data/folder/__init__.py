"""Images and depth maps of one's own as frames: which files there are, whose scenes, and how one frame is read.

``configs/data/folder.yaml`` says what can be asked; a data set that this reads wants a YAML like it and no code.
"""
