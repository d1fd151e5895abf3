"""Training packs: frames of a copy decoded once, written with checks and read in parts.

What a copy looks like before it is packed is not known here.
"""
