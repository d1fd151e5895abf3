"""Shapes and types in signatures are checked while tests run; one thread per process; the same examples every time."""

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook(["base_learners", "meta"], "beartype.beartype")
torch.set_num_threads(1)
settings.register_profile("deterministic", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("deterministic")
