"""Files of visitors: each has a folder of their own, and with their visit go what they sent and what was made of it."""

import hashlib
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ORPHAN_SECONDS = 60.0
"""A file that was sent and that nobody has asked to look at for so long is nobody's any more."""

SILENT_SECONDS = 600.0
"""Whoever asks for something without being here, as after a broken line, is gone after so long in silence."""

_OWN = "session-"
"""Begins the names of folders with what was made for a visitor."""


@dataclass
class Sessions:
    """Files by session; a photograph that two visitors sent is there until the second one is gone.

    Attributes:
        root: Folder of all of them.
        shared: Folder within it whose files are nobody's, such as examples.
    """

    root: Path
    shared: Path | None = None
    _sent: dict[str, dict[Path, int]] = field(default_factory=dict)
    _working: Counter[str] = field(default_factory=Counter)
    _here: Counter[str] = field(default_factory=Counter)
    _gone: set[str] = field(default_factory=set)
    _asked: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, session: str) -> Path:
        """The folder of a session, which is made where it is missing."""
        place = self._place(session)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _place(self, session: str) -> Path:
        """Below the root, whatever a session is called: its name comes from outside."""
        return self.root / f"{_OWN}{hashlib.sha256(session.encode(errors='backslashreplace')).hexdigest()[:32]}"

    def holds(self, path: str | Path) -> bool:
        """Whether a file may have been sent by a visitor, or is shared; what was made for somebody is neither."""
        try:
            place, root = Path(path).resolve(), self.root.resolve()
        except (OSError, ValueError):  # no name that the system knows
            return False
        within = place.relative_to(root).parts if place.is_relative_to(root) else ()
        return bool(within) and not within[0].startswith(_OWN)

    @contextmanager
    def here(self, session: str) -> Iterator[None]:
        """A browser holds its line to the page meanwhile: however long its visitor is silent, they are there."""
        with self._lock:
            self._here[session] += 1
            self._gone.discard(session)
            self._asked.pop(session, None)
        try:
            yield
        finally:
            with self._lock:
                self._here -= Counter([session])
                if session not in self._here:
                    self._asked[session] = time.monotonic()

    def sent(self, session: str, path: Path) -> None:
        """Note a file that a visitor has sent; one that is shared is nobody's.

        Raises:
            ValueError: It was not sent to this page.
        """
        if not self.holds(path):
            raise ValueError(f"{path.name}: expected a photograph that was sent to this page, found another file")
        if not (self.shared and path.is_relative_to(self.shared)):
            with self._lock:
                self._sent.setdefault(session, {})[path] = _written(path)

    @contextmanager
    def working(self, session: str) -> Iterator[None]:
        """Files are made for a session meanwhile; if its visitor goes before that ends, they go when it ends.

        One that had gone is back, if without a line that tells that it is there.
        """
        with self._lock:
            self._working[session] += 1
            if self._working[session] == 1:
                self._gone.discard(session)
        try:
            yield
        finally:
            with self._lock:
                self._working[session] -= 1
                gone = session in self._gone
                if session not in self._here:
                    self._asked[session] = time.monotonic()
            if gone:
                self.end(session)

    def end(self, session: str) -> None:
        """Delete what belongs to this session alone, once nothing is made for it any more."""
        with self._lock:
            self._gone.add(session)
            self._asked.pop(session, None)
            if self._working[session]:
                return
            del self._working[session]
            own = self._sent.pop(session, {})
            kept = set[Path]().union(*self._sent.values())
        shutil.rmtree(self._place(session), ignore_errors=True)
        for path, written in own.items():
            if path not in kept and _written(path) == written:  # else somebody has sent the same just now
                path.unlink(missing_ok=True)

    def sweep(self, *, orphan: float = ORPHAN_SECONDS, silent: float = SILENT_SECONDS) -> None:
        """Delete what was sent and not looked at for so many seconds; end visits of the silent who are not here."""
        with self._lock:
            known = set[Path]().union(*self._sent.values())
            ended = [name for name, last in self._asked.items() if time.monotonic() - last > silent]
        for name in ended:
            self.end(name)
        for path in _files_below(self.root):
            within = path.relative_to(self.root).parts[0]
            if path in known or within.startswith(_OWN) or (self.shared and path.is_relative_to(self.shared)):
                continue
            if path.is_file() and time.time() - _written(path) / 1e9 > orphan:
                path.unlink(missing_ok=True)

    @contextmanager
    def swept(self, every: float = ORPHAN_SECONDS / 2) -> Iterator[None]:
        """Sweep now and then until the block ends."""
        done = threading.Event()

        def sweeping() -> None:
            while not done.wait(every):
                self.sweep()

        thread = threading.Thread(target=sweeping, name="sweeper", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder; folders that go meanwhile, as those of visitors do, are passed over."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _written(path: Path) -> int:
    """Nanoseconds of the moment in which a file came here; 0 where it is not there."""
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0
