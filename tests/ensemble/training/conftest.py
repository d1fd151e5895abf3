from collections.abc import Iterator

import pytest
from training_nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    process = Nursery()
    yield process
    process.close()
