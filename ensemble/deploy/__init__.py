"""A fitted stack at work outside of its data: in other programs, on photographs and foreign maps, as one file.

In this order: ``network``, ``saved``, ``door``, ``fitted``, ``loading``; nothing trains, and only the gate of
``export``, which makes files for other runtimes, reads frames with a truth: of validation scenes.
"""
