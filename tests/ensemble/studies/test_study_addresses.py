"""Where trials are kept: a study is found where it was run, and looking at one never makes a storage."""

import json
from pathlib import Path

import pytest
from command_lines import call
from study_actors import found, run_here, toy, work_here, write_study

from ensemble.settings.trees import SettingsError
from ensemble.studies.design.arms import arms_of
from ensemble.studies.running.trials import WorkerContext
from ensemble.studies.storage.addresses import has_password, keep_address, shown_url, storage_url
from ensemble.studies.storage.connection import open_storage
from ensemble.studies.storage.folders import StudyFolder
from ensemble.studies.storage.records import open_part


def started(folder: Path, **changed) -> WorkerContext:
    """A study that was begun and has no trial."""
    context = toy(folder, **changed)
    context.folder.folder.mkdir(parents=True)
    context.folder.settings.write_text(context.study.model_dump_json())
    return context


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_a_study_in_another_storage_is_found_without_naming_it_again(tmp_path: Path, kind: str):
    file, cache = write_study(tmp_path, trials=1), tmp_path / "cache"
    elsewhere = tmp_path / "elsewhere" / "trials"
    answer = run_here(file, "--storage", f"{kind}{elsewhere}", "--cache-dir", cache)
    assert answer.status == 0, answer.err
    assert answer.err.splitlines()[-1] == f"next: python -m ensemble.study compare toy --cache-dir {cache}"
    shown = json.loads(call("study", "show", "toy", "--json", "--cache-dir", cache).out)
    assert [arm["complete"] for arm in shown["arms"]] == [1, 1]
    assert call("study", "best", "toy", "--write", tmp_path / "best.yaml", "--cache-dir", cache).status == 0
    assert "0 of 2 trials to run" in run_here(file, "--cache-dir", cache).err  # it goes on there as well
    assert not list(cache.rglob("study.db"))


def test_a_study_that_goes_back_to_its_own_file_forgets_the_other_address(tmp_path: Path):
    folder = StudyFolder(tmp_path / "toy")
    keep_address(f"sqlite:///{tmp_path / 'other.db'}", folder)
    assert storage_url(None, folder) == f"sqlite:///{tmp_path / 'other.db'}"
    keep_address(storage_url(f"sqlite:///{folder.database}", folder), folder)
    assert storage_url(None, folder) == f"sqlite:///{folder.database}"
    assert not folder.storage.exists()


def test_an_address_is_kept_and_shown_without_its_password(tmp_path: Path):
    folder = StudyFolder(tmp_path / "toy")
    url = storage_url("postgresql://me:secret@127.0.0.1:5432/studies?sslmode=disable", folder)
    assert url.startswith("postgresql+psycopg://me:secret@")
    assert has_password(url)
    assert "secret" not in shown_url(url)
    keep_address(url, folder)
    assert "secret" not in folder.storage.read_text()
    kept = storage_url(None, folder)
    assert kept == "postgresql+psycopg://me@127.0.0.1:5432/studies?sslmode=disable"
    assert not has_password(kept)


ADDRESSES = {
    "password": "postgresql://me:s3cret@127.0.0.1:1/studies",
    "query": "postgresql://me@127.0.0.1:1/studies?password=s3cret&connect_timeout=1",
    "ssl password": "postgresql://me@127.0.0.1:1/studies?sslpassword=s3cret&connect_timeout=1",
    "misspelt": "postgresql://me@127.0.0.1:1/studies?pasword=s3cret&connect_timeout=1",
    "unknown kind": "mysql://me:s3cret@127.0.0.1/studies",
    "no kind": "me:s3cret@127.0.0.1/studies",
    "unknown driver": "postgresql+nosuch://me:s3cret@127.0.0.1/studies",
    "no port": "postgresql://me:s3cret@127.0.0.1:s3cret/studies",
    "sqlite": "sqlite:///here.db?key=s3cret",
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=list(ADDRESSES))
def test_no_secret_of_an_address_is_ever_told_or_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.chdir(tmp_path)
    file, cache = write_study(tmp_path, trials=1, storage={"timeout": 0.1}), tmp_path / "cache"
    for words in (("run", file), ("show", "toy"), ("compare", "toy")):
        answer = call("study", *words, "--storage", address, "--cache-dir", cache)
        assert answer.status in (2, 3), answer
        assert "s3cret" not in answer.out + answer.err
        assert "Traceback" not in answer.err
    told = [path for path in tmp_path.rglob("*") if path.is_file() and path != file and b"s3cret" in path.read_bytes()]
    assert told == []


def test_parameters_without_a_secret_are_kept(tmp_path: Path):
    folder = StudyFolder(tmp_path / "toy")
    url = storage_url("postgresql://me@/studies?host=/run/sockets&password=s3cret&options=-c%20x%3Ds3cret", folder)
    assert (
        shown_url(url) == "postgresql+psycopg://me@/studies?host=%2Frun%2Fsockets&options=%2A%2A%2A&password=%2A%2A%2A"
    )
    assert has_password(url)
    keep_address(url, folder)
    assert storage_url(None, folder) == "postgresql+psycopg://me@/studies?host=%2Frun%2Fsockets"


def test_a_relative_address_means_the_same_file_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(tmp_path / "toy")
    assert storage_url("sqlite:///here.db", folder) == f"sqlite:///{tmp_path / 'here.db'}"
    assert storage_url("journal:here.log", folder) == f"journal:{tmp_path / 'here.log'}"


def test_a_damaged_address_is_refused_with_what_to_do(tmp_path: Path):
    folder = StudyFolder(tmp_path)
    folder.storage.write_text("{}")
    with pytest.raises(SettingsError, match=r"storage\.json: expected the address of a storage.*give --storage"):
        storage_url(None, folder)


@pytest.mark.parametrize(
    "words", [("show",), ("compare",), ("best", "--write", "best.yaml")], ids=lambda words: words[0]
)
@pytest.mark.parametrize("storage", [None, "journal"])
def test_looking_at_a_study_makes_no_storage_and_names_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], storage: str | None
):
    monkeypatch.chdir(tmp_path)
    cache = started(tmp_path).outputs.root
    given = () if storage is None else ("--storage", f"journal:{tmp_path / 'elsewhere' / 'study.log'}")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    answer = call("study", words[0], "toy", *words[1:], *given, "--cache-dir", cache)
    assert answer.status == 2
    assert "toy has no trial there. Name the storage that its trials were run with (--storage " in answer.err
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_database_without_tables_stays_without(tmp_path: Path):
    context = started(tmp_path)
    context.folder.database.touch()
    answer = call("study", "show", "toy", "--cache-dir", context.outputs.root)
    assert "toy has no trial there" in answer.err
    assert not context.folder.database.read_bytes()


def test_a_file_that_is_no_database_is_refused_by_those_who_look(tmp_path: Path):
    context = started(tmp_path)
    context.folder.database.write_bytes(b"no database at all" * 100)
    answer = call("study", "show", "toy", "--cache-dir", context.outputs.root)
    assert answer.status == 1
    assert "is no storage of studies" in answer.err


def test_other_studies_of_the_same_storage_are_not_taken_for_this_one(tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    other = toy(tmp_path / "other", name="other")
    work_here(other)
    cache = started(tmp_path / "one").outputs.root
    answer = call("study", "show", "toy", "--storage", other.url, "--cache-dir", cache)
    assert "toy has no trial there" in answer.err
    assert len(found(other)) == 6


def test_nothing_is_compared_before_a_trial_is_finished(tmp_path: Path):
    context = started(tmp_path)
    storage = open_storage(context.url, context.study.storage)
    part = open_part(context.study, arms_of(context.study)[0], storage)
    storage.create_new_trial(part._study_id)
    answer = call("study", "compare", "toy", "--cache-dir", context.outputs.root)
    assert answer.status == 2
    assert "toy: 1 trials were begun and none is finished" in answer.err
    assert f"python -m ensemble.study show toy --cache-dir {context.outputs.root}" in answer.err
    assert not context.folder.comparison.exists()
