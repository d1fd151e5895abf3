"""A real PostgreSQL server: two workers share a study, one is killed; the server goes away and comes back."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from command_lines import call
from sqlalchemy.pool import NullPool
from study_actors import ended, found, instant, kill, run_here, start, toy, wait_for, work_here, write_study

from ensemble.settings.trees import SettingsError
from ensemble.studies.running.trials import WorkerContext
from ensemble.studies.storage.addresses import storage_url
from ensemble.studies.storage.connection import StorageDownError, open_storage, patiently
from ensemble.studies.storage.records import Trial, begun_trials

VERSIONS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
TRIALS = 4


class Server:
    """A server on the loopback with data of its own; PostgreSQL refuses root, so root runs it as somebody else."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("initdb")
        binaries = Path(found).parent if found else VERSIONS[-1] if VERSIONS else None
        if binaries is None:
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql (this test is not skipped)")
        self._binaries, self._folder, self._data = binaries, folder, folder / "data"
        self._user: str | None = None
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in known else "nobody"
            shutil.chown(folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "--pgdata", self._data, "--auth", "trust", "--username", "studies", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql://studies@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = self._folder / "server.log"
        self._run("pg_ctl", "start", "--wait", "--pgdata", self._data, "--log", log, "--options", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--mode", "immediate", "--pgdata", self._data)

    def _run(self, tool: str, *words: object) -> None:
        subprocess.run(
            [str(self._binaries / tool), *map(str, words)],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            user=self._user,
            extra_groups=[] if self._user else None,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="studies-"))  # below it another user must get in
    found = Server(folder)
    found.start()
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder)


def finished(trials: list[Trial]) -> Counter[tuple[str, str]]:
    return Counter((trial.arm, trial.state) for trial in trials if trial.finished)


@pytest.mark.slow
def test_two_workers_share_a_study_and_one_is_killed_in_mid_trial(server: Server, tmp_path: Path):
    context = toy(tmp_path, url=server.url, name="killed", trials=TRIALS)
    doomed = start(context, instant(seconds=600), 0)
    marks = [context.folder.trial(arm, number).folder / "begun" for arm in ("d", "rgb") for number in range(TRIALS)]

    def has_begun() -> bool:
        return any(mark.is_file() and str(doomed.pid) in mark.read_text() for mark in marks)

    wait_for(has_begun)
    survivor = start(context, instant(seconds=0.2), 1)
    wait_for(lambda: len(ended(found(context))) >= 2)
    before = ended(found(context))
    kill(doomed)
    survivor.join()
    assert survivor.exitcode == 0
    trials = found(context)
    assert before.items() <= ended(trials).items()
    assert finished(trials) == {("d", "complete"): TRIALS, ("rgb", "complete"): TRIALS}
    (lost,) = [trial for trial in trials if trial.state == "lost"]
    (again,) = [trial for trial in trials if trial.frozen.system_attrs.get("failed_trial") == lost.number]
    assert (again.arm, again.numbers, again.state) == (lost.arm, lost.numbers, "complete")


@pytest.mark.slow
def test_a_trial_of_another_machine_is_missed_by_its_heartbeat(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    context = toy(tmp_path, url=server.url, name="elsewhere", trials=1, questions={"inputs": ["d"]})
    monkeypatch.setattr("ensemble.studies.running.trials.socket.gethostname", lambda: "another")
    doomed = start(context, instant(seconds=600))
    wait_for((context.folder.trial("d", 0).folder / "begun").is_file)
    kill(doomed)
    monkeypatch.undo()
    work_here(context)  # waits until the grace period is over
    assert [trial.state for trial in found(context)] == ["lost", "complete"]


def test_a_server_that_goes_away_and_comes_back_costs_no_finished_trial(server: Server, tmp_path: Path):
    patience = {"timeout": 1.0, "heartbeat": 1, "grace": 3}
    context = toy(tmp_path, url=server.url, name="outage", trials=2, storage=patience, questions={"inputs": ["d"]})
    with pytest.raises(StorageDownError, match="the storage does not answer") as caught:
        work_here(context, instant(before=lambda settings, run: server.stop() if run.folder.name == "1" else None))
    assert "outcome of trial 1 of d is kept" in str(caught.value)
    with pytest.raises(StorageDownError, match=str(server.port)):
        open_storage(context.url, context.study.storage)
    server.start()
    fresh = WorkerContext(context.study, context.outputs, context.url)
    work_here(fresh, instant(before=lambda settings, run: pytest.fail("it was fitted again")))
    trials = found(fresh)
    assert finished(trials) == {("d", "complete"): 2}


def test_looking_at_an_empty_database_makes_no_tables(server: Server, tmp_path: Path):
    context = toy(tmp_path, url=server.url)
    engine = sqlalchemy.create_engine(context.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("CREATE DATABASE bare"))
    bare = storage_url(server.url.replace("/postgres", "/bare"), context.folder)
    with pytest.raises(SettingsError, match=r"/bare: toy has no trial there\. Name the storage .*--storage postgresql"):
        begun_trials(context.study, bare, context.folder)
    assert sqlalchemy.inspect(sqlalchemy.create_engine(bare, poolclass=NullPool)).get_table_names() == []
    work_here(toy(tmp_path, url=server.url.replace("/postgres", "/bare")))
    assert len(begun_trials(context.study, bare, context.folder)) == 6


def test_a_study_on_a_server_is_found_without_naming_it_again(server: Server, tmp_path: Path):
    file, cache = write_study(tmp_path, trials=1, name="named"), tmp_path / "cache"
    with_password = server.url.replace("studies@", "studies:secret@")
    answer = run_here(file, STACKDEPTH_STORAGE=with_password, STACKDEPTH_CACHE=str(cache))
    assert answer.status == 0, answer.err
    assert answer.err.splitlines()[-1] == (
        "next: python -m ensemble.study compare named (with the same --storage: its password is not kept)"
    )
    assert not any("secret" in path.read_text(errors="replace") for path in cache.rglob("*") if path.is_file())
    shown = call("study", "show", "named", "--json", "--cache-dir", cache)  # this server asks for no password
    assert json.loads(shown.out)["remaining"] == 0


def test_a_password_that_is_missing_is_asked_for():
    error = sqlalchemy.exc.OperationalError("", {}, ConnectionError("fe_sendauth: no password supplied"))
    with pytest.raises(StorageDownError, match=r"Give the password with --storage postgresql://USER:PASSWORD@HOST"):
        patiently(lambda: (_ for _ in ()).throw(error), "postgresql+psycopg://me@host/studies", timeout=0)
