"""A fitted stack at work outside of its data: in other programs, on photographs and foreign maps, as one file.

In this order: ``network``, ``saved``, ``door``, ``fitted``, ``loading``; nothing trains or reads a frame with a truth.
"""
