"""Sweeps: one learner with its switches set in turn, each trained at equal budget, beside what each costs.

Nothing is tuned within an arm, so that nothing but the switch differs.
"""
