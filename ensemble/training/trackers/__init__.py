"""What a run tells while it goes on: to its log, to the screen, and to Weights & Biases where that is asked for.

wandb is imported here and nowhere else; no tracker decides anything.
"""
