"""Published protocols: what each of them counts, and the same rows under all of them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import Job, call, contents, done
from rich.console import Console
from torch import Tensor

from ensemble.data.source import Frame, RawFrame
from ensemble.evaluation.method_info import Description
from ensemble.evaluation.results.protocols import read_protocols
from ensemble.evaluation.results.scores import read_scores
from ensemble.evaluation.scoring import ScoreTable
from ensemble.metrics.formulas import image_scores
from ensemble.metrics.protocols import EvalProtocol, prepare, sample_grid
from ensemble.metrics.published import OWN_SIZE, PROTOCOLS
from ensemble.metrics.sums import PixelSums
from ensemble.report.tables.protocols import protocol_tables
from ensemble.settings.schema import DataSettings
from ensemble.tables.terminal import TerminalTable

NAMES = ("bts", "adabins", "lapdepth", "densedepth", "fastdepth")


def ours(**changes: object) -> EvalProtocol:
    arguments: dict[str, object] = {
        "split": "test",
        "test": "official",
        "crop": "none",
        "min_depth": 1e-3,
        "max_depth": 10.0,
        "flip_averaging": True,
        "size": (480, 640),
    }
    return EvalProtocol.model_validate({**arguments, **changes})


def raw_frame(depth: np.ndarray) -> RawFrame:
    image = np.zeros((*depth.shape, 3), dtype=np.uint8)
    return RawFrame(image, depth.astype(np.float32), depth > 0)


def table_scores(protocol: EvalProtocol, *pairs: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Scores of (predicted, truth) maps under a protocol."""
    table = ScoreTable(protocol, per_image=False)
    for number, (predicted, truth) in enumerate(pairs):
        depth = torch.from_numpy(predicted.astype(np.float32))[None, None]
        table.add(Frame(f"room/{number}", "room", "test"), raw_frame(truth), {("bts", 0): depth})
    (row,) = table.rows({"bts": Description("learner", "BTS")})
    return row.scores


def whole(value: float) -> np.ndarray:
    return np.full((480, 640), value)


def counted(name: str, depth: Tensor | None = None) -> Tensor:
    target = torch.full((1, 1, 480, 640), 2.0) if depth is None else depth
    return prepare(target, target, target > 0, protocol=ours().under(PROTOCOLS[name])).valid


def test_names_are_those_of_the_issue() -> None:
    assert tuple(PROTOCOLS) == (*NAMES, "kitti-bts", "kitti-adabins", "kitti-monodepth2")
    with pytest.raises(ValueError, match="frozen"):
        PROTOCOLS["bts"].crop = "none"


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("bts", 238_560), ("adabins", 238_560), ("lapdepth", 238_560), ("densedepth", 440 * 592), ("fastdepth", 224**2)],
)
def test_pixels_of_a_frame_with_depth_everywhere(name: str, pixels: int) -> None:
    assert int(counted(name).sum()) == pixels


def test_corners_of_the_densedepth_crop() -> None:
    inside = counted("densedepth")[0, 0]
    assert inside[20, 24]
    assert inside[459, 615]
    for row, column in ((19, 24), (20, 23), (460, 615), (459, 616)):
        assert not inside[row, column]


def test_the_pixels_of_fastdepth() -> None:
    rows, columns = sample_grid((480, 640))
    assert rows.shape == columns.shape == (224,)
    # Row 0 of 224 is row 0 of 228, so 11 of 250, and 480 / 250 * 11.5 = 22.08. Column 0: 640 / 333 * 14.5 = 27.87.
    assert (rows[0], rows[-1]) == (22, 480 * (238 + 0.5) // 250)
    assert (columns[0], columns[-1]) == (27, 640 * (317 + 0.5) // 333)
    # Row 100 is 228 / 224 * 100.5 = 102.29 in the crop, 113 of 250, and 480 / 250 * 113.5 = 217.92.
    assert rows[100] == 217
    assert bool((rows.diff() > 0).all())
    assert bool((columns.diff() > 0).all())
    small_rows, small_columns = sample_grid((96, 128))
    assert (int(small_rows.min()), int(small_rows.max()), len(small_rows)) == (4, 91, 224)
    assert torch.equal(small_columns, columns // 5)


def test_prediction_and_truth_are_sampled_at_the_same_pixels() -> None:
    ramp = torch.arange(480.0 * 640).view(1, 1, 480, 640) + 1
    prepared = prepare(ramp, ramp, ramp > 0, protocol=ours().under(PROTOCOLS["fastdepth"]))
    assert prepared.predicted.shape == (1, 1, 224, 224)
    assert torch.equal(prepared.predicted, prepared.target)
    assert prepared.predicted[0, 0, 0, 0] == 22 * 640 + 27 + 1


@pytest.mark.parametrize(("name", "counts"), [("bts", 2), ("densedepth", 4), ("fastdepth", 4)])
def test_which_truth_counts(name: str, counts: int) -> None:
    rule = ours(size=(1, 6)).under(PROTOCOLS[name].model_copy(update={"crop": "none"}))
    target = torch.tensor([0.0, 5e-4, 0.05, 9.9, 10.0, -1.0]).view(1, 1, 1, 6)
    assert int(rule.mask(target, torch.ones_like(target, dtype=torch.bool)).sum()) == counts


def test_what_predictions_are_clipped_to() -> None:
    truth = torch.full((1, 1, 480, 640), 2.0)
    far, near = torch.full_like(truth, 12.0), torch.full_like(truth, 0.01)
    found = {
        name: [
            prepare(depth, truth, truth > 0, protocol=ours().under(rule)).predicted.unique().item()
            for depth in (far, near)
        ]
        for name, rule in PROTOCOLS.items()
    }
    assert found["bts"] == found["adabins"] == found["lapdepth"] == [10.0, pytest.approx(0.01)]
    assert found["densedepth"] == [10.0, pytest.approx(0.1)]
    assert found["fastdepth"] == [12.0, pytest.approx(0.01)]


def test_an_error_at_the_border_counts_only_where_the_border_does() -> None:
    truth = whole(2.0)
    between = whole(2.0)
    between[20:45] = 4.0  # inside the crops of DenseDepth and FastDepth, outside of Eigen's
    scores = {name: table_scores(ours().under(PROTOCOLS[name]), (between, truth)) for name in NAMES}
    for name in ("bts", "adabins", "lapdepth"):
        assert scores[name]["d1"] == 1.0
        assert scores[name]["rmse"] == 0.0
    assert scores["densedepth"]["d1"] == pytest.approx(1 - 25 / 440)
    assert scores["densedepth"]["rmse"] == pytest.approx(2 * (25 / 440) ** 0.5)
    rows, _ = sample_grid((480, 640))
    share = int((rows < 45).sum()) / 224
    assert 0 < share < 25 / 440
    assert scores["fastdepth"]["d1"] == pytest.approx(1 - share)
    assert scores["fastdepth"]["abs_rel"] == pytest.approx(share)


def test_densedepth_divides_by_the_prediction() -> None:
    scores = {name: table_scores(ours().under(PROTOCOLS[name]), (whole(4.0), whole(2.0))) for name in NAMES}
    assert [scores[name]["abs_rel"] for name in NAMES] == [1.0, 1.0, 1.0, 0.5, 1.0]
    assert [scores[name]["sq_rel"] for name in NAMES] == [2.0, 2.0, 2.0, 1.0, 2.0]
    assert {scores[name]["rmse"] for name in NAMES} == {2.0}
    assert [scores[name]["log10"] for name in NAMES] == [pytest.approx(0.30103, abs=1e-6)] * 5


def test_pooled_pixels_are_not_pooled_images() -> None:
    truth = np.array([[4.0, 4.0]]), np.array([[4.0, 0.0]])
    predicted = np.array([[5.0, 5.0]]), np.array([[4.0, 9.0]])
    pairs = list(zip(predicted, truth, strict=True))
    rules = {way: ours(size=(1, 2), averaging=way) for way in ("image", "pixel")}
    assert table_scores(rules["image"], *pairs)["rmse"] == 0.5
    assert table_scores(rules["pixel"], *pairs)["rmse"] == pytest.approx(0.8164966, rel=1e-6)
    assert table_scores(rules["image"], *pairs)["abs_rel"] == pytest.approx(0.125)
    assert table_scores(rules["pixel"], *pairs)["abs_rel"] == pytest.approx(0.25 * 2 / 3)


def test_pooled_scores_are_those_of_one_long_image() -> None:
    generator = torch.Generator().manual_seed(5)
    target = 0.5 + 9 * torch.rand(5, 1, 6, 7, generator=generator)
    predicted = target * (0.3 * torch.randn(target.shape, generator=generator)).exp()
    valid = torch.rand(target.shape, generator=generator) < torch.tensor([0.9, 0.1, 0.5, 0.0, 0.7]).view(5, 1, 1, 1)
    sums = PixelSums()
    for one in range(5):
        parts = [each[one : one + 1] for each in (predicted, target, valid)]
        pixels = int(parts[2].sum())
        ratio = (parts[0].double().log() - parts[1].double().log())[parts[2]].mean()
        scores = {name: float(value) for name, value in image_scores(*parts).items()}
        sums.update(scores, pixels=pixels, mean_log_ratio=float(ratio), clipped=2)
    together = image_scores(*(each.reshape(1, 1, 1, -1) for each in (predicted, target, valid)))
    found = sums.compute()
    assert {name: found[name] for name in together} == pytest.approx(
        {name: float(value) for name, value in together.items()}, rel=1e-9
    )
    assert (found["images"], found["images_without_valid"], found["clipped"]) == (4, 1, 10)


def test_no_pixel_has_no_mean() -> None:
    sums = PixelSums()
    sums.update({}, pixels=0, mean_log_ratio=float("nan"))
    with pytest.raises(ValueError, match="no mean over pixels: none was scored in 1 image;"):
        sums.compute()


def test_flip_averaging_is_told_never_changed() -> None:
    for flipped in (True, False):
        rows = ours(flip_averaging=flipped)
        for rule in PROTOCOLS.values():
            assert rows.under(rule).flip_averaging == flipped
            told = [each for each in rows.departures_from(rule, DataSettings(kind="nyu")) if "flip averaging" in each]
            assert len(told) == (rule.flip_averaging != flipped)
    told = ours().departures_from(PROTOCOLS["bts"], DataSettings(kind="nyu"))
    assert told[0] == "published without flip averaging, these rows were made with it"
    assert any(
        "published on in-filled depth" in each
        for each in ours().departures_from(PROTOCOLS["fastdepth"], DataSettings(kind="nyu"))
    )
    assert any(
        "480x640" in each for each in ours(size=(96, 128)).departures_from(PROTOCOLS["bts"], DataSettings(kind="nyu"))
    )


def test_a_protocol_of_ours_is_written_as_before() -> None:
    written = ours().model_dump(mode="json")
    keys = ["split", "test", "crop", "min_depth", "max_depth", "flip_averaging", "averaging", "size"]
    assert list(written) == keys
    assert EvalProtocol.model_validate(written) == ours()
    for rule in PROTOCOLS.values():
        applied = ours().under(rule)
        assert EvalProtocol.model_validate_json(applied.model_dump_json()) == applied


def test_the_size_stands_beside_scores_where_all_frames_share_it() -> None:
    table = ScoreTable(ours(size=OWN_SIZE), per_image=False)
    pairs = [(whole(2.5)[:rows, :columns], whole(2.0)[:rows, :columns]) for rows, columns in ((6, 8), (6, 8), (9, 5))]
    for number, ((predicted, truth), size) in enumerate(zip(pairs, ((6, 8), (6, 8), OWN_SIZE), strict=True)):
        depth = torch.from_numpy(predicted.astype(np.float32))[None, None]
        table.add(Frame(f"room/{number}", "room", "test"), raw_frame(truth), {("bts", 0): depth})
        assert table.protocol == ours(size=size)
    (row,) = table.rows({"bts": Description("learner", "BTS")})
    assert (row.images, row.scores["rmse"], row.scores["abs_rel"]) == (3, 0.5, 0.25)
    told = table.protocol.departures_from(PROTOCOLS["bts"], DataSettings(kind="nyu"))
    assert "defined for frames of 480x640, scaled to the size of each frame" in told


@pytest.fixture(scope="module")
def evaluated(job: Job, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the miniature job after an evaluation under every protocol, and what it printed as JSON."""
    cache = job.copy_to(tmp_path_factory.mktemp("protocols"))
    runs = ("meta-d", "meta-rgb", "tiny/meta-rgb+d")
    answer = done("meta", "evaluate", *runs, "--protocol", "all", "--json", "--cache-dir", cache)
    return cache, answer.out


def test_rows_of_the_default_are_those_without_protocols(job: Job, evaluated: tuple[Path, str]) -> None:
    cache, printed = evaluated
    folder, before = cache / "reports/tiny", job.cache / "reports/tiny"
    assert (folder / "per_image.csv").read_bytes() == (before / "per_image.csv").read_bytes()
    stored, wanted = (json.loads((each / "scores.json").read_text(encoding="utf-8")) for each in (folder, before))
    for row in (*stored["rows"], *wanted["rows"]):
        row.pop("frames_per_second")  # measured anew by every command
    assert stored == wanted
    assert not (before / "protocols.json").exists()
    found = read_protocols(folder / "protocols.json")
    assert tuple(found.protocols) == ("ours", *NAMES)
    assert found.protocols["ours"].scores == read_scores(folder / "scores.json")
    assert json.loads(printed) == json.loads((folder / "protocols.json").read_text(encoding="utf-8"))


def test_rows_under_every_protocol(evaluated: tuple[Path, str]) -> None:
    found = read_protocols(evaluated[0] / "reports/tiny/protocols.json").protocols
    rows = {name: {row.name: row.scores for row in each.scores.rows} for name, each in found.items()}
    assert rows["bts"] == rows["adabins"] == rows["lapdepth"]  # the same rules; they predict in other ways
    assert rows["bts"] != rows["ours"]
    assert len({rows[name]["mean"]["rmse"] for name in ("bts", "densedepth", "fastdepth")}) == 3
    assert {name: each.other_flip for name, each in found.items()} == {
        "ours": False,
        "bts": True,
        "adabins": False,
        "lapdepth": False,
        "densedepth": False,
        "fastdepth": True,
    }
    assert found["densedepth"].scores.protocol["averaging"] == "pixel"
    assert all(each.scores.rows[0].images == 4 for each in found.values())


def test_the_document(evaluated: tuple[Path, str]) -> None:
    text = (evaluated[0] / "reports/tiny/protocols.md").read_text(encoding="utf-8")
    assert "| ours | bts* | adabins | lapdepth | densedepth | fastdepth* |" in text
    assert "\\* published without flip averaging; the cached rows were made with it." in text
    assert "| averaging | image | image | image | image | pixel | image |" in text
    assert "bts, adabins, lapdepth score these rows by the same rules" in text
    for rule in map(PROTOCOLS.__getitem__, NAMES):
        assert rule.source in text
        assert rule.remembered in text


def test_the_tables_of_all_rows_fit_a_terminal(evaluated: tuple[Path, str]) -> None:
    page = Console(width=80, file=io.StringIO(), record=True)
    for table in protocol_tables(read_protocols(evaluated[0] / "reports/tiny/protocols.json")):
        page.print(TerminalTable(table))
    printed = page.export_text()
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    assert printed.count("oracle convex") == 3


def test_the_tables_fit_a_terminal(job: Job, tmp_path: Path) -> None:
    cache = job.copy_to(tmp_path)
    before = contents(cache / "predictions")
    words = ("base", "evaluate", "bts", "--experiment", "tiny", "--cache-dir", cache)
    printed = done(*words, "--protocol", "fastdepth, bts,densedepth,adabins,lapdepth").out
    assert max(map(len, printed.splitlines())) <= 80
    for word in ("d1 ↑", "REL ↓", "RMSE ↓", "depth*"):
        assert word in printed
    assert contents(cache / "predictions") == before  # no network ran again
    folder = cache / "runs/tiny/bts/full"
    assert tuple(read_protocols(folder / "protocols.json").protocols)[:3] == ("ours", "fastdepth", "bts")
    done(*words)
    assert not (folder / "protocols.json").exists()  # what is older than scores.json does not stay beside it
    assert not (folder / "protocols.md").exists()


@pytest.mark.parametrize("tool", [("meta", "meta-d"), ("base", "bts", "--experiment", "tiny")])
def test_an_unknown_name_is_answered_with_the_known_ones(job: Job, tool: tuple[str, ...]) -> None:
    answer = call(tool[0], "evaluate", *tool[1:], "--protocol", "bts,adabin", "--cache-dir", job.cache)
    assert answer.status == 2
    assert "unknown protocol 'adabin'; did you mean 'adabins'?" in " ".join(answer.err.split())
    assert (
        "Known: adabins, bts, densedepth, fastdepth, kitti-adabins, kitti-bts, kitti-monodepth2, lapdepth."
        in " ".join(answer.err.split())
    )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "protocols.json"
    path.write_text('{"schema": 1, "protocols": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"protocols\.json: .*expected the same rows under 'ours'.*Evaluate again"):
        read_protocols(path)
