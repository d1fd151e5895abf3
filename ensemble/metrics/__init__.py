"""How depth is scored: formulas and the protocol they stand under, published protocols, intervals, uncertainty.

Pure mathematics over arrays and tensors: no frames, no files, no networks.
"""
