"""Bits of a study's database are flipped; every command that opens it tells what it found, or tells what is true."""

import contextlib
import io
import random
import sqlite3
from collections.abc import Callable
from unittest import mock

import pytest
from command_lines import Answer, call
from study_actors import found, instant, run_here, toy, work_here

from ensemble.studies.running import trials, workers
from ensemble.studies.running.launch import begin_study
from ensemble.studies.running.trials import WorkerContext

PLACES = {
    "the kind of a page": lambda data: (page_of(data, "trial_values") - 1) * page_size(data),
    "the number of rows of a page": lambda data: (page_of(data, "trials") - 1) * page_size(data) + 4,
    "a name in the schema": lambda data: data.index(b"datetime_start DATETIME"),
    "the state of a trial": lambda data: data.rindex(b"COMPLETE") + 1,
    "the name of an arm": lambda data: data.rindex(b"toy/rgb") + 4,
    "text that is no UTF-8": lambda data: data.rindex(b"toy/rgb"),
    "a distribution": lambda data: data.rindex(b'{"name": "FloatDistribution"') + 2,
    "the encoding of all text": lambda _: 59,
}
"""Bytes of a database of SQLite, each with what reads it."""

QUICK = ("the number of rows of a page", "the state of a trial", "text that is no UTF-8")

BITS = {"text that is no UTF-8": 7, "a name in the schema": 0, "the encoding of all text": 1}


def page_size(data: bytes) -> int:
    return int.from_bytes(data[16:18], "big")


def page_of(data: bytes, table: str) -> int:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(data)
        return database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    patient = {"timeout": 1, "heartbeat": 60, "grace": 120, "max_retry": 0}
    context = toy(tmp_path_factory.mktemp("damage"), trials=2, storage=patient)
    with mock.patch.multiple("ensemble.studies.running.launch", check_learners=mock.DEFAULT, prepare=mock.DEFAULT):
        begin_study(context)
    work_here(context)
    assert len(found(context)) == 4
    return context


def readers(context: WorkerContext) -> dict[str, Answer]:
    given = ("--cache-dir", context.outputs.root)
    best = context.outputs.root.parent / "best.yaml"
    best.unlink(missing_ok=True)
    answers = {
        "show": call("study", "show", "toy", "--json", *given),
        "best": call("study", "best", "toy", "--write", best, *given),
        "verify": call("base", "verify", *given),
    }
    written = best.read_text() if best.exists() else ""
    return {**answers, "best": Answer(answers["best"].status, written, answers["best"].err)}


def worker(context: WorkerContext) -> Answer:
    """What a worker process says, within this one."""
    study = context.study.model_dump_json()
    given = {"study": study, "cache": str(context.outputs.root), "named": True, "url": context.url, "root": None}
    err = io.StringIO()
    with contextlib.redirect_stderr(err), mock.patch.object(trials, "fit_meta", instant()):
        status = workers.main({**given, "wandb": False, "index": 0, "deadline": None})
    return Answer(status, "", err.getvalue())


def check(context: WorkerContext, good: bytes, at: int, bit: int, truth: dict[str, Answer]) -> bool:
    """Whether anybody names the damage; nobody may be wrong without a word."""
    database = context.folder.database
    bad = bytearray(good)
    bad[at] ^= 1 << bit
    writers: dict[str, Callable[[], Answer]] = {
        "run": lambda: run_here(context.outputs.root.parent / "toy.yaml", "--cache-dir", context.outputs.root),
        "worker": lambda: worker(context),
    }
    try:
        database.write_bytes(bad)
        answers = readers(context)
        for name, ask in writers.items():
            database.write_bytes(bad)
            answers[name] = ask()
            told = answers[name].err.strip().splitlines()[-1]
            assert (answers[name].status == 0) != told.startswith("error: "), (name, told)
            if answers[name].status == 0 and answers["verify"].status == 0:
                now = [(trial.arm, trial.number, trial.values, trial.numbers) for trial in found(context)]
                database.write_bytes(good)
                assert now == [(trial.arm, trial.number, trial.values, trial.numbers) for trial in found(context)]
    finally:
        database.write_bytes(good)
    for name in truth:
        answer = answers[name]
        assert answer.status in (0, 1), (name, answer.err)
        assert bool(answer.status) == bool(answers["verify"].status), (name, answer.err, answers["verify"].err)
        if answer.status:
            assert "study.db" in answer.err, (name, answer.err)
        else:
            assert (answer.out, answer.err) == (truth[name].out, truth[name].err), name
    return bool(answers["verify"].status)


@pytest.mark.parametrize(
    "place", [place if place in QUICK else pytest.param(place, marks=pytest.mark.slow) for place in PLACES]
)
def test_a_flipped_bit_of_a_database_is_a_sentence_of_every_command(finished: WorkerContext, place: str):
    good = finished.folder.database.read_bytes()
    assert check(finished, good, PLACES[place](good), BITS.get(place, 2), readers(finished))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_thirty_flipped_bits_of_a_database_are_told_or_change_nothing(finished: WorkerContext, seed: int):
    good = finished.folder.database.read_bytes()
    written = [at for at, byte in enumerate(good) if byte]
    draw, truth = random.Random(seed), readers(finished)
    told = sum(check(finished, good, draw.choice(written), draw.randrange(8), truth) for _ in range(15))
    assert told > 0
