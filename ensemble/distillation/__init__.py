"""Whom a student learns from, and the teacher's depth in the cache; ``training.distillation`` is what a step adds."""
