"""What a command says: messages and results (``streams``), and a sign of life where it is silent (``pulse``).

Nothing here knows what is said.
"""

from ensemble.console.streams import counted, duration, messages, name_commands, print_json, progress, results

__all__ = ["messages", "results", "print_json", "progress", "duration", "counted", "name_commands"]
