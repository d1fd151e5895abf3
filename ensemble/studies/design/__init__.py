"""A study as it is asked: its YAML file, its arms, and its best setting as an experiment of its own.

No trial is begun and no storage is opened here.
"""
