"""Time per frame and memory of cache, verify, read, scores and report while the number of frames grows."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.tables import Table, Target, write_section
from ensemble.cache import CacheIdentity, PredictionReader, PredictionWriter, fingerprint
from ensemble.statistics import resampled_means

SIZE = (48, 64)
STAGES = ("write", "open", "read", "verify", "compare")


def main(
    small: Annotated[int, typer.Option(help="Fewest frames.")] = 1000,
    large: Annotated[int, typer.Option(help="Most frames.")] = 20_000,
) -> None:
    """Measures both sizes in processes of their own and writes its section."""
    counts = sorted({small, 10 * small, large})
    found = {count: _in_process(count) for count in counts}
    first, last = found[counts[0]], found[counts[-1]]
    slowest = max(last[stage] / first[stage] for stage in STAGES)
    resident = {stage: found[10 * small][f"{stage} MB"] / first[f"{stage} MB"] - 1 for stage in STAGES[:4]}
    worst = max(resident, key=resident.__getitem__)
    write_section(
        "growth",
        "Growth",
        command="python -m benchmarks.growth",
        targets=[
            Target(
                f"peak memory of write, open, read, verify, {small} to {10 * small} frames",
                "< 2 % more",
                f"at most {resident[worst]:+.1%} ({worst})",
                resident[worst] < 0.02,
                "names and checksums of all frames are held, about 200 bytes each; depth is not",
            ),
            Target(
                f"time per frame, {counts[0]} to {counts[-1]} frames",
                "constant",
                f"largest ratio {slowest:.2f}x",
                slowest < 1.25,
            ),
        ],
        parts=[
            f"Generated rows of {SIZE[0]}x{SIZE[1]}; ms per frame, and peak resident memory in MB after each stage.",
            Table(
                ("frames", *STAGES, *(f"{stage} MB" for stage in STAGES)),
                [
                    (
                        str(count),
                        *(f"{1e3 * each[stage]:.4f}" for stage in STAGES),
                        *(f"{each[f'{stage} MB']:.0f}" for stage in STAGES),
                    )
                    for count, each in found.items()
                ],
            ),
        ],
    )


def measure(count: int) -> dict[str, float]:
    """Seconds per frame and peak memory of each stage, in this process."""
    ids = [f"scene_{index // 10:04d}/frame_{index:05d}" for index in range(count)]
    identity = CacheIdentity("bts", "fit", None, *(fingerprint(each) for each in ("w", "p", "f", "s")))
    generator = np.random.default_rng(0)
    base = generator.random(SIZE, dtype=np.float32) * 9
    found: dict[str, float] = {}
    started = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal started
        found[name] = (time.perf_counter() - started) / count
        found[f"{name} MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with PredictionWriter(place, identity, ids, size=SIZE, max_depth=10.0) as writer:
            for index, frame_id in enumerate(ids):
                writer.append(frame_id, base + np.float32(index % 100) / 1000)
        stage("write")
        reader = PredictionReader(place, identity, ids, size=SIZE, max_depth=10.0)
        stage("open")
        for index in generator.permutation(count):
            reader.read(ids[index])
        stage("read")
        reader.verify()
        stage("verify")
    scenes = [frame_id.partition("/")[0] for frame_id in ids]
    resampled_means(generator.random((2, count, 1)), scenes, resamples=1000)
    stage("compare")
    return found


def _in_process(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", "--small", str(count), "--large", "0"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--small"] and sys.argv[3:] == ["--large", "0"]:
        sys.stdout.write(json.dumps(measure(int(sys.argv[2]))))
    else:
        typer.run(main)
