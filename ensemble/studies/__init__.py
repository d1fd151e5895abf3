"""Studies with Optuna: questions with few answers, numbers that are tuned for each, equal budget for all of them.

From ``design`` over ``storage`` and ``running`` to ``comparing``; Optuna is imported nowhere else.
"""
