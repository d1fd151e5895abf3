"""Settings from YAML and ``--set``, and mistakes in both that are answered by name (RELIABILITY row 17)."""

import itertools
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import call

from ensemble.settings.encoders import check_encoder
from ensemble.settings.layers import Choice, config_folder, experiment_name, learner_settings, stack_settings
from ensemble.settings.schema import EncoderSettings
from ensemble.settings.trees import SettingsError, read_yaml

TRAIN = ("base", "train", "adabins")
MISTAKES = {
    "unknown learner": (
        ("base", "train", "adabin"),
        ["adabin", "did you mean 'adabins'", "bts, bts_fast, dpt, fastdepth, ffn, ldrn"],
    ),
    "unknown section": ((*TRAIN, "--set", "trianing.lr=1"), ["trianing", "did you mean 'training'"]),
    "unknown key": ((*TRAIN, "--set", "training.epoch=3"), ["training.epoch", "did you mean 'epochs'"]),
    "unknown nested key": ((*TRAIN, "--set", "data.rooms.scene=3"), ["data.rooms.scene", "did you mean 'scenes'"]),
    "network key": ((*TRAIN, "--set", "network.embeding=3"), ["network.embeding", "did you mean 'embedding'"]),
    "loss key": ((*TRAIN, "--set", "loss.scal=3"), ["loss.scal", "did you mean 'scale'"]),
    "loss key of the last phase": (
        (*TRAIN, "--set", "training.last_phase={fraction: 0.3, loss: {mean_wieght: 0.5}}"),
        ["training.last_phase.loss.mean_wieght", "did you mean 'mean_weight'"],
    ),
    "last phase of no loss": ((*TRAIN, "--set", "training.last_phase.fraction=0.3"), ["training.last_phase.loss"]),
    "last phase that is everything": (
        (*TRAIN, "--set", "training.last_phase={fraction: 1, loss: {mean_weight: 0.5}}"),
        ["training.last_phase.fraction", "less than 1"],
    ),
    "list too short": ((*TRAIN, "--set", "network.widths=[8, 8]"), ["network.widths", "a list of 5", "[8, 8]"]),
    "number for list": ((*TRAIN, "--set", "network.widths=8"), ["network.widths", "a list of 5", "found 8"]),
    "text in list": ((*TRAIN, "--set", "network.widths=[8, 8, 8, 8, x]"), ["network.widths[4]", "whole", "'x'"]),
    "zero width": ((*TRAIN, "--set", "network.widths=[8, 8, 8, 8, 0]"), ["network.widths[4]", "at least 1", "0"]),
    "text for number": ((*TRAIN, "--set", "training.lr=fast"), ["training.lr", "number", "'fast'"]),
    "quoted number": ((*TRAIN, "--set", "training.epochs='3'"), ["training.epochs", "integer", "'3'"]),
    "truth for number": ((*TRAIN, "--set", "training.batch_size=true"), ["training.batch_size", "integer", "True"]),
    "truth in size": ((*TRAIN, "--set", "data.size=[true, 64]"), ["data.size.0", "integer", "True"]),
    "truth in network": ((*TRAIN, "--set", "network.bins=true"), ["network.bins", "whole number", "True"]),
    "half an epoch": ((*TRAIN, "--set", "training.epochs=1.5"), ["training.epochs", "integer", "1.5"]),
    "negative rate": ((*TRAIN, "--set", "training.lr=-1e-4"), ["training.lr", "greater than 0", "-0.0001"]),
    "not a number": ((*TRAIN, "--set", "training.lr=.nan"), ["training.lr", "finite", "nan"]),
    "infinite": ((*TRAIN, "--set", "loss.scale=.inf"), ["loss.scale", "finite", "inf"]),
    "no value": ((*TRAIN, "--set", "training.lr="), ["training.lr", "number", "None"]),
    "crop too large": ((*TRAIN, "--set", "data.crop=[99, 99]"), ["crop (99, 99)", "96x128"]),
    "depth range": ((*TRAIN, "--set", "data.min_depth=11"), ["min_depth 11.0 m", "max_depth 10.0 m"]),
    "choice": ((*TRAIN, "--set", "evaluation.crop=eigne"), ["evaluation.crop", "'eigne'", "did you mean 'eigen'"]),
    "text choice": (
        ("base", "train", "ldrn", "--set", "network.interpolate=befor"),
        ["network.interpolate", "'befor'", "did you mean 'before'"],
    ),
    "accumulate": (
        (*TRAIN, "--set", "training.accumulate=5", "--set", "training.batch_size=32"),
        ["batch_size 32", "accumulate 5"],
    ),
    "no equals sign": ((*TRAIN, "--set", "training.lr"), ["--set 'training.lr'", "key=value"]),
    "value is no YAML": ((*TRAIN, "--set", "data.size=[1,"), ["data.size=[1,", "not a valid value"]),
    "section is a text": ((*TRAIN, "--set", "data=nyu"), ["data", "mapping", "'nyu'"]),
    "data kind": ((*TRAIN, "--data", "romms"), ["data.kind (--data)", "did you mean 'rooms'"]),
    "root for rooms": ((*TRAIN, "--data", "rooms", "--root", "x"), ["--root x", "rooms", "--data nyu"]),
    "no root": ((*TRAIN, "--data", "nyu"), ["data.root", "--root", "NYU_ROOT"]),
    "root is missing": ((*TRAIN, "--root", "no/such"), ["data.root", "no/such", "NYU_ROOT"]),
    "experiment leaves its folder": ((*TRAIN, "--experiment", "../x"), ["experiment", "'../x'"]),
    "experiment is a number": ((*TRAIN, "--set", "experiment=7"), ["experiment", "string", "7"]),
    "missing file": ((*TRAIN, "--config", "no.yaml"), ["no.yaml", "no such file"]),
    "size": (("base", "profile", "--size", "480*640"), ["--size '480*640'", "480x640"]),
    "zero size": (("base", "profile", "--size", "0x640"), ["--size '0x640'", "480x640"]),
    "device": (("base", "profile", "--device", "cdua"), ["device", "'cdua'", "did you mean 'cuda'"]),
    "role": (("base", "cache", "bts", "--role", "tset"), ["role", "'tset'", "did you mean 'test'"]),
    "inputs": (("meta", "fit", "--inputs", "rgbd"), ["inputs", "'rgbd'", "did you mean 'rgb"]),
    "no inputs": (("meta", "fit"), ["--inputs", "rgb+d"]),
    "learners": (("meta", "fit", "--inputs", "d", "--learners", "bts,ldnr"), ["'ldnr'", "did you mean 'ldrn'"]),
    "one learner": (("meta", "fit", "--inputs", "d", "--learners", "bts"), ["learners", "at least 2"]),
    "run": (("meta", "evaluate", "meta-q"), ["'meta-q'", "no run", "none"]),
    "more processes than any machine has": ((*TRAIN, "--set", "data.workers=100000"), ["data.workers", "256"]),
    "more rooms than anybody waits for": (
        (*TRAIN, "--set", "data.rooms.scenes=999999999"),
        ["data.rooms: scenes, test_scenes, frames", "1000000 frames", "6000000054"],
    ),
    "the same of a command": (("data", "rooms", "out", "--scenes", 999999, "--frames", 9), ["at most 1000000 frames"]),
    "a rate beyond all": ((*TRAIN, "--set", "training.lr=1e300"), ["training.lr", "1000000000"]),
    "a width beyond all": ((*TRAIN, "--set", "network.embedding=99999999999"), ["network.embedding", "1000000"]),
    "a side beyond all": ((*TRAIN, "--set", "data.size=[320000, 64]"), ["data.size.0", "16384"]),
    "digits of a size": (("base", "profile", "--size", "9" * 5000 + "x1"), ["--size", "480x640"]),
    "digits of a seed": ((*TRAIN, "--seeds", "1" * 5000), ["--seeds", "0,1,2"]),
    "digits of a budget": (("meta", "fit", "--inputs", "d", "--budget", "9" * 30 + "steps"), ["--budget"]),
    "a name too long": (("meta", "fit", "--inputs", "d", "--name", "a" * 300), ["--name"]),
    "cache is a file": (("base", "verify", "--cache-dir", "/dev/null"), ["--cache-dir /dev/null", "expected a folder"]),
    "no setting of data": (("data", "doctor", ".", "--set", "training.lr=1"), ["--set", "'training'", "data"]),
    "no such images": (
        ("meta", "fuse", "x.stack", "--maps", "bts=.", "--images", "no/such", "--out", "o"),
        ["--images no/such", "no such folder"],
    ),
    "storage is a folder": (("study", "run", "smoke", "--storage", "journal:"), ["--storage: expected postgresql://"]),
    "storage has no name": (
        ("study", "run", "smoke", "--storage", "sqlite:///"),
        ["--storage: expected postgresql://"],
    ),
    "learner's name for a stack": (("meta", "fit", "--inputs", "d", "--name", "bts"), ["--name 'bts'"]),
}
FILES = {
    "no YAML": ("data: {size: [1, 2}\n", ["not valid YAML"]),
    "a list": ("- data\n- training\n", ["expected a mapping", "list"]),
    "empty": ("", ["expected a mapping", "NoneType"]),
    "unknown section": ("trianing: {lr: 1}\n", ["trianing", "did you mean 'training'"]),
    "unknown learner": ("learners: {bst: {}}\n", ["bst", "did you mean 'bts'"]),
    "unknown section of a learner": ("learners: {bts: {trainig: {}}}\n", ["trainig", "did you mean 'training'"]),
    "unknown section of meta": ("meta: {netwrk: {}}\n", ["netwrk", "did you mean 'network'", "meta"]),
    "another learner's network": ("learners: {bts: {network: {adaptr: 3}}}\n", ["for bts", "did you mean 'adaptor'"]),
    "meta's network": ("meta: {network: {width: [1]}}\n", ["for the meta-learner", "did you mean 'widths'"]),
    "doubled key": ("training: {lr: 1.0e-3, lr: 1.0e-4}\n", ["'lr'", "twice"]),
    "number as key": ("data: {7: 3}\n", ["name as key", "'7'"]),
    "text for section": ("training: fast\n", ["training", "section of settings", "'fast'"]),
    "yes for number": ("training: {lr: yes}\n", ["training.lr", "number", "True"]),
    "border": ("data: {border: [9, 9, 3, 640]}\n", ["border (9, 9, 3, 640)", "480x640"]),
}


def test_encoders_are_known_without_timm():
    for name in ("ghostnet_100", "mobilenetv2_100.ra_in1k", "test_efficientnet", "hf-hub:somebody/something"):
        check_encoder(EncoderSettings(name=name))
    for settings, message in (
        (EncoderSettings(name="ghostnet_10"), r"timm has no such model 'ghostnet_10'; nearest: ghostnet_1"),
        (EncoderSettings(weights="no/such.pth"), r"no/such\.pth: no such file of encoder weights"),
    ):
        with pytest.raises(SettingsError, match=message):
            check_encoder(settings)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_on_the_command_line_is_answered_by_name(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words, told = MISTAKES[case]
    answer = call(*words)
    assert answer.status == 2, answer
    assert all(text in answer.err for text in told), answer.err
    assert "Traceback" not in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", FILES)
def test_a_mistake_in_a_file_is_answered_by_name(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text, told = FILES[case]
    Path("own.yaml").write_text(text, encoding="utf-8")
    answer = call("base", "train", "adabins", "--config", "own.yaml")
    assert answer.status == 2, answer
    assert "own.yaml" in answer.err or case in ("text for section", "yes for number", "border"), answer.err
    assert all(part in answer.err for part in told), answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def test_mistakes_and_help_are_answered_before_torch_is_imported(tmp_path: Path):
    script = """
import sys
from command_lines import call
from test_settings import MISTAKES
for words, _ in MISTAKES.values():
    assert call(*words).status == 2, words
for words in (["base"], ["meta"], *[["base", name] for name in sys.argv[1:7]], *[["meta", x] for x in sys.argv[7:]]):
    assert call(*words, "--help").status == 0, words
print(sorted({"torch", "timm", "lightning", "h5py"} & set(sys.modules)))
"""
    here = Path(__file__).parent
    names = ["train", "lr-range", "cache", "evaluate", "profile", "train", "fit", "evaluate", "predict"]
    path = f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}, {str(here.parents[2])!r}]\n"
    run = subprocess.run(
        [sys.executable, "-c", path + script, *names], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stdout == "[]\n", run.stderr


TYPED = {
    **{case: MISTAKES[case] for case in ("unknown learner", "network key", "text for number", "role", "inputs", "run")},
    "encoder": ((*TRAIN, "--set", "encoder.name=ghostnet_10"), ["timm has no such model", "ghostnet_100"]),
    "weights": ((*TRAIN, "--set", "encoder.weights=no/such.pth"), ["no such file of encoder weights"]),
    "command": (("base", "trian", "bts"), ["unknown command 'trian'", "did you mean 'train'", "lr-range"]),
    "command of data": (("data", "docter", "x"), ["unknown command 'docter'", "did you mean 'doctor'", "rooms"]),
    "size of rooms": (("data", "rooms", "out", "--size", "24"), ["--size '24'", "480x640"]),
    "codec of a pack": (("data", "pack", "in", "out", "--codec", "zip"), ["unknown codec 'zip'"]),
    "no copy": (("data", "pack", "in", "out"), ["in: no such folder"]),
    "report": (("report", "meta-rgb"), ["there is no run 'meta-rgb'"]),
    **{
        f"no stack, {words[0]} {words[1]}": (words, ["there is no run 'missing'"])
        for words in (
            ("points", "missing", "photo.png", "--out", "x.ply"),
            ("video", "missing", "0", "--out", "x.mp4"),
            ("view", "missing"),
            ("predict", ".", "--model", "missing"),
            ("export", "onnx", "missing", "x.onnx"),
            ("export", "report", "missing"),
            ("base", "teach", "missing"),
            (*TRAIN, "--teacher", "missing"),
        )
    },
    "recipe": (("export", "report", "nyu-small", "--recipes", "fp33"), ["unknown recipe 'fp33'", "'fp32'"]),
    "precision": (("export", "onnx", "nyu-small", "x.onnx", "--precision", "int9"), ["of onnx 'int9'", "'int8'"]),
    "photographs": (
        ("export", "onnx", "nyu-small", "x.onnx", "--images", "none"),
        ["--images none: expected a folder"],
    ),
    "study": (("study", "run", "smok"), ["smok", "did you mean 'smoke'"]),
}


@pytest.mark.parametrize("case", TYPED)
def test_a_typed_mistake_costs_less_than_two_seconds(case: str, tmp_path: Path):
    """Processor time: what a process waits for is not its own on a busy machine."""
    (tool, *words), told = TYPED[case]
    kept = {name: value for name, value in os.environ.items() if name not in ("NYU_ROOT", "STACKDEPTH_CACHE")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(
        [sys.executable, "-m", f"ensemble.{tool}", *words],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.returncode == 2, answer
    assert all(text in answer.stderr for text in told), answer.stderr
    assert (answer.stdout, "Traceback" in answer.stderr) == ("", False)
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 2
    assert not list(tmp_path.iterdir())


def test_numbers_keep_their_kind():
    given = ["training.lr=1e-4", "training.clip_norm=null", "loss.scale=5", "data.crop=null", "training.max_steps=3"]
    settings = learner_settings("adabins", Choice(assignments=given))
    assert settings.training.lr == 1e-4
    assert settings.training.clip_norm is None
    assert settings.loss["scale"] == 5.0
    assert isinstance(settings.loss["scale"], float)
    assert settings.data.crop is None
    assert settings.training.max_steps == 3


LAST_PHASE = "training.last_phase={loss: {mean_weight: 0.5}}"


def test_a_last_phase_stands_in_the_settings_where_there_is_one():
    """Settings of runs without one stay as they were, or these would be begun with something else."""
    for settings in (learner_settings("bts"), stack_settings("d")):
        stored = settings.model_dump(mode="json")["training"]
        assert "last_phase" not in stored
        assert {"lr", "precision", "select"} <= set(stored)
        assert type(settings).model_validate_json(settings.model_dump_json()) == settings
    for asked in (
        learner_settings("bts", Choice(assignments=[LAST_PHASE])),
        stack_settings("d", Choice(assignments=[LAST_PHASE])),
    ):
        stored = asked.model_dump(mode="json")["training"]
        assert stored["last_phase"] == {"fraction": 0.2, "loss": {"mean_weight": 0.5}}
        assert type(asked).model_validate_json(asked.model_dump_json()) == asked
    assert learner_settings("bts", Choice(assignments=[LAST_PHASE, "training.last_phase=null"])) == learner_settings(
        "bts"
    )


def test_a_last_phase_in_a_file_is_checked_for_every_learner(tmp_path: Path):
    """``chamfer_weight`` is an argument of AdaBins' loss alone."""
    file = tmp_path / "own.yaml"
    file.write_text("learners: {adabins: {training: {last_phase: {loss: {chamfer_weight: 0.2}}}}}\n", encoding="utf-8")
    last = learner_settings("adabins", Choice(config=file)).training.last_phase
    assert last is not None
    assert last.loss == {"chamfer_weight": 0.2}
    file.write_text("training: {last_phase: {loss: {chamfer_weight: 0.2}}}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"for bts: .*training\.last_phase\.loss\.chamfer_weight"):
        learner_settings("adabins", Choice(config=file))


def test_later_sources_win(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text("training: {lr: 0.1, epochs: 7}\nlearners: {bts: {training: {lr: 0.2}}}\n", encoding="utf-8")
    assert learner_settings("bts").training.lr == 8.6e-4
    assert learner_settings("adabins", Choice(config=file)).training.lr == 0.1
    assert learner_settings("bts", Choice(config=file)).training.lr == 0.2
    settings = learner_settings("bts", Choice(config=file, assignments=("training.lr=0.3",)))
    assert (settings.training.lr, settings.training.epochs) == (0.3, 7)
    assert stack_settings("d", Choice(config=file)).training.lr == 1e-4


def test_who_names_other_learners_leaves_behind_how_often_those_of_the_file_count():
    packaged = Choice(config=config_folder() / "experiments/nyu_stacking.yaml")
    of_file = stack_settings("d", packaged)
    assert of_file.copies["ldrn#1"] == 4
    named = stack_settings("d", packaged, learners=["adabins", "bts", "ldrn"])
    assert (named.learners, named.copies) == (("adabins", "bts", "ldrn"), {})
    turned = stack_settings("d", packaged, learners=[*reversed(of_file.learners)])
    assert turned.copies == of_file.copies
    assigned = stack_settings("d", packaged.also("learners=[bts, ldrn_lite0]", "copies.bts=3"))
    assert assigned.copies == {"bts": 3}


@pytest.mark.parametrize("section", ["lr_factors", "loss_weights"])
def test_what_a_file_says_of_single_learners_in_training_goes_with_them(section: str, tmp_path: Path):
    file = tmp_path / "own.yaml"
    own = {"learners": ["adabins", "bts"], "live": {section: {"adabins": 0.5, "bts": 2.0}}}
    file.write_text(json.dumps({"meta": own}), encoding="utf-8")
    settings = stack_settings("d", Choice(config=file), learners=["bts", "ldrn"])
    assert getattr(settings.live, section) == {"bts": 2.0}
    typed = Choice(config=file, assignments=(f"live.{section}.adabins=1",))
    with pytest.raises(SettingsError, match="adabins is none of the learners bts, ldrn"):
        stack_settings("d", typed, learners=["bts", "ldrn"])


def test_the_place_of_nyu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NYU_ROOT", raising=False)
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps({"data": {"root": "/from/file"}}), encoding="utf-8")
    assert learner_settings("bts").data.kind == "rooms"
    assert learner_settings("bts", Choice(config=file)).data.kind == "nyu"
    monkeypatch.setenv("NYU_ROOT", "/from/environment")
    assert learner_settings("bts").data.root == Path("/from/environment")
    assert learner_settings("bts", Choice(kind="rooms")).data.root is None
    assert learner_settings("bts", Choice(config=file)).data.root == Path("/from/file")
    assert learner_settings("bts", Choice(config=file, root=Path("/from/option"))).data.root == Path("/from/option")
    assigned = learner_settings("bts", Choice(root=Path("/from/option"), assignments=("data.root=/from/set",)))
    assert assigned.data.root == Path("/from/set")
    assert learner_settings("bts", Choice(root=Path("relative"))).data.root == Path.cwd() / "relative"
    assert experiment_name() == "nyu"


def test_experiments_may_look_like_numbers(tmp_path: Path):
    answer = call("base", "evaluate", "bts", "--experiment", "1e-3", "--cache-dir", tmp_path)
    assert answer.status == 1
    assert str(tmp_path / "runs" / "1e-3" / "bts") in answer.err


def test_settings_of_data_come_from_the_learners_runs():
    trained = learner_settings(
        "bts", Choice(assignments=("data.size=[64, 96]", "data.crop=null", "evaluation.crop=none"))
    )
    inherited = trained.model_dump(mode="json", include={"data", "evaluation"})
    assert stack_settings("d", inherited=inherited).data.size == (64, 96)
    assert stack_settings("d", inherited=inherited).evaluation.crop == "none"
    assert stack_settings("d", Choice(assignments=("data.size=[32, 32]",)), inherited=inherited).data.size == (32, 32)


def test_yaml_runs_no_code(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text("data: !!python/object/apply:os.mkdir [owned]\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="not valid YAML"):
        read_yaml(file)


ALIASES = "a: &a [1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdef")
)
HOSTILE = {
    "aliases that multiply": (ALIASES, "once its aliases are written out"),
    "a section that holds itself": ("data: &d {rooms: *d}", "a section holds itself"),
    "nesting": ("data: " + "[" * 900 + "]" * 900, "50 sections within each other"),
    "many values": ("data: [" + "1, " * 20_000 + "1]", "10,000 values"),
    "a kind of its own": ("seed: !!timestamp x", "'timestamp'"),
    "an object": ("seed: !!python/object:os.system x", "'python/object"),
    "a number beyond all": ("seed: 1000000000000000000000000000000", "whole numbers of at most"),
    "digits": ("seed: " + "9" * 5000, "cannot be read"),
    "size": ("# " + "x" * (1 << 20), "expected settings of at most 1,048,576"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_and_nothing_is_written(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text, told = HOSTILE[case]
    Path("own.yaml").write_text(text, encoding="utf-8")
    for words in (("base", "train", "bts", "--config", "own.yaml"), ("study", "run", "own.yaml")):
        answer = call(*words)
        assert answer.status == 2, answer
        assert told in answer.err
        assert answer.err.startswith("error: own.yaml: ")
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "."])
def test_what_is_no_regular_file_is_never_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    answer = call("base", "train", "bts", "--config", place)
    assert answer.status == 2
    assert "expected a file of settings, found a folder, a device or a pipe" in answer.err


def test_hostile_assignments_are_refused_by_name():
    for value in ("1000000000000000000000000000000", "!!timestamp x", "!!bool x", '!!int ""', "[" * 900 + "]" * 900):
        answer = call("base", "train", "bts", "--set", f"seed={value}")
        assert answer.status == 2
        assert "--set 'seed=" in answer.err
    answer = call("base", "train", "bts", "--set", "a." * 900 + "b=1")
    assert (answer.status, "50 sections within each other" in answer.err) == (2, True)


def test_a_date_is_text():
    assert learner_settings("bts", Choice(assignments=["experiment=2024-01-31"])).experiment == "2024-01-31"


SECRET = "postgresql://bob:hunter2@db.example/x"


@pytest.mark.parametrize(
    "text",
    [
        f"experiment: {SECRET}\n",
        f"data: {{size: ['{SECRET}', 3]}}\n",
        f"training:\n  {SECRET}: 3\n",
        f"a: 1\n{SECRET} b: [\n",
        f"a: 1\na: {SECRET}\n",
        f"a: !<{SECRET}> b\n",
        f"- {SECRET}\n",
        f"{SECRET}\n",
        'experiment: "postgresql:\\x2f/bob:hunter2@db.example/x"\n',
        "experiment: https://bob:hunter2@db.example\n",
    ],
)
def test_an_address_in_a_file_is_never_repeated(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(text, encoding="utf-8")
    for words in ((*TRAIN, "--config", "own.yaml"), ("study", "run", "own.yaml")):
        answer = call(*words)
        assert answer.status == 2
        assert "hunter2" not in answer.err
        assert re.match(r"error: own\.yaml: (line \d+: )?expected .* without an address", answer.err)
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def test_the_address_of_a_page_may_stand_in_a_file(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text("about: see https://example.org/page.html for more\n", encoding="utf-8")
    assert read_yaml(file) == {"about": "see https://example.org/page.html for more"}
