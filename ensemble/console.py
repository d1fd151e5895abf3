"""Where messages go: tables and JSON to standard output, everything else to standard error."""

from rich.console import Console

messages = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=False)
