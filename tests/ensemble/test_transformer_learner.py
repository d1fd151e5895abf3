"""DPT among the others: asked for by name, through folds, cache, stack and subsets; begun with a file of weights."""

import json
from pathlib import Path

import pytest
import torch
from command_lines import call, done

from base_learners.encoders.build import build_encoder
from base_learners.encoders.pyramid import WITH_TRANSFORMER
from ensemble.settings.layers import Choice, config_folder, learners_to_stack, stack_settings
from ensemble.settings.names import known_learners, stacked_learners, unless_named_only
from ensemble.training.networks import _parts

TINY = config_folder() / "experiments" / "rooms_tiny.yaml"


def test_stacks_weigh_it_where_it_is_named():
    assert "dpt" in known_learners()
    assert stacked_learners() == learners_to_stack() == ("adabins", "bts", "ldrn")
    assert unless_named_only(("bts", "dpt", "fastdepth")) == ("bts",)
    assert unless_named_only(("bts", "dpt"), but="dpt") == ("bts", "dpt")
    assert stack_settings("d", Choice(config=TINY), learners=("bts", "dpt")).learners == ("bts", "dpt")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("network.hooks=[0, 2]", "hooks [0, 2], expected two ascending numbers of the 2 blocks, 0 .. 1"),
        ("network.hooks=[-1, 1]", "network.hooks[0]: expected a whole number of at least 0"),
        ("network.heads=3", "3 heads do not divide a width of 32"),
        ("network.internal_size=[50, 64]", "multiples of 32 pixels, such as [64, 64]"),
        ("network.internal_size=192", "network.internal_size: expected a list of 2 such as [192, 640], found 192"),
        ("network.attention=linear", "network.attention"),
        ("network.shift=near", "network.shift: expected a number such as 0.1378, found 'near'"),
        ("encoder.name=vit_tiny_patch16_224", "encoder vit_tiny_patch16_224: has maps of convolutions at strides ()"),
    ],
)
def test_what_cannot_be_built_is_refused_before_work(assignment: str, message: str, tmp_path: Path):
    answer = call("base", "train", "dpt", "--config", TINY, "--set", assignment, "--cache-dir", tmp_path / "cache")
    assert answer.status == 2
    assert message in " ".join(answer.err.split())
    assert not list(tmp_path.rglob("settings.json"))


@pytest.mark.slow
def test_it_joins_folds_cache_stack_and_subsets(tmp_path: Path):
    given, few = ("--config", TINY, "--cache-dir", tmp_path), ("--set", "training.max_steps=3")
    for name in ("bts", "dpt"):
        done("base", "train", name, "--folds", 2, *given, *few)
        for role in ("oof", "validation", "test"):
            done("base", "cache", name, "--role", role, *given)
    done("meta", "fit", "--inputs", "d", "--learners", "bts,dpt", *given, *few)
    scores = json.loads(done("meta", "evaluate", "meta-d-bts-dpt", "--json", "--cache-dir", tmp_path).out)
    assert "DPT" in json.dumps(scores)
    own = ("--cache-dir", tmp_path, "--experiment", "rooms-tiny")
    found = json.loads(done("meta", "compare-subsets", "--learners", "bts,dpt", *own, "--json").out)
    assert ["bts", "dpt"] in [each["learners"] for each in found["subsets"]]


@pytest.mark.slow
def test_training_says_what_a_file_of_weights_leaves(tmp_path: Path):
    encoder = build_encoder("mobilenetv2_035", needs=WITH_TRANSFORMER)
    weights = {**encoder.features.state_dict(), "cls_token": torch.zeros(1, 1, 32)}
    torch.save(weights, tmp_path / "some.pt")
    words = ("--set", "encoder.name=mobilenetv2_035", "--set", f"encoder.weights={tmp_path / 'some.pt'}")
    given = ("--config", TINY, "--cache-dir", tmp_path, "--set", "training.max_steps=1", *words)
    said = " ".join(done("base", "train", "dpt", *given).err.split())
    assert (
        "some.pt fills all but 83 of 398 tensors, which start from random numbers: project (2), transformer (" in said
    )


def test_few_names_stand_as_they_are_and_many_as_parts():
    few = ("transformer.blocks.0.attn.features", "transformer.blocks.1.attn.features")
    assert _parts(few) == ", ".join(few)
    assert _parts([*(f"fusion.{each}.weight" for each in range(12)), "head.0.bias"]) == "fusion (12), head (1)"
