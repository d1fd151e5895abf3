"""Where a run lies on disk, and files that are whole or not there.

What is written into a run belongs to the stage that writes it; nothing here knows networks, frames or scores.
"""
