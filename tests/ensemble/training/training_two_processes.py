"""Run under torchrun: the toy twice, then the command line with its arguments; every process notes what it did."""

import hashlib
import os
from pathlib import Path

import torch
import training_runs

from ensemble import options
from ensemble.base import app
from ensemble.training.tasks import DepthTask


def note_weights(task: DepthTask) -> None:
    digest = hashlib.sha256()
    for _, values in sorted(task.network.state_dict().items()):
        digest.update(values.detach().contiguous().numpy().tobytes())
    Path(os.environ["NOTES"], f"weights-{os.environ['RANK']}").write_text(digest.hexdigest())


def note_frames(task: DepthTask, batch: dict, batch_idx: int) -> None:
    with Path(os.environ["NOTES"], f"validated-{os.environ['RANK']}").open("a") as notes:
        notes.write("".join(f"{task.trainer.global_step} {frame}\n" for frame in batch["frame"]))
    original(task, batch, batch_idx)


class RankClock:
    """Goes on with every batch that is trained, three times as fast in the second process."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def forward(self, network: torch.nn.Module, batch: dict) -> torch.Tensor:
        self.time += network.training * (1.0 + 2.0 * int(os.environ["RANK"]))
        return network(batch["image"])


torch.set_num_threads(1)
original = DepthTask.validation_step
DepthTask.validation_step = note_frames
DepthTask.on_validation_end = note_weights  # after the last training step, and with the buffers that are kept

notes = Path(os.environ["NOTES"])
os.environ["NOTES"] = str(notes / "toy")
training_runs.toy_fit(notes / "toy" / "run")
os.environ["NOTES"] = str(notes / "timed")
clock = RankClock()
training_runs.toy_fit(notes / "timed" / "run", task={"forward": clock.forward}, now=clock, max_seconds=6.0)
os.environ["NOTES"] = str(notes / "bts")
options.run(app)
