"""Encoders: what a decoder may need (``pyramid``), how it is built from a timm model (``build``), its ``weights``.

Only ``build`` imports timm, and no learner imports ``build``: a network is given its encoder.
"""
