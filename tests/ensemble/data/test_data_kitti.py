"""KITTI: layouts, lists, depth of both kinds, what is missing, and what bad copies are told."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import kitti_miniatures as mini
import numpy as np
import pytest
from command_lines import call
from PIL import Image

from ensemble.data import open_source
from ensemble.data.kitti.calibration import project_scan
from ensemble.data.kitti.listing import list_kitti
from ensemble.data.loaders import FrameDataset
from ensemble.data.source import Frame
from ensemble.data.splits import training_frames
from ensemble.settings.schema import DataSettings, KittiSettings

DEPTH = "proj_depth/groundtruth/image_02"
FIRST = mini.TRAIN[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BTS' layout with everything that it names."""
    return mini.write_kitti(tmp_path_factory.mktemp("kitti"))


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """The same, to be damaged; images are links."""
    shutil.copytree(whole, tmp_path / "kitti", copy_function=lambda src, dst: Path(dst).hardlink_to(src))
    return tmp_path / "kitti"


def settings(root: Path, **kitti: str) -> DataSettings:
    return DataSettings(kind="kitti", root=root, kitti=KittiSettings(**kitti))


def refused(root: Path, **kitti: str) -> str:
    with pytest.raises(ValueError, match=r"Run: python -m ensemble\.data doctor") as error:
        open_source(settings(root, **kitti))
    return str(error.value)


def replaced(path: Path, pixels: np.ndarray) -> None:
    path.unlink()
    Image.fromarray(pixels).save(path)


def depth_file(root: Path, drive: str = FIRST, split: str = "train") -> Path:
    return root / "data_depth_annotated" / split / drive / DEPTH / "0000000005.png"


@pytest.mark.parametrize("date", mini.SIZES)
def test_frames_of_every_date_are_the_kb_crop_with_its_camera(whole: Path, date: str):
    source = open_source(settings(whole))
    frame = next(frame for frame in source.frames if frame.scene.startswith(date))
    raw, (height, width) = source.read(frame), mini.SIZES[date]
    top, left = height - 352, (width - 1216) // 2
    assert raw.image.shape == (352, 1216, 3)
    assert raw.window == (top, left, (height, width))
    assert raw.intrinsics is not None
    assert (raw.intrinsics.fx, raw.intrinsics.cx, raw.intrinsics.cy) == pytest.approx(
        (mini.FOCAL[date], mini.CENTRE[0] - left, mini.CENTRE[1] - top)
    )
    np.testing.assert_array_equal(raw.image[:, :, 0], np.tile(np.arange(top, height)[:, None] % 256, (1, 1216)))
    expected = mini.sparse_depth((height, width))[top:, left : left + 1216]
    np.testing.assert_array_equal(raw.depth, expected.astype(np.float32))
    np.testing.assert_array_equal(raw.valid, expected > 0)
    np.testing.assert_array_equal(source.read_image(frame), raw.image)


def test_lists_choose_frames_and_scenes_are_drives(whole: Path):
    source = open_source(settings(whole))
    splits = Counter(frame.split for frame in source.frames)
    assert splits == {"train": 2 * len(mini.TRAIN), "test": 2}
    assert Frame(f"{FIRST}/image_02/0000000005", FIRST, "train") in source.frames
    assert {frame.scene for frame in source.frames} == {*mini.TRAIN, mini.TEST}


def test_listed_frames_that_never_had_depth_are_left_out_and_counted(whole: Path):
    listing = list_kitti(whole, KittiSettings())
    assert listing.without_depth == {"train": {"2011_09_26_drive_0079_sync": 1}, "test": {mini.TEST: 1}}
    assert not listing.problems


def test_other_missing_depth_is_refused_by_name(copy: Path):
    gone = depth_file(copy, mini.TRAIN[2])
    gone.unlink()
    mini.write_image(copy / "2011_09_28" / mini.TRAIN[2] / "image_02/data/0000000020.png", (370, 1224))
    said = refused(copy)
    assert f"missing files: 1 (first: {mini.TRAIN[2]}/{DEPTH}/0000000005.png" in said
    assert "eigen_train_files_with_gt.txt:5" in said


def test_missing_images_are_refused_by_name(copy: Path):
    (copy / "2011_09_26" / FIRST / "image_02/data/0000000006.png").unlink()
    assert f"{FIRST}/image_02/data/0000000006.png" in refused(copy)


def test_merged_depth_gives_the_same_frames(whole: Path, copy: Path):
    base = copy / "data_depth_annotated"
    for drive in (*(base / "train").iterdir(), *(base / "val").iterdir()):
        drive.rename(base / drive.name)
    (base / "train").rmdir()
    (base / "val").rmdir()
    merged, apart = open_source(settings(copy)), open_source(settings(whole))
    assert merged.frames == apart.frames
    assert merged.describe(merged.frames) == apart.describe(apart.frames)


def test_merged_and_unmerged_folders_together_are_refused(copy: Path):
    base, whole_frames = copy / "data_depth_annotated", open_source(settings(copy)).frames
    (base / "train" / FIRST).rename(base / FIRST)
    said = refused(copy)
    assert "1 drives stand beside train and val" in said
    assert f"first: {FIRST}" in said
    drive = base / "train" / FIRST
    shutil.copytree(base / FIRST, drive)  # in both places
    command = re.search("Run: (.*done)", said)
    assert command is not None
    subprocess.run(["sh", "-c", command[1]], check=True)
    assert sorted(path.name for path in base.iterdir()) == sorted((*mini.TRAIN, mini.TEST))
    assert len(open_source(settings(copy)).frames) == len(whole_frames)


def test_monodepth2_lists_have_their_own_columns(copy: Path):
    date = FIRST[:10]
    lists = copy / "splits" / "eigen_full"
    mini.write_list(
        lists / "train_files.txt",
        [f"{date}/{FIRST} 5 l", f"{date}/{FIRST} 0000000006 r", f"{date}/{mini.TRAIN[1]} 5 l"],
    )
    mini.write_list(lists / "val_files.txt", [f"{date}/{mini.TRAIN[1]} 6 l"])
    named = {"training": "splits/eigen_full/train_files.txt", "test": "eigen_test_files_with_gt.txt"}
    source = open_source(settings(copy, **named))
    train = {frame.id for frame in source.frames if frame.split == "train"}
    assert train == {
        f"{FIRST}/image_02/0000000005",
        f"{FIRST}/image_03/0000000006",
        f"{mini.TRAIN[1]}/image_02/0000000005",
    }
    with pytest.raises(ValueError, match="1 scene is in the training and in the validation split"):
        training_frames(
            open_source(settings(copy, **named, validation="splits/eigen_full/val_files.txt")), settings(copy)
        )


def test_monodepth2_lists_are_found_in_its_own_folders(copy: Path):
    date = FIRST[:10]
    for name in ("train", "test"):
        (copy / f"eigen_{name}_files_with_gt.txt").unlink()
    mini.write_list(copy / "splits" / "eigen_full" / "train_files.txt", [f"{date}/{FIRST} 5 l"])
    mini.write_list(copy / "splits" / "eigen_zhou" / "train_files.txt", [f"{date}/{FIRST} 6 l"])
    mini.write_list(copy / "splits" / "eigen" / "test_files.txt", [f"{mini.TEST[:10]}/{mini.TEST} 5 l"])
    listing = list_kitti(copy, KittiSettings())
    assert listing.lists == {
        "train": copy / "splits/eigen_zhou/train_files.txt",
        "test": copy / "splits/eigen/test_files.txt",
    }
    assert [entry.frame.id for entry in listing.entries] == [
        f"{FIRST}/image_02/0000000006",
        f"{mini.TEST}/image_02/0000000005",
    ]


def test_the_doctor_counts_beside_published_ones_where_there_is_a_list(copy: Path):
    for name in ("train", "test"):
        (copy / f"eigen_{name}_files_with_gt.txt").unlink()
    answer = call("data", "doctor", copy, "--data", "kitti")
    assert answer.status == 0, answer.out + answer.err
    assert "of 23158" not in answer.out
    assert "of 697" not in answer.out


def test_the_doctor_names_scans_and_the_kind_of_data(copy: Path):
    shutil.rmtree(copy / "data_depth_annotated")
    for name in ("train", "test"):
        (copy / f"eigen_{name}_files_with_gt.txt").unlink()
    answer = call("data", "doctor", copy, "--data", "kitti")
    assert answer.status == 1
    assert "or read the scans that are there: --set data.kitti.depth=velodyne" in answer.out + answer.err
    assert "Drives of KITTI: add --data kitti" in call("data", "doctor", copy).out


def test_a_validation_list_of_the_same_drives_is_left_out_where_nobody_named_it(copy: Path):
    mini.write_list(copy / "val_files.txt", [f"2011_09_26/{FIRST} 5 l"])
    listing = list_kitti(copy, KittiSettings())
    assert {entry.frame.split for entry in listing.entries} == {"train", "test"}
    assert "1 of its 1 drives are trained on" in listing.notes[0]


def test_hidden_files_are_no_frames(copy: Path):
    for path in copy.glob("*.txt"):
        path.unlink()
    before = [frame.id for frame in open_source(settings(copy)).frames]
    for path in [*copy.rglob("*.png"), *copy.rglob("*.jpg"), *copy.rglob("*.bin")]:
        (path.parent / f"._{path.name}").write_bytes(b"")
    assert [frame.id for frame in open_source(settings(copy)).frames] == before


def test_without_lists_all_annotated_frames_are_used(copy: Path):
    for name in ("train", "test"):
        (copy / f"eigen_{name}_files_with_gt.txt").unlink()
    frames = open_source(settings(copy)).frames
    assert Counter(frame.split for frame in frames) == {"train": 20, "validation": 2}
    assert {frame.scene for frame in frames if frame.split == "validation"} == {mini.TEST}


def test_scans_are_projected_with_the_nearest_point_of_a_pixel(whole: Path):
    source = open_source(settings(whole, depth="velodyne"))
    frame = next(frame for frame in source.frames if frame.scene == FIRST)
    raw = source.read(frame)
    assert raw.valid.sum() == 1000
    np.testing.assert_allclose(raw.depth[raw.valid], 10.0, rtol=1e-5)
    rows, columns = np.nonzero(raw.valid)
    assert raw.window is not None
    focal, (cx, cy) = mini.FOCAL["2011_09_26"], mini.CENTRE
    assert columns.min() == round(focal * -0.5 + cx) - 1 - raw.window.left
    assert rows.max() == round(focal * 0.15 + cy) - 1 - raw.window.top
    assert source.describe([frame]) != open_source(settings(whole)).describe([frame])


def test_reflectance_is_no_coordinate_and_points_behind_are_not_seen():
    matrix = np.array([[10.0, 0, 20, 0], [0, 10, 20, 0], [0, 0, 1, 0]]) @ np.array(
        [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0.5], [0, 0, 0, 1]]
    )
    points = np.array([[4.5, 0, 0, 0.9], [9.5, 0, 0, 0.1], [-7, 0, 0, 1], [4.5, 100, 0, 0]], np.float32)
    depth = project_scan(points, matrix, (40, 40))
    assert depth[19, 19] == 5
    assert (depth > 0).sum() == 1
    assert not project_scan(points[:0], matrix, (40, 40)).any()


def test_the_validation_selection_is_a_source_and_a_test_split(copy: Path, tmp_path: Path):
    alone = mini.write_selection(tmp_path / "alone", mini.TRAIN[:3])
    frames = open_source(settings(alone)).frames
    assert len(frames) == 6
    raw = open_source(settings(alone)).read(frames[0])
    assert (raw.image.shape, raw.window) == ((352, 1216, 3), None)
    assert raw.intrinsics is not None
    assert raw.intrinsics.fx == mini.FOCAL["2011_09_26"]
    other = "2011_09_26_drive_0002_sync"
    shutil.move(
        mini.write_selection(tmp_path / "more", ("2011_10_03_drive_0042_sync", other)) / "val_selection_cropped", copy
    )
    source = open_source(settings(copy, test="val_selection_cropped"))
    assert Counter(frame.split for frame in source.frames)["test"] == 4
    with pytest.raises(ValueError, match=f"1 scene is in the training and in the test split .first: {other}"):
        training_frames(source, settings(copy))


def test_frames_of_all_dates_work_in_one_batch(whole: Path):
    data = settings(whole).model_copy(update={"crop": (352, 704)})
    source = open_source(data)
    batch = FrameDataset(source, source.frames, data)[[(index, 7 + index) for index in range(0, 20, 4)]]
    assert batch["image"].shape == (5, 3, 352, 704)
    metres = set(np.unique(mini.sparse_depth((376, 1242)).astype(np.float32)).tolist())
    found = set(batch["depth"][batch["valid"]].unique().tolist())
    assert found
    assert (
        found
        <= {
            float(each)
            for date in mini.SIZES.values()
            for each in np.unique(mini.sparse_depth(date).astype(np.float32))
        }
        | metres
    )


def test_whole_frames_are_read_where_no_crop_is_asked_for(whole: Path):
    data = settings(whole, crop="none")
    raw = open_source(data).read(open_source(data).frames[0])
    assert (raw.image.shape, raw.window) == ((375, 1242, 3), None)


def test_eight_bit_copies_are_refused(copy: Path):
    path = depth_file(copy)
    metres = mini.sparse_depth((375, 1242))
    replaced(path, metres.astype(np.uint8))
    assert f"{path}: found an image of mode 'L', expected 16 bits" in refused(copy)
    replaced(path, metres.astype(np.uint16))
    assert f"{path}: found values of at most 66, expected metres times 256" in refused(copy)
    replaced(path, metres.astype(np.uint16) * 256)
    assert f"{path}: found whole metres alone, expected metres times 256" in refused(copy)


def test_truth_of_another_size_is_refused(copy: Path):
    path = depth_file(copy)
    replaced(path, (mini.sparse_depth((376, 1241)) * 256).astype(np.uint16))
    assert f"{path}: found depth of 376x1241, expected the size of its image, 375x1242" in refused(copy)


def test_truth_of_zeros_is_refused(copy: Path):
    path = depth_file(copy)
    replaced(path, np.zeros((375, 1242), np.uint16))
    assert f"{path}: none of 465750 pixels is measured, expected some above 0" in refused(copy)


def test_missing_calibration_stops_scans_and_takes_the_camera_from_frames(copy: Path):
    path = copy / "2011_09_26" / "calib_cam_to_cam.txt"
    path.unlink()
    source = open_source(settings(copy))
    assert source.read(source.frames[0]).intrinsics is None
    said = refused(copy, depth="velodyne")
    assert f"{path}: there is no calibration, expected that of its date" in said
    assert "2011_09_26_calib.zip" in said


def test_damaged_calibration_is_refused(copy: Path):
    path = copy / "2011_09_26" / "calib_cam_to_cam.txt"
    text = path.read_text().replace(" 0 0 0 1 0", "")
    path.unlink()
    path.write_text(text)
    assert f"{path}: P_rect_02: found 7 numbers, expected 12" in refused(copy)


def test_lists_with_dates_for_a_tree_without_are_refused(tmp_path: Path):
    mini.write_raw(tmp_path, (FIRST,), dated=False, frames=(5,))
    mini.write_annotated(tmp_path / "data_depth_annotated" / "train", (FIRST,), frames=(5,))
    list_file = mini.write_list(tmp_path / "eigen_train_files_with_gt.txt", [mini.bts_line(FIRST, 5)])
    said = refused(tmp_path)
    assert f"{list_file}:1: names 2011_09_26/{FIRST}, found {tmp_path / FIRST} in no folder of its date" in said
    assert "Run: cd " in said


def test_strange_lines_and_lists_that_are_not_there_are_named(copy: Path):
    path = copy / "mine.txt"
    mini.write_list(path, [mini.bts_line(FIRST, 5), "kitchen_0028/rgb_00045.jpg kitchen_0028/sync_depth_00045.png 518"])
    assert f"{path}:2: found 'kitchen_0028/rgb_00045.jpg" in refused(copy, training="mine.txt")
    assert f"{copy / 'other.txt'}: there is no such list" in refused(copy, test="other.txt")


def test_a_folder_without_kitti_says_what_it_holds(tmp_path: Path):
    (tmp_path / "sync").mkdir()
    assert "expected KITTI's raw images" in refused(tmp_path)
    with pytest.raises(ValueError, match=r"expected the folder of KITTI in data\.root"):
        open_source(DataSettings(kind="kitti"))


def test_the_doctor_says_layout_lists_gaps_and_sizes(whole: Path):
    answer = call("data", "doctor", whole, "--data", "kitti")
    assert answer.status == 0, answer.out + answer.err
    for said in (
        "annotated depth (train and val) in",
        "training frames by",
        "by drive: 2011_09_26_drive_0079_sync 1; 2011_09_26_drive_0079_sync is no longer part of the annotated depth",
        f"test: 1 listed frames never had annotated depth and are left out, by drive: {mini.TEST} 1",
        "2011_09_26 375x1242, 2011_09_28 370x1224, 2011_09_29 374x1238, 2011_09_30 370x1226, 2011_10_03 376x1241",
        f"python -m ensemble.base train adabins --data kitti --root {whole}",
    ):
        assert said in answer.out
    assert "18 of 23158" in answer.out


def test_the_doctor_counts_what_is_missing_by_drive(copy: Path):
    for number in mini.FRAMES:
        (copy / "2011_09_26" / FIRST / f"image_02/data/{number:010d}.png").unlink()
    (copy / "2011_09_28" / "calib_cam_to_cam.txt").unlink()
    answer = call("data", "doctor", copy, "--data", "kitti")
    assert answer.status == 1
    assert "missing files: 2" in answer.out
    assert f"missing files by drive: {FIRST} 2" in answer.out
    assert "no calib_cam_to_cam.txt of 2011_09_28" in answer.out


def test_the_doctor_names_tests_on_drives_of_training(copy: Path):
    listed = copy / "eigen_test_files_with_gt.txt"
    text = listed.read_text()
    listed.unlink()
    listed.write_text(f"{text}\n{mini.bts_line(FIRST, 5)}")
    answer = call("data", "doctor", copy, "--data", "kitti")
    assert answer.status == 1
    assert "scenes are drives, take those out of one of the lists" in answer.out
