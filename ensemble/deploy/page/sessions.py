"""Files of visitors: each has a folder of their own, and with their visit go what they sent and what was made of it."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Sessions:
    """Files by session; a photograph that two visitors sent is there until the second one is gone.

    Attributes:
        root: Folder of all of them.
        shared: Folder within it whose files are nobody's, such as examples.
    """

    root: Path
    shared: Path | None = None
    _sent: dict[str, set[Path]] = field(default_factory=dict)
    _working: Counter[str] = field(default_factory=Counter)
    _gone: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, session: str) -> Path:
        """The folder of a session, which is made where it is missing."""
        place = self.root / f"session-{session}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def sent(self, session: str, path: Path) -> None:
        """Note a file that a visitor has sent; what lies elsewhere, or is shared, is nobody's."""
        if path.is_relative_to(self.root) and not (self.shared and path.is_relative_to(self.shared)):
            with self._lock:
                self._sent.setdefault(session, set()).add(path)

    @contextmanager
    def working(self, session: str) -> Iterator[None]:
        """Files are made for a session meanwhile; if its visitor goes before that ends, they go when it ends."""
        with self._lock:
            self._working[session] += 1
        try:
            yield
        finally:
            with self._lock:
                self._working[session] -= 1
                gone = session in self._gone
            if gone:
                self.end(session)

    def end(self, session: str) -> None:
        """Delete what belongs to this session alone, once nothing is made for it any more."""
        with self._lock:
            self._gone.add(session)
            if self._working[session]:
                return
            del self._working[session]
            own = self._sent.pop(session, set())
            kept = set[Path]().union(*self._sent.values())
        shutil.rmtree(self.root / f"session-{session}", ignore_errors=True)
        for path in own - kept:
            path.unlink(missing_ok=True)
