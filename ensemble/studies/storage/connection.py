"""Where trials are kept: SQLite for one machine, PostgreSQL for several, a journal file where neither can be had."""

import contextlib
import importlib.util
import json
import logging
import os
import sqlite3
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.pool import NullPool

from ensemble.console import messages
from ensemble.settings.trees import SettingsError
from ensemble.studies.design.study_file import StorageSettings
from ensemble.studies.storage.addresses import JOURNAL, shown_url

Answer = TypeVar("Answer")

DOWN = (
    optuna.exceptions.StorageInternalError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.InvalidRequestError,
)
"""What Optuna raises where a database does not answer."""

CREATING_TOGETHER = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.OperationalError)
"""What workers that create the tables of an empty database at the same moment get."""

ATTEMPTS = 5

_FULL = ("disk is full", "disk I/O error", "readonly database", "unable to open database file")
"""What SQLite says of a file that it cannot write, whoever waits for it."""


_SYSTEM = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_INTERRUPT),
    *(sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH),
}
"""What SQLite says where the system, or another process, keeps it from its file; else the file is to blame."""

_READERS = ("optuna.storages", "sqlalchemy", "sqlite3")
"""Modules that make trials of what a storage holds."""


class StorageDownError(OSError):
    """The storage of a study does not answer."""


class PatientStorage(RDBStorage):
    """A database whose heartbeats outlive an outage; a trial goes on meanwhile."""

    def record_heartbeat(self, trial_id: int) -> None:
        """A sign of life of a running trial, left out where the database is down."""
        with contextlib.suppress(*DOWN):
            super().record_heartbeat(trial_id)


def open_storage(url: str, settings: StorageSettings) -> BaseStorage:
    """The storage at an address of ``storage_url``; made where it is a file that is not there.

    Raises:
        StorageDownError: It does not answer.
        SettingsError: What it needs is not installed.
        ValueError: It is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it shows an end by a signal as its own error
    if url.startswith(JOURNAL):
        path = Path(url.removeprefix(JOURNAL))
        path.parent.mkdir(parents=True, exist_ok=True)
        mend_journal(path)
        return JournalStorage(JournalFileBackend(str(path)))
    connecting = _connecting(url)
    if (database := _file(url)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            if database is not None:
                _check_pages(url, connecting)
            with quiet():
                return PatientStorage(
                    url,
                    engine_kwargs={"poolclass": NullPool, "connect_args": connecting},  # no connection outlives its use
                    heartbeat_interval=settings.heartbeat,
                    grace_period=settings.grace,
                    heartbeat_stale_trial_callback=retry(settings),
                )
        except CREATING_TOGETHER as error:
            refuse_full(url, error)
            if attempt == ATTEMPTS - 1 or (not isinstance(error, sqlalchemy.exc.IntegrityError) and _refused(error)):
                refuse_broken(url, error)
                raise _down(url, error) from error
            time.sleep(0.2 * (attempt + 1))
        except DOWN as error:
            refuse_broken(url, error)
            raise _down(url, error) from error
        except sqlalchemy.exc.DatabaseError as error:
            raise _no_storage(url, error) from error
    raise StorageDownError(f"{shown_url(url)}: the storage does not answer")


def existing_storage(url: str, settings: StorageSettings) -> BaseStorage | None:
    """The storage at an address, as ``open_storage``; nothing is made, and ``None`` where there is none."""
    if (file := _file(url)) is not None and not file.is_file():
        return None
    if not url.startswith(JOURNAL):
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=_connecting(url))
        try:
            if not sqlalchemy.inspect(engine).has_table("trials"):
                return None
        except DOWN as error:
            refuse_broken(url, error)
            raise _down(url, error) from error
        except sqlalchemy.exc.DatabaseError as error:
            raise _no_storage(url, error) from error
    return open_storage(url, settings)


GIVEN_BACK = "given_back"
"""Name of the note that names the earlier attempts at a trial whose workers were asked to stop."""


class RunAgain(RetryHeartbeatStaleTrialCallback):
    """Puts a dead trial in line once more, without its note of who ran it."""

    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Put it in line, unless that was done often enough."""
        trial.user_attrs = {}
        super().__call__(study, trial)

    def give_back(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Put it in line because its worker was asked to stop, however often that happens: nothing was wrong."""
        known = trial.system_attrs
        notes = {"failed_trial": trial.number, **known, GIVEN_BACK: [*known.get(GIVEN_BACK, []), trial.number]}
        study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                system_attrs=notes,
            )
        )


def retry(settings: StorageSettings) -> RunAgain:
    """Puts a dead trial in line once more, at most so many times."""
    with quiet():
        return RunAgain(max_retry=settings.max_retry)


def patiently(action: Callable[[], Answer], url: str, *, timeout: float, kept: str = "nothing is lost") -> Answer:
    """Do something with a storage; while it is down, do it again every second, for ``timeout`` seconds.

    Raises:
        StorageDownError: It stayed down; the message says what is ``kept``.
    """
    give_up = time.monotonic() + timeout
    told = False
    while True:
        try:
            return action()
        except DOWN as error:
            refuse_broken(url, error)
            if time.monotonic() >= give_up:
                raise _down(url, error, f" for {timeout:g} s; {kept}. Run the same command when it is back") from error
            if not told:
                messages.print(f"{shown_url(url)}: the storage does not answer; waiting up to {timeout:g} s")
                told = True
            time.sleep(1)


def refuse_full(url: str, error: BaseException) -> None:
    """Stop where the file of a storage cannot be written; return where Optuna's error says something else.

    Raises:
        OSError: Names the file, the cause and what to do; to wait would mend nothing.
    """
    file, told = _file(url), _first_line(error)
    of_system = isinstance(error, OSError) and error.errno and error.strerror == os.strerror(error.errno)
    if file is not None and (of_system or any(words in told for words in _FULL)):
        reason = error.strerror if isinstance(error, OSError) else told
        raise OSError(
            f"{file}: what was found out could not be written ({reason}); finished trials are kept. Make room or "
            "rights, then run the same command again"
        ) from error


def refuse_broken(url: str, error: BaseException) -> None:
    """Stop where the file of a storage cannot be written or is damaged; return where the storage may answer later.

    Raises:
        OSError: As ``refuse_full``.
        ValueError: Names what SQLite found in the file.
    """
    refuse_full(url, error)
    if _file(url) is not None and _is_damage(error):
        raise _damaged(url, error) from error


@contextlib.contextmanager
def storage_may_fail(url: str) -> Iterator[None]:
    """End what goes wrong with the storage at an address in one line that names it.

    Raises:
        StorageDownError: It does not answer.
        OSError: Its file cannot be written.
        ValueError: What it holds is no trials.
    """
    try:
        yield
    except StorageDownError:
        raise
    except DOWN as error:
        refuse_broken(url, error)
        raise _down(url, error) from error
    except OSError as error:
        if url.startswith(JOURNAL) and error.filename is None:
            refuse_full(url, error)
        raise
    except Exception as error:
        if _is_of_reader(error):
            raise _damaged(url, error) from error
        raise


def mend_journal(path: Path) -> int:
    """Cut off a last line that a killed writer has not finished.

    Returns:
        Bytes that were cut off.

    Raises:
        ValueError: A line before the last one is damaged: what follows cannot be trusted.
    """
    if not path.is_file():
        return 0
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # nobody else is in the middle of a line
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        whole = next((at for at, line in enumerate(lines) if not _is_whole(line)), len(lines))
        if whole < len(lines) - 1:
            raise ValueError(
                f"{path}: line {whole + 1} of {len(lines)} is damaged, and others follow: refused. "
                "Restore the file from a copy, or begin with another one"
            )
        torn = sum(map(len, lines[whole:]))
        if torn:
            with path.open("r+b") as journal:
                journal.truncate(sum(map(len, lines[:whole])))
            messages.print(f"{path}: the last line was never finished; {torn} bytes cut off")
        return torn
    finally:
        lock.release()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna's remarks that something may still change are not for the person who runs a study."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _refused(error: Exception) -> bool:
    """Whether it is the connection that failed, and not the creation of a table that another worker has made."""
    return "already exists" not in str(error)


def _connecting(url: str) -> dict[str, int]:
    """How long a connection may take, in seconds; refused where the driver is not installed."""
    if _file(url) is not None:
        return {"timeout": 60}
    if importlib.util.find_spec("psycopg") is None:
        raise SettingsError("--storage: psycopg is not installed; run: pip install 'stackdepth[postgresql]'")
    return {"connect_timeout": 5}


def _file(url: str) -> Path | None:
    """The journal, or the file of a SQLite database; ``None`` for a server."""
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    parsed = sqlalchemy.engine.make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _check_pages(url: str, connecting: dict[str, int]) -> None:
    """Let SQLite hold rows against indexes: a bit of a count hides the last trials from everybody who lists them.

    Raises:
        ValueError: They do not agree.
    """
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=connecting)
    with engine.connect() as connection:
        told = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if told != "ok":
        raise _damaged(url, ValueError(told))


def _is_damage(error: BaseException) -> bool:
    """Whether it is the content of a SQLite file that the database, or Optuna's reading of it, stumbles over."""
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    if isinstance(error, sqlalchemy.exc.NoResultFound | sqlalchemy.exc.MultipleResultsFound):
        return True
    told = getattr(error, "orig", None)
    code = getattr(told, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # text that is no UTF-8 comes without a code
    return isinstance(told, sqlite3.Error) and code & 0xFF not in _SYSTEM


def _is_of_reader(error: BaseException) -> bool:
    """Whether a reader of storages raised it, or something that Optuna made an error of; ours say what is wrong."""
    if _modules(error)[-1].startswith("ensemble."):
        return False
    seen: BaseException | None = error
    while seen is not None:
        if any(name.startswith(_READERS) for name in _modules(seen)):
            return True
        seen = seen.__context__
    return False


def _modules(error: BaseException) -> list[str]:
    """Names of the modules that an error passed, the one that raised it last."""
    return [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)] or [""]


def _damaged(url: str, error: BaseException) -> ValueError:
    return ValueError(
        f"{shown_url(url)}: the trials are damaged ({type(error).__name__}: {_first_line(error)}); "
        "bring them back from a copy"
    )


def _no_storage(url: str, error: sqlalchemy.exc.DatabaseError) -> ValueError:
    if getattr(error.orig, "sqlite_errorcode", None) not in (None, sqlite3.SQLITE_NOTADB):
        return _damaged(url, error)
    return ValueError(
        f"{shown_url(url)}: is no storage of studies ({_first_line(error)}); name another file with --storage, "
        "or move this one away"
    )


def _down(url: str, error: Exception, more: str = ". Start it, or name another one with --storage") -> StorageDownError:
    if "password" in _first_line(error):
        more = ". Give the password with --storage postgresql://USER:PASSWORD@HOST/DATABASE, or in PGPASSWORD"
    return StorageDownError(f"{shown_url(url)}: the storage does not answer ({_first_line(error)}){more}")


def _first_line(error: BaseException) -> str:
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    return text[0][:160]
