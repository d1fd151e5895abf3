"""The weights of a network as a file (safetensors): tensors by name, and a record of where they come from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_bytes, write_checked


def save_weights(network: nn.Module, path: Path, record: Mapping[str, Any]) -> None:
    """Write a network's weights and a record of where they come from (safetensors)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_checked(path, save_tensors(tensors, {"record": json.dumps(dict(record))}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a network by name.

    Raises:
        ValueError: The file is missing, damaged, or not in the safetensors format.
    """
    try:
        return load_tensors(read_bytes(path))
    except (FileNotFoundError, SafetensorError, MemoryError) as error:
        if isinstance(error, MemoryError):
            refuse_unreadable(path, error)
        raise ValueError(f"{path}: expected weights in the safetensors format ({error})") from error
