"""How a step is made: whose parameters at which rate, gradients held to a norm, one cycle over a budget.

Pure functions and small classes around torch's optimisers; what is trained, and on which frames, is not known here.
"""
