"""Evaluation protocols of published work, to score cached rows as they did; ``docs/protocols.md`` compares them.

No torch here: the command lines check names before they import it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from ensemble.metrics.kitti import KB
from ensemble.settings.schema import DataSettings, ImageSize, Settings

Crop = Literal["eigen", "none", "densedepth", "fastdepth", "garg", "garg-kb", "eigen-kitti"]
Averaging = Literal["image", "pixel"]
Pixels = Literal["range", "measured"]
Divisor = Literal["truth", "prediction"]
Scaling = Literal["none", "median"]
Truth = Literal["measured", "in-filled", "annotated", "projected"]
"""Of NYU Depth v2 the first two, of KITTI the others: accumulated over 11 scans, or one scan."""
OwnSize = Literal["each frame's own"]
OWN_SIZE: OwnSize = "each frame's own"
NYU_FRAME = (480, 640)
"""Height and width of the frames that protocols for NYU Depth v2 are defined on."""

OURS = "ours"
"""Name of the protocol that ``scores.json`` is made under."""

ALL = "all"
"""In place of names: every protocol for the kind of data that is scored."""


class PublishedProtocol(Settings):
    """How a published repository scores depth.

    Attributes:
        source: Repository, file and commit that was read.
        remembered: What could not be read there, and so is from memory or from other repositories; empty for nothing.
        data: Which data set it is defined for.
        crop: As in ``EvalProtocol``, like the next seven.
        flip_averaging: Likewise, but cached rows were made with it or without, and a protocol never changes that: it is
            noted beside the scores.
        truth: Which depth of the data set is the truth.
        frame: Height and width of the frames that it is defined on; absent where these differ, or rows are cut alike.
        kb_cropped: Whether networks see the KB crop alone, for KITTI.
        beyond: What scores from cached rows cannot follow.
    """

    source: str
    remembered: str = ""
    data: Literal["nyu", "kitti"] = "nyu"
    crop: Crop
    min_depth: Annotated[float, Field(gt=0)] = 1e-3
    max_depth: Annotated[float, Field(gt=0)] = 10.0
    pixels: Pixels = "range"
    clip: bool = True
    averaging: Averaging = "image"
    relative_to: Divisor = "truth"
    scaling: Scaling = "none"
    flip_averaging: bool
    truth: Truth
    frame: ImageSize | None = NYU_FRAME
    kb_cropped: bool = False
    beyond: tuple[str, ...] = ()

    def departures(self, data: DataSettings, size: ImageSize | OwnSize, *, flip_averaging: bool) -> tuple[str, ...]:
        """Where scores are made otherwise than in the publication.

        Args:
            data: That are scored.
            size: Of the truth that they are scored at.
            flip_averaging: Whether their rows were made with it.
        """
        departures = []
        if self.data != _data_of(data):
            departures.append(f"defined for {_TITLES[self.data]}, scored here on {data.facts.title}")
        if self.flip_averaging != flip_averaging:
            published, here = ("with", "without") if self.flip_averaging else ("without", "with")
            departures.append(f"published {published} flip averaging, these rows were made {here} it")
        if self.truth != truth_of(data):
            departures.append(f"published on {self.truth} depth; scored here on the depth that the test frames have")
        if self.frame is not None and size != self.frame:
            here = "the size of each frame" if size == OWN_SIZE else "{}x{}".format(*size)
            departures.append("defined for frames of {}x{}, scaled to {}".format(*self.frame, here))
        if self.data == _data_of(data) == "kitti":
            departures += self._seen_otherwise(data)
        return (*departures, *self.beyond)

    def _seen_otherwise(self, data: DataSettings) -> list[str]:
        """Where networks see other parts of KITTI's frames, or other pixels of them."""
        departures = []
        if self.kb_cropped != (data.kitti.crop == "kb"):
            there, here = ("the KB crop", "whole frames") if self.kb_cropped else ("whole frames", "the KB crop")
            departures.append(f"networks see {there} there; these rows are of {here}")
        if self.kb_cropped and data.size != KB:
            departures.append("networks see all {}x{} pixels there; these rows have {}x{}".format(*KB, *data.size))
        return departures


_TITLES = {"nyu": "NYU Depth v2", "kitti": "KITTI"}


def _data_of(data: DataSettings) -> str:
    """The data set whose protocols data are scored under: KITTI's where its reader reads them, else NYU Depth v2's."""
    return "kitti" if data.reader == "kitti" else "nyu"


def truth_of(data: DataSettings) -> Truth:
    """Which depth the frames of data have."""
    if data.reader == "kitti":
        return "annotated" if data.kitti.depth == "annotated" else "projected"
    return "in-filled" if data.infilled else "measured"


def chosen_protocols(names: Sequence[str], data: DataSettings) -> tuple[str, ...]:
    """The protocols that these names stand for; with ``all``, those of the kind of data."""
    own = [name for name, each in PROTOCOLS.items() if each.data == _data_of(data)]
    return tuple(dict.fromkeys(name for word in names for name in (own if word == ALL else [word])))


PROTOCOLS: Mapping[str, PublishedProtocol] = {
    "bts": PublishedProtocol(
        source="github.com/cleinc/bts, utils/eval_with_pngs.py at 118a9daf with the options in pytorch/README.md, "
        "pytorch/bts_eval.py at 094fe243",
        crop="eigen",
        flip_averaging=False,
        truth="measured",
        beyond=(
            "predictions are stored in whole millimetres there, here in 1/65535 of the depth range",
            "infinite predictions become 10 m there; here they are refused",
        ),
    ),
    "adabins": PublishedProtocol(
        source="github.com/shariqfarooq123/AdaBins, evaluate.py and args_test_nyu.txt at 3db726c0",
        remembered="that the network sees whole test images (dataloader.py was not to be had)",
        crop="eigen",
        flip_averaging=True,
        truth="measured",
        beyond=(
            "the predictions of the image and of its mirror are clipped before they are averaged there, here after",
            "predictions of half the size are enlarged with corners aligned there; here rows of the working size are "
            "enlarged without",
            "NaN and infinite predictions become 0.001 and 10 m there; here they are refused",
        ),
    ),
    "lapdepth": PublishedProtocol(
        source="github.com/tjqansthd/LapDepth-release, calculate_error.py, trainer.py and datasets/datasets_list.py "
        "at 9f38cc0f",
        remembered="that its AverageMeter gives every batch the same weight (logger.py was not to be had)",
        crop="eigen",
        flip_averaging=True,
        truth="measured",
        beyond=(
            "the network sees rows 42:474 and columns 40:616 of a test image there, here all of it",
            "scores are averaged over batches of 24 there, so that the 6 images of the last one of 654 weigh four "
            "times as much; here every image weighs the same",
        ),
    ),
    "densedepth": PublishedProtocol(
        source="github.com/ialhashim/DenseDepth, utils.py at 5433d3e6 (evaluate, compute_errors) and evaluate.py at "
        "856be820",
        remembered="the crop, 20 to 459 and 24 to 615 with both ends: it stands in eigen_test_crop.npy of "
        "nyu_test.zip, which was not to be had; repositories that build on this one write these numbers",
        crop="densedepth",
        min_depth=0.1,
        pixels="measured",
        averaging="pixel",
        relative_to="prediction",
        flip_averaging=True,
        truth="in-filled",
        beyond=(
            "the two predictions of half the size are clipped before they are enlarged and averaged there, here after",
            "evaluate.py drops frames that fill no batch (2 of 654 at its batch size of 4); here all are scored",
            "Tensorflow/evaluate.py of the same repository averages over images and divides by the truth",
        ),
    ),
    "fastdepth": PublishedProtocol(
        source="github.com/dwofk/fast-depth, metrics.py, main.py and dataloaders/{nyu,transforms}.py at 83eeed5f",
        remembered="how scipy.misc.imresize rounds sizes (down) and which pixels its nearest takes (by centres)",
        crop="fastdepth",
        pixels="measured",
        clip=False,
        flip_averaging=False,
        truth="in-filled",
        beyond=(
            "the network sees the image of 224x224 pixels there; here rows of the whole frame are sampled at them",
            "pixels count there where truth or prediction is positive, also without a truth; here where it is measured",
            "RMSE in millimetres there, in metres here",
        ),
    ),
    "kitti-bts": PublishedProtocol(
        source="github.com/cleinc/bts, pytorch/bts_eval.py; DPT is scored alike",
        data="kitti",
        crop="garg",
        max_depth=80.0,
        flip_averaging=False,
        truth="annotated",
        frame=None,
        kb_cropped=True,
        beyond=(
            "predictions are put back into a frame of zeros there; here what is scored of the whole frame is scored, "
            "which lies inside of the KB crop at every size",
            "predictions are stored in steps of 1/256 m there, here in 1/65535 of the depth range",
        ),
    ),
    "kitti-adabins": PublishedProtocol(
        source="github.com/shariqfarooq123/AdaBins, evaluate.py; ZoeDepth scores alike",
        data="kitti",
        crop="garg-kb",
        max_depth=80.0,
        flip_averaging=True,
        truth="annotated",
        frame=None,
        kb_cropped=True,
        beyond=(
            "the Garg crop is taken of the KB crop there and here: 3.6 to 5.3 % of the pixels that kitti-bts scores, "
            "far ones, are left out, so that these rows and those do not compare",
            "predictions of half the size are enlarged with corners aligned there; here rows of the working size are "
            "enlarged without",
            "NaN and infinite predictions become 0.001 and 80 m there; here they are refused",
        ),
    ),
    "kitti-monodepth2": PublishedProtocol(
        source="github.com/nianticlabs/monodepth2, evaluate_depth.py and export_gt_depth.py",
        data="kitti",
        crop="garg",
        max_depth=80.0,
        scaling="median",
        flip_averaging=False,
        truth="projected",
        frame=None,
        beyond=(
            "every prediction is multiplied by the ratio of the median truth to its own median, there and here: the "
            "scale of an image is not scored, so that these rows and others do not compare",
            "inverse depth is resized to the truth there, here depth is",
            "the truth is the scan's own forward distance there, 0.27 m more than depth along the axis of the camera, "
            "which is the truth here",
        ),
    ),
}
"""By the name that ``--protocol`` takes."""
