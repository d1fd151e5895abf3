"""Names of rows that every table knows, and which names they leave to people."""

MEAN = "mean"

BEST_SINGLE = "best-single"

SEED_MEAN = "seed-mean"

BAR = "weighted-log-mean"
"""One weight a learner, in logs: what every stack is held against."""

ORACLE = "oracle convex"

SHUFFLED = "oracle shuffled"

IMAGE_WEIGHTS = "weights per image"
