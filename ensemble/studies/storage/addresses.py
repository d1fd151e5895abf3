"""Where a study's trials are kept: the address that was asked for, that of its last start, or a file of its own."""

import json
import re
from pathlib import Path

import sqlalchemy
import sqlalchemy.exc

from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_bytes, write_checked
from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError
from ensemble.studies.storage.folders import StudyFolder

JOURNAL = "journal:"
OPEN = frozenset(
    (
        *("application_name", "client_encoding", "connect_timeout", "host", "hostaddr", "keepalives"),
        *("keepalives_count", "keepalives_idle", "keepalives_interval", "port", "service", "sslcert", "sslcrl"),
        *("sslkey", "sslmode", "sslrootcert", "target_session_attrs", "user"),
    )
)
"""Parameters behind the ``?`` of an address that hold no secret; all others are neither shown nor kept."""

EXPECTED = f"postgresql://USER@HOST/DATABASE, sqlite:///FILE or {JOURNAL}FILE"


def storage_url(asked: str | None, folder: StudyFolder) -> str:
    """The address of a study's storage: ``--storage``, else what it was started with, else a SQLite file.

    Raises:
        SettingsError: It is of a kind that is not known, or cannot be read.
    """
    if asked is None:
        return _kept_address(folder) or _own_file(folder)
    for short in ("postgresql://", "postgres://"):
        if asked.startswith(short):
            asked = f"postgresql+psycopg://{asked.removeprefix(short)}"
    if asked.startswith(JOURNAL):
        return f"{JOURNAL}{_file(asked.removeprefix(JOURNAL))}"
    kind = asked.partition("://")[0] if "://" in asked else ""
    if asked.startswith(("sqlite:///", "postgresql+")):
        url = _parsed(asked)
        _check_driver(url)
        if url.query and asked.startswith("sqlite:///"):
            raise SettingsError("--storage: sqlite:///FILE takes no parameters after the file's name; leave them out")
        if asked.startswith("sqlite:///"):
            return url.set(database=str(_file(url.database or ""))).render_as_string(hide_password=False)
        return asked
    found = f"found one of kind {kind!r}" if re.fullmatch(r"[a-z][a-z0-9+]{0,19}", kind) else "found something else"
    raise SettingsError(f"--storage: expected {EXPECTED}, {found}")


def keep_address(url: str, folder: StudyFolder) -> None:
    """Write down where a study's trials are, without a password, so that later commands find them."""
    if url == _own_file(folder):
        folder.storage.unlink(missing_ok=True)
    else:
        write_checked(folder.storage, (json.dumps({"address": _without_password(url)}) + "\n").encode())


def has_password(url: str) -> bool:
    """Whether an address holds a password, or a parameter that may be one."""
    if url.startswith(JOURNAL):
        return False
    parsed = _parsed(url)
    return parsed.password is not None or not OPEN.issuperset(parsed.query)


def shown_url(url: str) -> str:
    """A storage's address without anything that may be secret."""
    if url.startswith(JOURNAL):
        return url
    parsed = _parsed(url)
    hidden = {key: value if key in OPEN else "***" for key, value in parsed.query.items()}
    return parsed.set(query=hidden).render_as_string(hide_password=True)


def _file(name: str) -> Path:
    """The file that an address names."""
    file = at_home(Path(name)).absolute()
    if not name or (file.exists() and not file.is_file()):
        raise SettingsError(f"--storage: expected {EXPECTED}, found no name of a file behind the kind")
    return file


def _own_file(folder: StudyFolder) -> str:
    return f"sqlite:///{folder.database.absolute()}"


def _without_password(url: str) -> str:
    if url.startswith(JOURNAL):
        return url
    parsed = _parsed(url)
    bare = sqlalchemy.engine.URL.create(
        parsed.drivername,
        username=parsed.username,
        host=parsed.host,
        port=parsed.port,
        database=parsed.database,
        query={key: value for key, value in parsed.query.items() if key in OPEN},
    )
    return bare.render_as_string()


def _parsed(url: str) -> sqlalchemy.engine.URL:
    """An address in its parts; one that cannot be parsed is never repeated, it may hold a password anywhere."""
    try:
        return sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SettingsError(f"--storage: the address cannot be read; expected {EXPECTED}") from None


def _check_driver(url: sqlalchemy.engine.URL) -> None:
    """Refuse a driver that SQLAlchemy or this environment does not have."""
    try:
        url.get_dialect().import_dbapi()
    except sqlalchemy.exc.NoSuchModuleError:
        raise SettingsError(f"--storage: there is no driver {url.drivername!r}; expected {EXPECTED}") from None
    except ImportError as error:
        raise SettingsError(
            f"--storage: {url.drivername} wants the module {error.name}, which is not installed. "
            "Run: pip install 'stackdepth[postgresql]'"
        ) from None


def _kept_address(folder: StudyFolder) -> str | None:
    if not folder.storage.is_file():
        return None
    try:
        return str(json.loads(read_bytes(folder.storage))["address"])
    except (ValueError, KeyError, TypeError) as error:
        refuse_unreadable(folder.storage, error)
        raise SettingsError(
            f"{folder.storage}: expected the address of a storage, and it cannot be read ({error}). "
            f"Remove the file and give --storage: {EXPECTED}"
        ) from error
