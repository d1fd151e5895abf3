"""NYU Depth v2: how each copy that is about is recognised, listed and read.

What holds for any data set stands one folder up; other data sets get a folder of their own.
"""
