"""Time per frame and memory of cache, verify, read, scores and report while the number of frames grows."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.tables import REPORTED, Table, Target, write_section
from ensemble.data.source import Frame, RawFrame
from ensemble.deploy.compression.memory import own_peak_megabytes
from ensemble.evaluation.method_info import Description
from ensemble.evaluation.results.scores import SCHEMA, Scores, write_per_image, write_scores
from ensemble.evaluation.scoring import ScoreTable
from ensemble.metrics.protocols import EvalProtocol
from ensemble.predictions.store import CacheIdentity, PredictionReader, PredictionWriter
from ensemble.predictions.store.shards import is_intact, shard_paths
from ensemble.report.writing import write_report
from ensemble.runs.fingerprints import fingerprint
from ensemble.runs.paths import Outputs, Run

SIZE = (48, 64)
STAGES = ("write", "open", "read", "verify", "evaluate", "report")
CACHE_STAGES = STAGES[:4]
CONTROLS = ("plain write", "plain read")
"""The same rows in one file without a format, in the same order: what memory and kernel make of more frames."""
CONSTANT = 1.25
"""Ratios of time per frame below this one are called constant: repeats on one machine differ by as much."""
FULL_SHARD_MB = 64 * 480 * 640 * 2 / 1e6
"""A shard of a cache of whole NYU Depth v2 frames."""


def main(
    small: Annotated[int, typer.Option(help="Fewest frames.")] = 1000,
    large: Annotated[int, typer.Option(help="Most frames; as many as the training list of BTS has.")] = 24_231,
    repeats: Annotated[int, typer.Option(min=1, help="Processes of each size, in turn.")] = 3,
) -> None:
    """Measures both sizes in processes of their own and writes its section."""
    counts = sorted({small, 10 * small, large})
    runs = [{count: _in_process(count) for count in counts} for _ in range(repeats)]
    found = {
        count: {key: statistics.median(run[count][key] for run in runs) for key in runs[0][count]} for count in counts
    }
    first, last = found[counts[0]], found[counts[-1]]
    ratios = {stage: last[stage] / first[stage] for stage in (*STAGES, *CONTROLS)}
    later = {stage: last[stage] / found[counts[1]][stage] for stage in STAGES}
    resident = {stage: found[10 * small][f"{stage} MB"] / first[f"{stage} MB"] - 1 for stage in STAGES}
    worst = max(CACHE_STAGES, key=resident.__getitem__)
    few, many = (f"{count * SIZE[0] * SIZE[1] * 2 / 1e6:.0f} MB" for count in (counts[0], counts[-1]))
    grown = max(last[f"{stage} MB"] - first[f"{stage} MB"] for stage in CACHE_STAGES)
    write_section(
        "growth",
        "Growth",
        targets=[
            Target(
                f"peak memory of write, open, read, verify, {small} to {10 * small} frames",
                "< 2 % more",
                f"at most {resident[worst]:+.1%} ({worst})",
                resident[worst] < 0.02,
                "names, checksums and places of all frames are held, depth is not: "
                f"{1e6 * grown / (counts[-1] - counts[0]):.0f} bytes a frame from {counts[0]} to {counts[-1]}",
            ),
            Target(
                f"the same of evaluate and report, {small} to {10 * small} frames",
                REPORTED,
                ", ".join(f"{stage} {resident[stage]:+.1%}" for stage in STAGES if stage not in CACHE_STAGES),
                None,
                "no cache; the scores of every frame and method are held for the bootstrap",
            ),
            Target(
                f"memory that a cache of {counts[-1]} frames needs beyond one of {counts[0]}",
                f"O(shard): {FULL_SHARD_MB:.0f} MB at 480x640",
                f"{grown:.1f} MB",
                grown < FULL_SHARD_MB,
                "names and checksums, whatever the size of a frame",
            ),
            Target(
                f"time per frame, {counts[0]} to {counts[-1]} frames",
                "constant",
                "ratio of " + _listed(ratios, STAGES),
                max(ratios[stage] for stage in STAGES) < CONSTANT,
                f"the same rows without a format: {_listed(ratios, CONTROLS)}; {few} of rows stay in the "
                f"processor's caches, {many} do not. From {counts[1]} frames on: {_listed(later, STAGES)}",
            ),
        ],
        parts=[
            f"Generated rows of {SIZE[0]}x{SIZE[1]}; ms per frame, and peak resident memory in MB after each stage.",
            Table(
                ("frames", *STAGES, *CONTROLS, *(f"{stage} MB" for stage in STAGES)),
                [
                    (
                        str(count),
                        *(f"{1e3 * each[stage]:.4f}" for stage in (*STAGES, *CONTROLS)),
                        *(f"{each[f'{stage} MB']:.0f}" for stage in STAGES),
                    )
                    for count, each in found.items()
                ],
            ),
        ],
    )


def measure(count: int) -> dict[str, float]:
    """Seconds per frame and peak memory of each stage, in this process."""
    torch.set_num_threads(1)
    ids = [f"scene_{index // 10:04d}/frame_{index:05d}" for index in range(count)]
    identity = CacheIdentity("bts", "fit", None, *(fingerprint(each) for each in ("w", "p", "f", "s")))
    generator = np.random.default_rng(0)
    base = generator.random(SIZE, dtype=np.float32) * 9
    found: dict[str, float] = {}
    started = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal started
        found[name] = (time.perf_counter() - started) / count
        found[f"{name} MB"] = own_peak_megabytes()
        started = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with PredictionWriter(place, identity, ids, size=SIZE, max_depth=10.0, mend="") as writer:
            for index, frame_id in enumerate(ids):
                writer.append(frame_id, base + np.float32(index % 100) / 1000)
        stage("write")
        reader = PredictionReader(place, identity, ids, size=SIZE, max_depth=10.0, mend="")
        stage("open")
        for index in generator.permutation(count):
            reader.read(ids[index])
        stage("read")
        for path in shard_paths(place):
            is_intact(path)
        stage("verify")
        scores = _scored(reader, ids, base, Run(place / "evaluation"))
        stage("evaluate")
        write_report([scores], Outputs(place))
        stage("report")
        levels = (base * 6553.5).astype(np.uint16)
        with (place / "rows").open("wb", buffering=0) as rows:
            for index in range(count):
                rows.write((levels + np.uint16(index % 100)).tobytes())
        stage("plain write")
        plain = np.memmap(place / "rows", np.uint16, "r", shape=(count, *SIZE))
        for index in generator.permutation(count):
            plain[index].astype(np.float32)
        stage("plain read")
    return found


def _listed(ratios: dict[str, float], stages: tuple[str, ...]) -> str:
    return ", ".join(f"{stage} {ratios[stage]:.2f}" for stage in stages)


def _scored(reader: PredictionReader, ids: list[str], truth: np.ndarray, out: Run) -> Run:
    """Score every row as it is, and 3 % and 6 % too large, and write what an evaluation writes."""
    protocol = EvalProtocol(
        split="test", test="official", crop="none", min_depth=1e-3, max_depth=10.0, flip_averaging=False, size=SIZE
    )
    table = ScoreTable(protocol)
    image, valid = np.zeros((*SIZE, 3), np.uint8), np.ones(SIZE, np.bool_)
    for frame_id in ids:
        depth = torch.from_numpy(reader.read(frame_id))[None, None]
        frame = Frame(frame_id, frame_id.partition("/")[0], "test")
        rows = {(name, 0): depth * factor for name, factor in (("bts", 1.0), ("ldrn", 1.03), ("mean", 1.06))}
        table.add(frame, RawFrame(image, truth + np.float32(0.1), valid), rows)
    described = {
        name: Description("learner" if name != "mean" else "combiner", name) for name in ("bts", "ldrn", "mean")
    }
    scores = Scores(SCHEMA, "growth", protocol.model_dump(mode="json"), tuple(table.rows(described)))
    write_scores(scores, out.scores)
    write_per_image(table.images, out.per_image)
    return out


def _in_process(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", "--small", str(count), "--large", "0"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--small"] and sys.argv[3:] == ["--large", "0"]:
        sys.stdout.write(json.dumps(measure(int(sys.argv[2]))))
    else:
        typer.run(main)
