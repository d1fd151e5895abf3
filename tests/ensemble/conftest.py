"""One trained miniature of the whole job, shared by the tests that only look at it or work on a copy of it."""

import fcntl
import os
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from command_lines import LEARNER_NAMES, TINY, Job, done

from ensemble.data.rooms.source import RoomsSource


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    config.write_text(TINY, encoding="utf-8")
    return config


@pytest.fixture(scope="session")
def job(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Three learners with the models of two folds, their rows, three stacks, and the table with all of them.

    The first test process that wants it makes it; every process works on a copy of its own.
    """
    own = tmp_path_factory.mktemp("job")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    made = shared / "made-job" / "job.pickle"
    with (shared / "job.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not made.is_file():
            made.parent.mkdir(exist_ok=True)
            finished = _job(tiny, made.parent / "cache")
            made.write_bytes(pickle.dumps(finished))
    job: Job = pickle.loads(made.read_bytes())
    return replace(job, config=tiny, cache=job.copy_to(own))


def _job(tiny: Path, cache: Path) -> Job:
    given = ("--config", tiny, "--cache-dir", cache)
    trained = [done("base", "train", name, "--folds", 2, *given).err.splitlines() for name in LEARNER_NAMES]
    next_commands = [lines[-1] for lines in trained]
    images_read: dict[str, Counter[str]] = {}
    read_image = RoomsSource.read_image
    for role in ("fit", "oof", "validation", "test"):
        images_read[role] = count = Counter()

        def counted(source, frame, count=count):
            count[frame.id] += 1
            return read_image(source, frame)

        with mock.patch.object(RoomsSource, "read_image", counted):
            next_commands.append(done("base", "cache", *LEARNER_NAMES, "--role", role, *given).err.splitlines()[-1])
    fitted = [done("meta", "fit", "--inputs", inputs, *given).err.splitlines() for inputs in ("d", "rgb", "rgb+d")]
    next_commands += [lines[-1] for lines in fitted]
    table = done("meta", "evaluate", "meta-d", "meta-rgb", "tiny/meta-rgb+d", "--json", "--cache-dir", cache)
    return Job(tiny, cache, cache, [lines[0] for lines in trained], images_read, next_commands, table)
