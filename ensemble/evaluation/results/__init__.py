"""What an evaluation found, as files: scores, details of stacks, galleries, protocols; merged and compared.

Numbers and arrays only: ``ensemble.report`` draws and words them, and no frame is read here.
"""
