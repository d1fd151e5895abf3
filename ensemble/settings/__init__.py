"""What can be asked: typed settings, and how YAML files and ``--set`` become them.

No torch here, no files of runs, and nothing that acts on a setting.
"""
