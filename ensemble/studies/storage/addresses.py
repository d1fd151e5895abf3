"""Where a study's trials are kept: the address that was asked for, that of its last start, or a file of its own."""

import json
from pathlib import Path

import sqlalchemy

from ensemble.runs.files import write_text
from ensemble.settings.trees import SettingsError
from ensemble.studies.storage.folders import StudyFolder

JOURNAL = "journal:"
EXPECTED = f"postgresql://USER@HOST/DATABASE, sqlite:///FILE or {JOURNAL}FILE"


def storage_url(asked: str | None, folder: StudyFolder) -> str:
    """The address of a study's storage: what was asked for, else what it was started with, else a SQLite file.

    Args:
        asked: ``--storage``.
        folder: Of the study.

    Raises:
        SettingsError: It is of a kind that is not known, or cannot be read.
    """
    if asked is None:
        return _kept_address(folder) or _own_file(folder)
    for short in ("postgresql://", "postgres://"):
        if asked.startswith(short):
            return f"postgresql+psycopg://{asked.removeprefix(short)}"
    if asked.startswith(JOURNAL):
        return f"{JOURNAL}{Path(asked.removeprefix(JOURNAL)).absolute()}"
    if asked.startswith("sqlite:///"):
        url = sqlalchemy.engine.make_url(asked)
        return url.set(database=str(Path(url.database or "").absolute())).render_as_string()
    if asked.startswith("postgresql+"):
        return asked
    raise SettingsError(f"--storage {asked!r}: expected {EXPECTED}")


def keep_address(url: str, folder: StudyFolder) -> None:
    """Write down where a study's trials are, without a password, so that later commands find them."""
    if url == _own_file(folder):
        folder.storage.unlink(missing_ok=True)
    else:
        write_text(folder.storage, json.dumps({"address": _without_password(url)}) + "\n")


def has_password(url: str) -> bool:
    """Whether an address holds a password."""
    return not url.startswith(JOURNAL) and sqlalchemy.engine.make_url(url).password is not None


def shown_url(url: str) -> str:
    """A storage's address without a password."""
    return url if url.startswith(JOURNAL) else sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)


def _own_file(folder: StudyFolder) -> str:
    return f"sqlite:///{folder.database.absolute()}"


def _without_password(url: str) -> str:
    if url.startswith(JOURNAL):
        return url
    parsed = sqlalchemy.engine.make_url(url)
    bare = sqlalchemy.engine.URL.create(
        parsed.drivername,
        username=parsed.username,
        host=parsed.host,
        port=parsed.port,
        database=parsed.database,
        query={key: value for key, value in parsed.query.items() if key != "password"},
    )
    return bare.render_as_string()


def _kept_address(folder: StudyFolder) -> str | None:
    if not folder.storage.is_file():
        return None
    try:
        return str(json.loads(folder.storage.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{folder.storage}: expected the address of a storage, and it cannot be read ({error}). "
            f"Remove the file and give --storage: {EXPECTED}"
        ) from error
