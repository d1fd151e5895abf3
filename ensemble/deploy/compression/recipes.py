"""Recipes by name, and how each makes a file of a network."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ensemble.console import counted
from ensemble.data.loaders import KeptFrames
from ensemble.data.transforms import STRIDE
from ensemble.deploy.compression.channels import without_channels
from ensemble.deploy.compression.names import parsed_recipe
from ensemble.deploy.compression.tuning import learners_of, trained_for_eight_bits, tune
from ensemble.deploy.compression.weights import change_weights, clustered, weights_of, without_smallest
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.onnx_file import halve_weights, onnx_model, save_onnx
from ensemble.deploy.export.openvino_file import openvino_model, quantised, save_openvino
from ensemble.deploy.export.quantise import eight_bit_filters, quantised_dynamically, quantised_onnx
from ensemble.deploy.export.request import ExportRequest
from ensemble.deploy.export.write import convolutions_alone, header_of
from ensemble.training.cost import count_mul_adds


@dataclass
class Workplace:
    """What every recipe starts from.

    Attributes:
        stack: On the CPU.
        network: Its module, prepared for ``size``.
        size: Height and width of the images that files take.
        images: [1 3 h w] in 8 bits, whose activations tell ranges.
        folder: For files.
        steps: Of training further, where a recipe has that.
        kept: Decoded frames, shared between trainings.
        model: The ONNX model of the network as it is; made once.
    """

    stack: DepthStack
    network: Leaving
    size: tuple[int, int]
    images: Sequence[np.ndarray]
    folder: Path
    steps: int
    kept: KeptFrames = field(default_factory=dict)
    model: Any = None

    def as_onnx(self, network: Leaving | None = None) -> Any:
        """A copy of the ONNX model of the network, or that of a changed one."""
        if network is not None:
            return onnx_model(network, self.size, open_size=False, stride=STRIDE)
        if self.model is None:
            self.model = onnx_model(self.network, self.size, open_size=False, stride=STRIDE)
        return copy.deepcopy(self.model)

    def small(self, model: Any) -> Any:
        """The same model in 8 bits."""
        alone = convolutions_alone(self.network.network)
        return quantised_onnx(model, self.images, self.folder, convolutions_alone=alone)


@dataclass(frozen=True)
class Made:
    """A network after a recipe.

    Attributes:
        model: For the runtime of the recipe.
        mul_adds: Of one image.
        note: What must be known of it.
    """

    model: Any
    mul_adds: int
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a file is made.

    Attributes:
        make: From the workplace, and the number behind the recipe's name.
        runtime: Key of ``RUNTIMES``.
        precision: That the file says of itself.
    """

    make: Callable[[Workplace, int], Made]
    runtime: str = "onnx"
    precision: str = "fp32"


def _plain(work: Workplace, _: int) -> Made:
    return Made(work.as_onnx(), _mul_adds(work.network, work))


def _halved(work: Workplace, _: int) -> Made:
    model = work.as_onnx()
    halve_weights(model)
    return Made(model, _mul_adds(work.network, work), "weights alone; it computes in 32 bits")


def _static(work: Workplace, _: int) -> Made:
    return Made(work.small(work.as_onnx()), _mul_adds(work.network, work))


def _dynamic(work: Workplace, _: int) -> Made:
    note = "weights of a convolution share one range, where int8-static has one for every channel"
    return Made(quantised_dynamically(work.as_onnx(), work.folder), _mul_adds(work.network, work), note)


def _openvino(work: Workplace, _: int, *, bf16: bool = False) -> Made:
    between = work.folder / "between.onnx"
    save_onnx(work.as_onnx(), header_of(work.stack, work.network, ExportRequest("onnx", work.size)), between)
    return Made(openvino_model(between, bf16=bf16), _mul_adds(work.network, work))


def _openvino_small(work: Workplace, number: int) -> Made:
    plain = _openvino(work, number)
    return Made(quantised(plain.model, work.images), plain.mul_adds)


def _masked(work: Workplace, percent: int) -> Made:
    model = work.as_onnx()
    change_weights(model, without_smallest(_arrays(model), percent / 100))
    note = "a mask, not trained further: zeros are kept and multiplied as other numbers are"
    return Made(model, _mul_adds(work.network, work), note)


def _clustered(work: Workplace, values: int) -> Made:
    model = work.as_onnx()
    change_weights(model, [clustered(each, values) for each in _arrays(model)])
    note = "not trained further; kept as 32 bits each, as no runtime here takes tables of values"
    return Made(model, _mul_adds(work.network, work), note)


def _structured(work: Workplace, percent: int) -> Made:
    network, image = copy.deepcopy(work.network), torch.full((1, 3, *work.size), 0.5)
    notes = []
    for name, member in learners_of(network):
        for index, settings in enumerate(member.settings):
            seen = image if settings.seen.size == settings.data.size else torch.full((1, 3, *settings.seen.size), 0.5)
            try:
                smaller = without_channels(member.models[index], seen, percent / 100)
            except ValueError as error:
                notes.append(f"{name} is whole: {error}")
                continue
            if work.steps:
                tune(smaller, settings, work.steps, work.kept)
            member.models[index] = smaller
    if len(notes) == sum(len(member.settings) for _, member in learners_of(network)):
        raise ValueError("; ".join(notes))
    trained = _trained(work, "further") if work.steps else "not trained further"
    return Made(work.as_onnx(network), _mul_adds(network, work), "; ".join([trained, *notes]))


def _trained_small(work: Workplace, _: int) -> Made:
    filters = eight_bit_filters(work.as_onnx(), convolutions_alone(work.network.network))
    network = trained_for_eight_bits(work.network, work.steps, work.kept, filters=filters)
    note = _trained(work, "further as 8 bits have it")
    return Made(work.small(work.as_onnx(network)), _mul_adds(work.network, work), note)


def _trained(work: Workplace, how: str) -> str:
    """What ``tune`` did, and what it left out."""
    members = learners_of(work.network)
    taught = [name for name, member in members if any(own.distillation.teacher for own in member.settings)]
    alone = f", without the teacher of {', '.join(taught)}" if taught else ""
    return f"trained {counted(work.steps, 'step')} {how}, by {'its' if len(members) == 1 else 'their'} own loss{alone}"


RECIPES: Mapping[str, Recipe] = {
    "fp32": Recipe(_plain),
    "fp16": Recipe(_halved, precision="fp16"),
    "int8-dynamic": Recipe(_dynamic, precision="int8"),
    "int8-static": Recipe(_static, precision="int8"),
    "qat": Recipe(_trained_small, precision="int8"),
    "prune": Recipe(_masked),
    "structured": Recipe(_structured),
    "kmeans": Recipe(_clustered),
    "fp32-openvino": Recipe(_openvino, "openvino"),
    "bf16": Recipe(partial(_openvino, bf16=True), "openvino", "bf16"),
    "int8-openvino": Recipe(_openvino_small, "openvino", "int8"),
}
"""By name, which ``UNITS`` has too."""

BASELINES: Mapping[str, str] = {"onnx": "fp32", "openvino": "fp32-openvino"}
"""The recipe of every runtime that times of others are held against."""


def recipe_of(name: str) -> tuple[Recipe, int]:
    """A recipe and its number, which is 0 where it has none; refused as ``parsed_recipe`` does."""
    word, number = parsed_recipe(name)
    return RECIPES[word], number


def with_baselines(names: Sequence[str]) -> list[str]:
    """The same, each once, ``fp32`` first, and before a runtime's first recipe the one that it is held against."""
    ordered = ["fp32"]
    for name in names:
        ordered += [BASELINES[recipe_of(name)[0].runtime], name]
    return list(dict.fromkeys(ordered))


def write(work: Workplace, recipe: Recipe, made: Made, path: Path) -> None:
    """The file of a recipe."""
    header = header_of(work.stack, work.network, ExportRequest(recipe.runtime, work.size, recipe.precision))
    (save_onnx if recipe.runtime == "onnx" else save_openvino)(made.model, header, path)


def _arrays(model: Any) -> list[np.ndarray]:
    import onnx  # pyright: ignore[reportMissingImports]

    return [onnx.numpy_helper.to_array(weight) for weight in weights_of(model)]


def _mul_adds(network: Leaving, work: Workplace) -> int:
    return count_mul_adds(network, work.size)
