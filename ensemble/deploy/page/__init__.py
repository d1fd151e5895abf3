"""A page in the browser: a photograph, its depth, and what every learner has to say of it.

In this order: ``sight`` (what is known of a photograph, without a page), ``wording``, ``sessions`` (files of visitors),
``guard``, ``examples``, ``page`` (Gradio, in this file alone), ``serving``.
"""
