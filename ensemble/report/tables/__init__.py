"""Results of every kind as tables, ready for any writer: scores, protocols, subsets, folds, costs, stores.

Nothing here computes a result or writes a file.
"""
