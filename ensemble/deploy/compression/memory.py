"""``python -m ensemble.deploy.compression.memory RUNTIME FILE``: the most memory that one image takes.

It is that of a process of its own, which imports nothing but NumPy and the runtime.
"""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from ensemble.deploy.runtime.sessions import RUNTIMES


def peak_megabytes(runtime: str, path: Path) -> float:
    """Of a process that opens a file of fixed size and runs one image on one thread.

    Raises:
        ValueError: It fails.
    """
    words = [sys.executable, "-m", __name__, runtime, str(path)]
    root = str(Path(__file__).parents[3])
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root)
    if ran.returncode:
        raise ValueError(f"{path.name}: the process that measures its memory failed ({ran.stderr.strip()[-200:]})")
    return float(ran.stdout.split()[-1])


def own_peak_megabytes() -> float:
    """Most memory of this process until now.

    Linux counts that of the process that started this one into what ``resource`` tells.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main(runtime: str, path: str) -> None:
    """Runs one image and prints megabytes."""
    session = RUNTIMES[runtime](Path(path), 1)
    if session.header.size is None:
        raise ValueError(f"{path}: expected a file of fixed size")
    session.run(np.zeros((1, 3, *session.header.size), session.header.pixels))
    sys.stdout.write(f"{own_peak_megabytes():.1f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
