"""Images of every kind and shape, depth maps of foreign learners, and what is refused."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import Job, call, done
from foreign_maps import noisy_maps, save_npy, source_of
from PIL import Image, ImageOps

import ensemble
from ensemble.data.division import open_experiment
from ensemble.data.formats.photographs import read_photograph
from ensemble.data.held_out import test_frames as frames_to_score
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.nyu.camera import COLOUR
from ensemble.deploy.door import DepthStack
from ensemble.deploy.network import StackNetwork
from ensemble.deploy.runtime.resizing import shape_kept
from ensemble.deploy.saved import save_file
from ensemble.predictions.level_zero import open_rows
from ensemble.runs.paths import Outputs
from ensemble.settings.trees import SettingsError
from ensemble.stacking.stack import load_stack, stacked

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def stack(job: Job) -> DepthStack:
    return ensemble.load("meta-rgb+d", device="cpu", cache_dir=job.cache)


def test_images_of_every_kind_give_the_same_depth(stack: DepthStack):
    expected = stack(PIXELS)
    assert expected.error is not None
    assert (expected.depth.shape, expected.error.shape, expected.weights.shape) == ((48, 64), (48, 64), (3, 48, 64))
    assert {values.dtype for values in (expected.depth, expected.error, expected.weights)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(expected.weights.sum(axis=0), 1, atol=1e-5)
    for image in (Image.fromarray(PIXELS), PIXELS / 255, (PIXELS / 255).astype(np.float32)):
        np.testing.assert_allclose(stack(image).depth, expected.depth, rtol=1e-5)
    batch = torch.from_numpy(PIXELS / 255).float().permute(2, 0, 1).expand(2, 3, 48, 64)
    found = stack(batch)
    assert found.depth.shape == (2, 48, 64)
    assert found.weights.shape == (2, 3, 48, 64)
    np.testing.assert_allclose(found.depth[1].numpy(), expected.depth, rtol=1e-3)  # batches round otherwise
    streamed = [each.depth for each in stack.stream([PIXELS, PIXELS])]
    np.testing.assert_array_equal(streamed, [expected.depth] * 2)


@pytest.mark.parametrize("shape", [(100, 40), (40, 100), (64, 48), (33, 47), (480, 640), (5, 300)])
def test_images_of_every_shape_keep_it(stack: DepthStack, shape: tuple[int, int]):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    seen: list[tuple[int, ...]] = []
    hook = stack.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    found = stack(image)
    hook.remove()
    assert found.depth.shape == shape
    most = math.sqrt(4 * 48 * 64 / (shape[0] * shape[1]))  # a strip of pixels is seen smaller
    (height, width), factor = seen[0], min(48 / min(shape), most)
    assert (height, width) == (48, 64) if shape == (480, 640) else height % 32 == width % 32 == 0
    assert all(-0.5 <= there - factor * side < 32 for there, side in zip((height, width), shape, strict=True))


@pytest.mark.parametrize(
    ("shape", "kept"),
    [((480, 640), (48, 64)), ((640, 480), (64, 48)), ((300, 900), (48, 144)), ((20, 3000), (9, 1358))],
)
def test_a_strip_of_pixels_is_no_larger_than_four_images(shape: tuple[int, int], kept: tuple[int, int]):
    assert shape_kept((48, 64), *shape) == kept


def test_pillow_images_of_every_mode_are_what_a_command_reads(stack: DepthStack, tmp_path: Path):
    """More than 8 bits are divided, not cut off, and what is transparent lies on white."""
    deep = Image.fromarray(np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16))
    clear = Image.fromarray(np.dstack([PIXELS, np.arange(48 * 64).reshape(48, 64).astype(np.uint8)]))
    kinds = [deep, deep.convert("I"), clear, Image.fromarray(PIXELS).convert("CMYK"), Image.fromarray(PIXELS[..., 0])]
    kinds += [Image.fromarray(PIXELS).quantize(16)]
    for index, image in enumerate(kinds):
        path = tmp_path / f"{index}.tif"
        image.save(path)
        np.testing.assert_array_equal(stack(image).depth, stack(read_photograph(path).pixels).depth, err_msg=image.mode)
    assert not np.array_equal(stack(clear).depth, stack(PIXELS).depth)


def test_a_call_chooses_flip_and_device_for_itself(job: Job, stack: DepthStack):
    plain = ensemble.load("meta-rgb+d", device="cpu", flip=False, cache_dir=job.cache)
    both = ensemble.load("meta-rgb+d", device="auto", flip=True, cache_dir=job.cache)
    expected = [each(PIXELS).depth for each in (plain, both)]
    assert not np.array_equal(*expected)
    found = [stack(PIXELS, flip=flip, device="cpu").depth for flip in (False, True)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal([each.depth for each in stack.stream([PIXELS], flip=False)], expected[:1])
    np.testing.assert_array_equal(plain(PIXELS, flip=True).depth, expected[1])
    np.testing.assert_array_equal(plain(PIXELS).depth, expected[0])  # that was for one call
    assert repr(stack) == "DepthStack(meta-rgb+d: adabins, bts, ldrn; 48x64 on cpu)"
    found = repr(stack(PIXELS))
    assert found == "Prediction(depth, weights, learners, error at 48x64; learners adabins, bts, ldrn)"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", "device cuda: torch finds no CUDA device here; expected auto or cpu"), ("gpu", "expected auto, cpu")],
)
def test_a_device_that_is_not_there_is_named(job: Job, stack: DepthStack, tmp_path: Path, device: str, message: str):
    with pytest.raises(SettingsError, match=message):
        stack(PIXELS, device=device)
    with pytest.raises(SettingsError, match=message):
        ensemble.load("meta-d", device=device, cache_dir=job.cache)
    Image.fromarray(PIXELS).save(tmp_path / "p.png")
    words = ("meta-d", tmp_path / "p.png", "--out", tmp_path / "o", "--device", "cuda", "--cache-dir", job.cache)
    answer = call("meta", "predict", *words)
    assert answer.status == 2
    assert "device cuda: torch finds no CUDA device here; expected auto or cpu" in answer.err


@pytest.mark.parametrize("size", [(0, 70), (48,), 96, (48.0, 64), (48, 64, 3)])
def test_a_size_is_two_whole_numbers(stack: DepthStack, size: object):
    with pytest.raises(ValueError, match=r"expected height and width in whole pixels, \(height, width\)"):
        stack(PIXELS, size=size)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_a_size_that_no_memory_holds_is_refused(stack: DepthStack):
    with pytest.raises(ValueError, match=r"size \(100000, 100000\): expected at most 16 million pixels"):
        stack(PIXELS, size=(100_000, 100_000))


def test_an_image_of_twelve_bits_is_warned_of(stack: DepthStack):
    narrow = Image.fromarray(np.linspace(0, 4095, 48 * 64).reshape(48, 64).astype(np.uint16))
    with pytest.warns(UserWarning, match="its numbers reach 4095 of 65535, as those of 12 bits or fewer in 16 do"):
        stack(narrow)


def test_an_image_that_lies_on_its_side_is_warned_of(stack: DepthStack):
    lying = Image.fromarray(PIXELS)
    lying.getexif()[0x0112] = 6
    with pytest.warns(UserWarning, match=r"not upright \(orientation 6 .* expected PIL.ImageOps.exif_transpose"):
        assert stack(lying).depth.shape == (48, 64)
    assert stack(ImageOps.exif_transpose(lying)).depth.shape == (64, 48)


def test_a_wide_image_is_not_squeezed(stack: DepthStack):
    """Of two equal halves each looks about as the half alone."""
    wide = stack(np.concatenate([PIXELS] * 2, axis=1)).depth
    assert wide.shape == (48, 128)
    assert abs(np.median(wide) / np.median(stack(PIXELS).depth) - 1) < 0.2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((48, 64), np.uint8), r"an RGB image of height x width x 3, found an array of shape \(48, 64\)"),
        (np.zeros((48, 64, 4), np.uint8), r"shape \(48, 64, 4\)"),
        (np.zeros((48, 64, 3), np.uint16), r"of 8 bits or of floats in \[0, 1\], found uint16"),
        (np.full((48, 64, 3), 255.0), r"floats in \[0, 1\], found 255 \.\. 255"),
        (np.full((48, 64, 3), np.nan), r"floats in \[0, 1\]"),
        (torch.zeros(3, 48, 64), r"images \[b 3 h w\]"),
        (torch.zeros(1, 3, 48, 64, dtype=torch.uint8), r"found .* torch.uint8"),
        (np.zeros((0, 64, 3), np.uint8), "shape"),
    ],
)
def test_what_is_no_image_is_refused(stack: DepthStack, image: object, message: str):
    with pytest.raises(ValueError, match=message):
        stack(image)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_nan_is_named_and_not_repaired(job: Job):
    broken = ensemble.load("meta-d", device="cpu", cache_dir=job.cache)
    with torch.no_grad():
        next(broken.network.members[0].parameters()).fill_(torch.nan)
    with pytest.raises((FloatingPointError, ValueError), match="NaN"):
        broken(PIXELS)


@pytest.fixture(scope="module")
def mixed(job: Job, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache with stacks of a network and of imported maps without a scale, and the folder of these maps."""
    folder = tmp_path_factory.mktemp("mixed")
    cache, given = job.copy_to(folder), ("--config", job.config)
    for split, roles in (("train", ("oof", "validation")), ("test", ("test",))):
        maps = noisy_maps(source_of(job.config), split, noise=0.05, seed=1)
        place = save_npy(folder / split, {name: (metres - 0.25) / 40 for name, metres in maps.items()})
        for role in roles:
            words = ("base", "import", "other", place, "--role", role, "--align-on", "fit")
            done(*words, *given, "--cache-dir", cache)
    for inputs in ("d", "rgb+d"):
        words = ("meta", "fit", "--inputs", inputs, "--learners", "adabins,other", "--name", f"mixed-{inputs}")
        done(*words, *given, "--cache-dir", cache)
    done("meta", "evaluate", "mixed-d", "--cache-dir", cache)
    return cache, folder / "test"


def test_new_maps_of_foreign_learners_are_fused_as_their_rows_are(mixed: tuple[Path, Path], tmp_path: Path):
    cache, maps = mixed
    outputs = Outputs(cache)
    loaded = load_stack(outputs.find_run("mixed-d"), outputs)
    done("meta", "save", "mixed-d", tmp_path / "mixed.stack", "--cache-dir", cache)
    stack = ensemble.load(tmp_path / "mixed.stack", device="cpu")
    experiment = open_experiment(outputs, loaded.settings)
    frames = frames_to_score(experiment.source, loaded.settings.data)
    rows = [open_rows(learner, experiment, frames, "test") for learner in loaded.learners]
    for frame in frames:
        cached = [own.read(frame.id) for own in rows]
        image = experiment.source.read_image(frame)
        pixels = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = stacked(loaded, pixels, torch.from_numpy(np.stack(cached))[None]).depth[0, 0].numpy()
        foreign = np.load(maps / f"{frame.id}.npy")
        by_maps = stack.fuse({"adabins": cached[0], "other": foreign})
        np.testing.assert_allclose(by_maps.depth, expected, rtol=1e-4)  # rows are kept in steps
        np.testing.assert_allclose(by_maps.learners["other"], cached[1], rtol=1e-4)
        np.testing.assert_allclose(stack.fuse({"other": foreign}, image).depth, expected, rtol=1e-3)


def test_what_cannot_be_fused_is_refused(mixed: tuple[Path, Path]):
    stack = ensemble.load("mixed-rgb+d", device="cpu", cache_dir=mixed[0])
    ones = np.ones((48, 64), np.float32)
    for maps, image, message in (
        ({}, None, "found maps of nobody, expected those of adabins, other"),
        ({"adabins": ones}, PIXELS, r"expected those of adabins, other \(adabins may be left out\)"),
        ({"adabins": ones, "othr": ones}, PIXELS, "found maps of adabins, othr"),
        ({"adabins": ones, "other": ones}, None, r"sees the image as well \(rgb\+d\)"),
        ({"adabins": ones * np.nan, "other": ones}, PIXELS, "map of adabins: 3072 of 3072 pixels are NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            stack.fuse(maps, image)
    with pytest.raises(ValueError, match="other was imported as depth maps: there is no network of it"):
        stack(PIXELS)


def test_folders_of_maps_are_fused(mixed: tuple[Path, Path], tmp_path: Path, job: Job):
    cache, maps = mixed
    source = source_of(job.config)
    frames = [frame for frame in source.frames if frame.split == "test"]
    for frame in frames:
        path = tmp_path / "rgb" / f"{frame.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read_image(frame)).save(path)
    words = ("meta", "fuse", "mixed-rgb+d", "--maps", f"other={maps}", "--images", tmp_path / "rgb")
    done(*words, "--out", tmp_path / "out", "--cache-dir", cache)
    stack = ensemble.load("mixed-rgb+d", device="cpu", cache_dir=cache)
    for frame in frames:
        expected = stack.fuse({"other": np.load(maps / f"{frame.id}.npy")}, source.read_image(frame))
        assert expected.error is not None
        for kind, values in (("depth", expected.depth), ("error", expected.error), ("weights", expected.weights)):
            np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{frame.id}_{kind}.npy"), values)

    shutil.copy(path, tmp_path / "rgb" / "spare.png")
    told = done(*words, "--out", tmp_path / "again", "--cache-dir", cache).err
    assert f"1 of {len(frames) + 1} have no maps (first: spare): left out" in told
    assert sorted(each.name for each in (tmp_path / "again").rglob("*depth.npy")) == sorted(
        each.name for each in (tmp_path / "out").rglob("*depth.npy")
    )
    shutil.copy(path, path.with_suffix(".jpg"))
    answer = call(*words, "--out", tmp_path / "none", "--cache-dir", cache)
    assert f"found {path.stem}.jpg and {path.name}, which are one frame by their names" in answer.err
    path.with_suffix(".jpg").unlink()
    path.unlink()
    answer = call(*words, "--out", tmp_path / "none", "--cache-dir", cache)
    assert f"1 of {len(frames)} frames with maps have no image (first: {frames[-1].id})" in answer.err
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def pair(job: Job, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    """A saved stack of two foreign learners, and new maps of theirs by learner and frame."""
    folder = tmp_path_factory.mktemp("pair")
    cache, given, new = job.copy_to(folder), ("--config", job.config), dict[str, dict[str, np.ndarray]]()
    for seed, name in enumerate(("first", "second")):
        maps = {split: noisy_maps(source_of(job.config), split, noise=0.02, seed=seed) for split in ("train", "test")}
        train = save_npy(folder / name, maps["train"])
        places = ("--oof", train, "--validation", train, "--test", save_npy(folder / f"{name}_test", maps["test"]))
        done("base", "import", name, *places, *given, "--cache-dir", cache)
        new[name] = maps["test"]
    words = ("meta", "fit", "--inputs", "d", "--learners", "first,second", "--name", "pair")
    done(*words, *given, "--cache-dir", cache)
    done("meta", "save", "pair", folder / "pair.stack", "--cache-dir", cache)
    return folder / "pair.stack", new


def test_maps_of_networks_of_ours_are_fused_by_command(job: Job, tmp_path: Path):
    stack = ensemble.load("meta-d", device="cpu", cache_dir=job.cache)
    maps = {name: {"a": depth} for name, depth in stack(PIXELS).learners.items()}
    words = [word for name, own in maps.items() for word in ("--maps", f"{name}={save_npy(tmp_path / name, own)}")]
    done("meta", "fuse", "meta-d", *words, "--out", tmp_path / "out", "--cache-dir", job.cache)
    expected = stack.fuse({name: own["a"] for name, own in maps.items()})
    np.testing.assert_allclose(np.load(tmp_path / "out/a_depth.npy"), expected.depth, rtol=1e-5)


def test_maps_of_networks_of_ours_are_read_and_held_against_training_as_those_of_others(job: Job, tmp_path: Path):
    stack = ensemble.load("meta-d", device="cpu", cache_dir=job.cache)
    said = dict(stack(PIXELS).learners)
    expected = stack.fuse(said).depth
    in_mm = {name: np.round(1000 * depth).astype(np.uint16) for name, depth in said.items()}
    np.testing.assert_allclose(stack.fuse(in_mm).depth, expected, atol=1e-3)
    name = next(iter(said))
    wrong = {
        f"maps of {name} have a median of .* in training.*millimetres as whole numbers": 1000 * said[name],
        f"map of {name}: 1 of .* pixels are 0 or negative": holed(said[name]),
        f"map of {name}: .* pixels are 0 or negative": -said[name],
        f"map of {name}: .* pixels are NaN": np.full_like(said[name], np.nan),
    }
    for message, depth in wrong.items():
        with pytest.raises(ValueError, match=message):
            stack.fuse({**said, name: depth})
        maps = {each: {"a": depth if each == name else own} for each, own in said.items()}
        words = [word for each, own in maps.items() for word in ("--maps", f"{each}={save_npy(tmp_path / each, own)}")]
        answer = call("meta", "fuse", "meta-d", *words, "--out", tmp_path / "out", "--cache-dir", job.cache)
        assert answer.status == 1
        assert re.search(message, answer.err)


def holed(metres: np.ndarray) -> np.ndarray:
    metres = metres.copy()
    metres[3, 4] = 0
    return metres


def normalised(metres: np.ndarray) -> np.ndarray:
    return 3 * (metres - metres.min() + 0.1) / np.ptp(metres) + 1


def divided(metres: np.ndarray) -> np.ndarray:
    rough = metres * np.random.default_rng(7).normal(1, 0.1, metres.shape)
    return 3 * rough / rough.mean()


WRONG = {
    "upside down": (
        lambda metres: metres[::-1],
        "maps of first or of second lie upside down: so the depth of the other is met to ",
    ),
    "mirrored": (lambda metres: metres[:, ::-1], "maps of first or of second lie mirrored left to right"),
    "inverse": (lambda metres: 2 / metres + 1, "maps of first or of second look like inverse depth"),
    "logarithm": (lambda metres: np.log(metres) + 1.5, "maps of first or of second look like the logarithm of depth"),
    "of TUM": (
        lambda metres: np.rint(metres * 5000).astype(np.uint16),
        "it looks like the unit tum; expected the unit and scale of the import\n",
    ),
    "millimetres": (lambda metres: metres * 1000, "it looks like the unit mm; expected the unit and scale"),
    "holes": (holed, "1 of 3072 pixels are 0 or negative"),
    "no number": (lambda metres: metres * np.nan, "3072 of 3072 pixels are NaN or infinite"),
    "normalised": (
        normalised,
        "maps of first or of second have a scale of their own each against the depth of the other",
    ),
    "divided by its mean": (divided, "maps of first or of second have a scale of their own each against the depth of"),
    "twice as far": (lambda metres: 2 * metres, "as in training, or the other way round, as if one were in another"),
    "cropped": (lambda metres: metres[:, :48], "48x48 pixels have another shape than the frames (48x64)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_maps_that_are_not_as_those_of_the_import_are_named(
    pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path, case: str
):
    (stack, new), (change, expected) = pair, WRONG[case]
    first = save_npy(tmp_path / "first", new["first"])
    second = save_npy(tmp_path / "second", {name: change(metres) for name, metres in new["second"].items()})
    words = ("--maps", f"first={first}", "--maps", f"second={second}", "--out", tmp_path / "out")
    answer = call("meta", "fuse", stack, *words)
    assert answer.status == 1
    assert expected in answer.err
    assert not (tmp_path / "out").exists()


def test_maps_as_those_of_the_import_are_fused(
    pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stack, new = pair
    words = [f"{name}={save_npy(tmp_path / name, maps)}" for name, maps in new.items()]
    looked_at, fuse = [], StackNetwork.fuse
    monkeypatch.setattr(StackNetwork, "fuse", lambda *given: looked_at.append(1) or fuse(*given))
    done("meta", "fuse", stack, "--maps", words[0], "--maps", words[1], "--out", tmp_path / "out")
    assert len(looked_at) == len(new["first"]), "frames that are checked first are not fused twice"
    for frame, metres in new["first"].items():
        fused = np.load(tmp_path / "out" / f"{frame}_depth.npy")
        both = np.stack([metres, new["second"][frame]])
        assert (fused >= both.min(axis=0) - 1e-3).all()
        assert (fused <= both.max(axis=0) + 1e-3).all()


def test_near_maps_of_a_unit_that_the_import_told_are_fused(
    pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path
):
    """At 25 per metre no number of a map needs more than 8 bits."""
    stack, new = ensemble.load(pair[0], device="cpu"), pair[1]
    first, second = stack.header.learners
    assert second.imported is not None
    coarse = second.model_copy(update={"imported": second.imported.model_copy(update={"unit": "25"})})
    save_file(tmp_path / "coarse.stack", stack.header.model_copy(update={"learners": (first, coarse)}), stack.network)
    for frame, metres in new["second"].items():
        (tmp_path / "second" / frame).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(metres * 25).astype(np.uint16)).save(tmp_path / "second" / f"{frame}.png")
    words = ("--maps", f"first={save_npy(tmp_path / 'first', new['first'])}", "--maps", f"second={tmp_path}/second")
    done("meta", "fuse", tmp_path / "coarse.stack", *words, "--out", tmp_path / "out")
    frame = next(iter(new["second"]))
    expected = stack.fuse({name: maps[frame] for name, maps in new.items()}).depth
    np.testing.assert_allclose(np.load(tmp_path / "out" / f"{frame}_depth.npy"), expected, atol=0.03)


def test_distances_in_place_of_depth_are_named(pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path):
    """They look like depth, and one camera need not be that of the training: they are fused, and it is said."""
    stack, new = pair
    rays = 1 / COLOUR.resized((480, 640), (48, 64)).axis_share((48, 64))
    many = {
        learner: {f"{frame}_{copy}": metres for frame, metres in maps.items() for copy in "ab"}
        for learner, maps in new.items()
    }
    places = [
        save_npy(tmp_path / name, {frame: metres * (rays if name == "second" else 1) for frame, metres in maps.items()})
        for name, maps in many.items()
    ]
    words = ("--maps", f"first={places[0]}", "--maps", f"second={places[1]}", "--out", tmp_path / "out")
    told = done("meta", "fuse", stack, *words).err
    assert "maps of second are too large towards the edges of frames" in told
    assert len([*(tmp_path / "out").rglob("*_depth.npy")]) == len(many["first"])
    answer = call("meta", "fuse", stack, *words[:2], *words)
    assert (answer.status, "--maps first=...: expected one folder of every learner" in answer.err) == (2, True)


def test_a_folder_without_maps_is_named(pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path):
    stack, new = pair
    first = save_npy(tmp_path / "first", new["first"])
    (tmp_path / "none").mkdir()
    words = ("--maps", f"first={first}", "--maps", f"second={tmp_path}/none", "--out", tmp_path / "out")
    answer = call("meta", "fuse", stack, *words)
    assert answer.status == 1
    assert (
        f"error: --maps second={tmp_path}/none: found no depth map, expected files that end in .png, .npy" in answer.err
    )


def test_a_program_hears_of_maps_that_are_not_as_those_of_the_import(
    pair: tuple[Path, dict[str, dict[str, np.ndarray]]],
):
    saved, new = pair
    stack = ensemble.load(saved, device="cpu")
    first, second = (next(iter(maps.values())) for maps in new.values())
    stack.fuse({"first": first, "second": second})
    with pytest.raises(ValueError, match=r"maps of second have a median of .*: it looks like the unit mm; expected"):
        stack.fuse({"first": first, "second": 1000 * second})
    with pytest.warns(
        UserWarning, match=r"the map of first or of second lie upside down: so the depth of the others is met"
    ):
        found = stack.fuse({"first": first, "second": second[::-1]})
    assert found.depth.shape == first.shape
    with pytest.warns(UserWarning, match=r"times as far from those of the others as in training"):
        stack.fuse({"first": first, "second": 2.5 * second})
    with pytest.warns(UserWarning, match=r"the maps of all learners are 0\.1\d* times as far as those of training"):
        stack.fuse({"first": first / 8, "second": second / 8})
    with pytest.raises(ValueError, match="expected maps by the names of their learners, found list"):
        stack.fuse([first, second])  # pyright: ignore[reportArgumentType]


def test_maps_that_all_lie_upside_down_are_named(pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path):
    stack, new = pair
    words = [
        word
        for name, maps in new.items()
        for word in (
            "--maps",
            f"{name}={save_npy(tmp_path / name, {frame: each[::-1] for frame, each in maps.items()})}",
        )
    ]
    answer = call("meta", "fuse", stack, *words, "--out", tmp_path / "out")
    assert answer.status == 1
    assert "maps of first lie upside down, or those of the import did" in answer.err


def wall(camera: Intrinsics, size: tuple[int, int], distance: float) -> np.ndarray:
    """The photograph of a wall with tiles of half a metre that a camera looks at straight on, from so many metres."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    x, y = (columns - camera.cx) / camera.fx * distance, (rows - camera.cy) / camera.fy * distance
    tiles = (np.floor(x / 0.5) + np.floor(y / 0.5)).astype(int)
    colours = np.random.default_rng(3).integers(40, 220, (7, 3), dtype=np.uint8)
    return colours[tiles % 7]


def test_what_looks_the_same_is_as_far_as_the_focal_length_is_long(stack: DepthStack):
    """A wall at 2 m looks through a lens as one at 4 m through a lens twice as long: no network can tell them apart."""
    size, focal, nyu = (48, 64), stack.header.focal, COLOUR.resized((480, 640), (48, 64))
    assert focal == pytest.approx(math.sqrt(nyu.fx * nyu.fy))
    for times in (0.5, 1.0, 2.0, 4.0):
        of_training = Intrinsics(nyu.focal, nyu.focal, 31.4, 23.4)
        camera = Intrinsics(times * nyu.focal, times * nyu.focal, 31.4, 23.4)
        near, far = wall(of_training, size, 2), wall(camera, size, 2 * times)
        assert len(np.unique(near)) > 3
        np.testing.assert_array_equal(near, far)
        plain, told = stack(near), stack(far, fov=math.degrees(2 * math.atan(32 / camera.fx)))
        assert plain.error is not None
        assert told.error is not None
        np.testing.assert_allclose(told.depth, times * plain.depth, rtol=1e-5)
        np.testing.assert_allclose(told.error, times * plain.error, rtol=1e-5)
        np.testing.assert_allclose(told.learners["bts"], times * plain.learners["bts"], rtol=1e-5)
        np.testing.assert_array_equal(told.weights, plain.weights)


def test_the_field_of_view_counts_at_every_size_and_shape(stack: DepthStack):
    """What matters is the focal length in pixels of what the networks see, whatever is padded or turned."""
    assert stack.header.focal is not None
    for whole, seen_width in (((480, 640), 64), ((96, 128), 64), ((640, 480), 48), ((480, 1920), 192)):
        image = np.random.default_rng(1).integers(0, 256, (*whole, 3), dtype=np.uint8)
        ratio = seen_width / 2 / math.tan(math.radians(40)) / stack.header.focal
        np.testing.assert_allclose(stack(image, fov=80).depth, ratio * stack(image).depth, rtol=1e-5)
    streamed = [each.depth for each in stack.stream([PIXELS], fov=80)]
    np.testing.assert_array_equal(streamed[0], stack(PIXELS, fov=80).depth)
    batch, ratio = torch.rand(2, 3, 48, 64), stack.focal_ratio((48, 64), 30)
    np.testing.assert_allclose(stack(batch, fov=30).depth, ratio * stack(batch).depth, rtol=1e-5)
    squeezed = stack(PIXELS, size=(48, 32), fov=80).depth / stack(PIXELS, size=(48, 32)).depth
    np.testing.assert_allclose(squeezed, stack.focal_ratio((48, 64), 80) * math.sqrt(0.5), rtol=1e-5)
    for fov in (0, 180, math.nan):
        with pytest.raises(ValueError, match="expected more than 0 and less than 180"):
            stack(PIXELS, fov=fov)


def test_a_field_of_view_wants_the_camera_of_the_training(stack: DepthStack):
    unknown = DepthStack(stack.network, stack.header.model_copy(update={"focal": None}))
    unknown(PIXELS)
    with pytest.raises(ValueError, match=r"not known, so a field of view says nothing.*\nRun: .* save meta-rgb\+d"):
        unknown(PIXELS, fov=60)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (("first", "third"), "found maps of first, third, expected those of first, second\n"),
        (("first", "secnd"), "expected those of first, second; did you mean second by secnd?"),
        (("first", "second", "third"), "found maps of first, second, third, expected those of first, second\n"),
        (("first",), "found maps of first, expected those of first, second\n"),
    ],
)
def test_learners_of_maps_are_looked_at_before_their_files(
    pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path, named: tuple[str, ...], expected: str
):
    (tmp_path / "empty").mkdir()
    words = [word for name in named for word in ("--maps", f"{name}={tmp_path}/empty")]
    answer = call("meta", "fuse", pair[0], *words, "--out", tmp_path / "out")
    assert answer.status == 2
    assert expected in answer.err
    assert "empty" not in answer.err


def test_learners_of_maps_of_networks_of_ours_are_looked_at_first(job: Job, tmp_path: Path):
    words = ("--maps", f"a={save_npy(tmp_path / 'a', {'x': np.ones((48, 64), np.float32)})}", "--out", tmp_path / "out")
    answer = call("meta", "fuse", "meta-d", *words, "--cache-dir", job.cache)
    assert answer.status == 2
    told = "found maps of a, expected those of adabins, bts, ldrn; with an image (--images DIR) adabins, bts, ldrn need"
    assert f"{told} none" in answer.err


def test_what_was_fused_is_fused_again(pair: tuple[Path, dict[str, dict[str, np.ndarray]]], tmp_path: Path):
    """The folder holds expected errors and weights as well, which are no frames."""
    stack, new = pair
    first, second = (f"{name}={save_npy(tmp_path / name, maps)}" for name, maps in new.items())
    done("meta", "fuse", stack, "--maps", first, "--maps", second, "--out", tmp_path / "out")
    answer = done("meta", "fuse", stack, "--maps", f"first={tmp_path}/out", "--maps", second, "--out", tmp_path / "b")
    count = len(new["first"])
    assert answer.err.count("called NAME_depth, which count as those of NAME") == 1
    assert f"{tmp_path}/out: {2 * count} files are called as what is written beside NAME_depth" in answer.err
    assert f"{count} frames fused" in answer.err
    assert (tmp_path / "b" / f"{next(iter(new['first']))}_depth.npy").is_file()
