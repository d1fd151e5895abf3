"""The meta-learner: per-pixel weights over the depths of any learners, and the combiners that it is compared with."""
