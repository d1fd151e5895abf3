"""The application: data, training, cache, evaluation and the command lines."""

import sys

from ensemble.runs.stopping import end_plainly

if sys.argv[0] == "-m":  # a command line is about to be imported, which takes as long as some commands
    end_plainly()
