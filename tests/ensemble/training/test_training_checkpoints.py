import errno
import os
import pickle
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_nursery import Nursery

from ensemble.runs.refusals import UnreadableError
from ensemble.runs.seals import checksum_file
from ensemble.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from ensemble.training.weights import read_weights, save_weights


class Malicious:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def checkpoint(step: int = 7) -> dict[str, Any]:
    return {"global_step": step, "state_dict": {"weight": torch.arange(1000.0)}}


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "deep" / "last.ckpt")
    found = AtomicCheckpointIO().load_checkpoint(tmp_path / "deep" / "last.ckpt")
    assert found["global_step"] == 7
    assert torch.equal(found["state_dict"]["weight"], torch.arange(1000.0))
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"last.ckpt", "last.ckpt.sha256"}


def test_fifty_kills_while_checkpointing_leave_the_last_acknowledged_step_or_a_newer_one(
    tmp_path: Path, nursery: Nursery
) -> None:
    generator = random.Random(5)
    loaded = 0
    for kill in range(50):
        path = tmp_path / f"{kill}" / "last.ckpt"
        acknowledged, wanted = 0, generator.randrange(1, 4)
        for line in nursery.lines("save_for_ever", path=str(path)):
            acknowledged = int(line.removeprefix("saved "))
            if acknowledged == wanted:
                time.sleep(generator.random() * 0.004)
                nursery.kill()
        found = read_checkpoint(path)
        loaded += 1
        assert found["global_step"] >= acknowledged >= wanted
        assert found["state_dict"]["weight"].eq(found["global_step"]).all()
    assert loaded == 50


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_malicious_checkpoint_is_refused_and_not_executed(tmp_path: Path, protocol: int, zipped: bool) -> None:
    path, trace = tmp_path / "last.ckpt", tmp_path / "executed"
    content = {**checkpoint(), "callbacks": Malicious(trace)}
    if zipped:
        torch.save(content, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match=r"last\.ckpt: refused, expected a checkpoint of tensors and plain data"):
        AtomicCheckpointIO().load_checkpoint(path)
    assert not trace.exists()
    with pytest.raises(ValueError, match=r"UnpicklingError: it holds ") as caught:
        read_checkpoint(path)
    assert "weights_only" not in str(caught.value)


def test_a_checkpoint_that_the_system_does_not_hand_out_is_not_called_damaged(tmp_path: Path, monkeypatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(UnreadableError, match=r"last\.ckpt: cannot be read \(Stale file handle\)") as caught:
        read_checkpoint(tmp_path / "last.ckpt")
    assert "--fresh" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(("sealed", "complaint"), [(True, "damaged since it was written"), (False, "refused")])
def test_every_truncated_or_damaged_checkpoint_is_refused(tmp_path: Path, sealed: bool, complaint: str) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(), path)
    if not sealed:
        checksum_file(path).unlink()
    whole = path.read_bytes()
    for length in [0, 1, 3, *range(4, len(whole), len(whole) // 40)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"last\.ckpt: {complaint}"):
            read_checkpoint(path)
    generator = random.Random(1)
    for _ in range(100):
        path.write_bytes(generator.randbytes(generator.randrange(200)))
        with pytest.raises(ValueError, match=rf"last\.ckpt: {complaint}"):
            read_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, {"global_step": "7"}])
def test_plain_data_that_is_no_training_state_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"no state of a training run.*--fresh"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"last\.ckpt: there is no checkpoint"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_weights_come_back_with_buffers(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(4))
    save_weights(network, tmp_path / "best.safetensors", {"metric": "d1", "score": 0.5})
    found = read_weights(tmp_path / "best.safetensors")
    assert set(found) == set(network.state_dict())
    assert all(torch.equal(found[name], values) for name, values in network.state_dict().items())


HEADERS = {
    "longer than the file": struct.pack("<Q", 10**6) + b"{}",
    "longer than any file": struct.pack("<Q", 2**63) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"abcd",
    "offsets outside": struct.pack("<Q", 59) + b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,99999]}} ',
    "shape without data": struct.pack("<Q", 66) + b'{"w":{"dtype":"F32","shape":[999999999999],"data_offsets":[0,0]}} ',
    "unknown type": struct.pack("<Q", 56) + b'{"w":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}    ' + b"abcd",
    "empty": b"",
    "pickle": pickle.dumps({"w": 1}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_weights_with_an_absurd_header_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(HEADERS[name])
    with pytest.raises(ValueError, match=r"best\.safetensors: expected weights in the safetensors format"):
        read_weights(path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"best\.safetensors: expected weights"):
        read_weights(tmp_path / "best.safetensors")
