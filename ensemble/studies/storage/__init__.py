"""Where the trials of a study are kept and what stands in its folder: addresses, connections, records.

Nothing here runs a trial or compares arms.
"""
