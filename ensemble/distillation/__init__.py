"""Whom a student learns from, and the teacher's depth in the cache: ``asked``, ``checks``, ``teachers``, ``lessons``.

What a step of training adds is ``training.distillation``; no loss and no network stands here.
"""
