"""Weights of encoders from files, which may come from anywhere: nothing in them is executed, and every key must fit."""

import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

WAY_OUT = (
    "Give a file with --set encoder.weights=FILE, take those that come with the package for mobilenetv2_100 with "
    "--set encoder.weights=nyu-small, or train without one with --set encoder.weights=none."
)


def load_weights(
    features: nn.Module,
    path: Path,
    *,
    known: set[str] | None,
    stems: set[str],
    adapt: Callable[[int, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Copy a file's parameters into a pyramid, in timm's naming (the official GhostNet file has the same).

    Models that timm flattens have ``_`` where the file has a dot; DPT's authors have ``pretrained.model.`` in front;
    networks of ours, or stacks of one of them, hold more than their encoder.
    Keys of the whole classifier are ``known``, any where it is ``None``; those that the pyramid does not use are
    returned. ``stems`` depend on the number of input channels: ``adapt`` makes them of those for three.

    Raises:
        ValueError: A key is missing, unknown or of another shape, or the file cannot be read safely.
    """
    tensors = _of_encoder(read_tensors(path), set(features.state_dict()), path)
    if (
        known is not None
        and any(key.startswith("features.") for key in tensors)
        and not any(key.startswith("features.") for key in known)
    ):
        raise ValueError(
            f"{path}: is in the older GhostNet layout (keys 'features.N...'), expected the naming of timm and of the "
            f"official state_dict_73.98.pth ('conv_stem.weight', 'blocks.0.0...'). {WAY_OUT}"
        )
    unknown = sorted(set(tensors) - known) if known is not None else []
    given = {key.replace(".", "_"): key for key in tensors}
    state, missing, misshapen, used = {}, [], [], set()
    for key, parameter in features.state_dict().items():
        source = given.get(key.replace(".", "_"))
        if source is None:
            state[key] = parameter
            if not key.endswith("num_batches_tracked"):
                missing.append(key)
            continue
        used.add(source)
        value = tensors[source]
        if source in stems and value.ndim == 4 and value.shape[1] == 3:
            value = adapt(parameter.shape[1], value)
        if value.shape != parameter.shape:
            misshapen.append(f"{source} {tuple(value.shape)} instead of {tuple(parameter.shape)}")
        state[key] = value
    faults = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {fault} (first: {keys[0]})" for fault, keys in faults.items() if keys)
        raise ValueError(f"{path}: does not fit the encoder: {listed}. {WAY_OUT}")
    features.load_state_dict(state)
    return {name: value for name, value in tensors.items() if name not in used}


def _of_encoder(tensors: Mapping[str, Tensor], keys: set[str], path: Path) -> dict[str, Tensor]:
    """The tensors of an encoder in those of a whole network of ours, in 32 bits; all of them where they are no such."""
    ours = re.compile(r"(?:.*\.)?encoder\.features\.")
    fronts = {found.group() for name in tensors if (found := ours.match(name))}
    fitting = sorted(front for front in fronts if all(front + key in tensors for key in keys))
    if not fronts:
        return {name.removeprefix("pretrained.model."): value for name, value in tensors.items()}
    if len(fitting) != 1:
        raise ValueError(
            f"{path}: holds {len(fronts)} encoders of networks ({', '.join(sorted(fronts)[:3])} ...), of which "
            f"{len(fitting)} fit this one; expected one that does. {WAY_OUT}"
        )
    (front,) = fitting
    own = {name.removeprefix(front): value for name, value in tensors.items() if name.startswith(front)}
    return {name: value.float() if value.is_floating_point() else value for name, value in own.items()}


def without_advice(error: BaseException) -> str:
    """What torch found in a file, in one line; its advice to execute what is in there is not passed on."""
    text = str(error).strip()
    if "weights_only" not in text:
        return text.split("\n")[0]
    named = re.search(r"GLOBAL ([\w.]+)", text)
    return f"it holds {named.group(1)}, which is no tensor" if named else "it holds no tensors in torch's format"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors or PyTorch file, by name; nothing in the file is executed.

    Raises:
        ValueError: The file is absent, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of encoder weights. {WAY_OUT}")
    try:
        if path.suffix in (".safetensors", ".stack"):
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, safetensors.SafetensorError, RuntimeError, ValueError, OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno:
            raise ValueError(f"{path}: cannot be read ({os.strerror(error.errno)}). {WAY_OUT}") from error
        reason = without_advice(error)
        raise ValueError(f"{path}: refused, not a readable file of plain tensors ({reason}). {WAY_OUT}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path}: expected a state dictionary of named tensors, found {type(content).__name__}. {WAY_OUT}"
        )
    return {str(key).removeprefix("module."): value for key, value in content.items()}
