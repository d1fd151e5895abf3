"""How command lines look: lists, helps, unknown names (``application``), what shells complete (``completion``).

Nothing here does the work of a command; what a command takes stands in ``ensemble.options``.
"""
