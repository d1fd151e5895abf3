"""Shapes and types in signatures are checked while tests run; one thread per process; the same examples every time."""

import signal

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from rooms_once import render_once

install_import_hook(["base_learners", "meta"], "beartype.beartype")
render_once()
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells switch it off for what they start in the background
settings.register_profile("deterministic", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("deterministic")

LONGEST = ("test_cache_kills", "test_training", "test_study", "test_toy", "test_wheel")
"""How the names of the files that take longest begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then others with long tests: so no process is left with one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.path.name.startswith(LONGEST), item.path not in slow))
