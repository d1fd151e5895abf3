"""Files of visitors: each has a folder of their own, and with their visit go what they sent and what was made of it."""

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Sessions:
    """Files by session; a photograph that two visitors sent is there until the second one is gone.

    Attributes:
        root: Folder of all of them.
    """

    root: Path
    _sent: dict[str, set[Path]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, session: str) -> Path:
        """The folder of a session, which is made where it is missing."""
        place = self.root / f"session-{session}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def sent(self, session: str, path: Path) -> None:
        """Note a file that a visitor has sent; what lies elsewhere, such as an example, is nobody's."""
        if path.is_relative_to(self.root):
            with self._lock:
                self._sent.setdefault(session, set()).add(path)

    def end(self, session: str) -> None:
        """Delete what belongs to this session alone."""
        shutil.rmtree(self.root / f"session-{session}", ignore_errors=True)
        with self._lock:
            own = self._sent.pop(session, set())
            kept = set[Path]().union(*self._sent.values())
        for path in own - kept:
            path.unlink(missing_ok=True)
