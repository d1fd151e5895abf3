"""The model card of a saved stack: what it is, how it scored, what it was trained on, and where it ends."""

from ensemble.deploy.saved import Header
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.photographs.views import view_of_focal

_CARD = """---
library_name: stackdepth
pipeline_tag: depth-estimation
license: apache-2.0
tags: [monocular-depth-estimation, {tags}]
---

# {name}

Metres per pixel from one RGB image, with the error that is to be expected: {what}.

```python
import ensemble

stack = ensemble.load("FOLDER")  # from a hub: ensemble.deploy.door.DepthStack.from_pretrained
found = stack(image)  # NumPy [h w 3], a Pillow image, or a batch [b 3 h w]
found.depth, found.error, found.weights, found.learners
```

## Scores

{scores}

## Data

{data}

## Limits

Depth is learnt for scenes, cameras and a range ({least:g} to {most:g} m) such as those of the training; of others it
may be wrong by any factor.{camera} {error}. The short side of an image is seen at {side} pixels.

## Licence

The code of the package is under Apache-2.0. Weights follow from the data that they were trained on, whose terms
hold{began}.
"""


_KNOWN = {"nyu-small": "`nyu-small` comes with the package: ImageNet, then NYU Depth v2, a data set made for research"}
"""What is behind weights that have a name here."""

_OF_A_STACK = """The expected error, which is learnt from the learners' disagreement, does not know
of errors that all learners share"""
_ONE_ALONE = "One network alone tells no expected error"


def model_card(header: Header) -> str:
    """Markdown, with the fields that model hubs read on top."""
    settings = header.settings or next(iter(header.learners[0].models.values()))
    data, titles = settings.data, [learner.title for learner in header.learners]
    weighed = "" if header.settings is None else f", weighed per pixel by a U-Net that sees {header.settings.inputs}"
    return _CARD.format(
        name=header.name,
        tags=", ".join(learner.name for learner in header.learners),
        what=", ".join(titles) + weighed,
        scores=_scores(header),
        data=f"Trained on `{data.kind}` at {_sizes(header, data.size)}, test scenes: {data.test}.{_began(header)}",
        began=", and so do those of the weights that encoders began with" if header.began else "",
        least=data.min_depth,
        most=data.max_depth,
        side=min(data.size),
        camera=_camera(header, data.size),
        error=_ONE_ALONE if header.settings is None else _OF_A_STACK,
    )


def _began(header: Header) -> str:
    """What encoders had seen before the training."""
    if not header.began:
        return ""
    titles = {learner.name: learner.title for learner in header.learners}
    told = [f"{titles.get(name, name)} from `{weights}`" for name, weights in header.began.items()]
    known = [text for name, text in _KNOWN.items() if name in {*header.began.values()}]
    return f" Encoders began elsewhere: {', '.join(told)}{''.join(f' ({text})' for text in known)}."


def _sizes(header: Header, shared: tuple[int, int]) -> str:
    """The size of training, and what learners have of their own."""
    own = {learner.title: model.seen.size for learner in header.learners for model in learner.models.values()}
    told = [f"{title} at {size[0]}x{size[1]}" for title, size in own.items() if size != shared]
    return ", ".join([f"{shared[0]}x{shared[1]}", *told])


def _camera(header: Header, size: tuple[int, int]) -> str:
    if header.focal is None:
        return ""
    degrees = view_of_focal(header.focal, size[1])
    return f" The camera of the training saw {degrees:.0f} degrees across; of others say so with `fov=`."


def _scores(header: Header) -> str:
    if header.scores is None:
        return "It was not scored before it was saved."
    names = [METRICS[name].label for name in TABLE_METRICS]
    values = [f"{header.scores['scores'][name]:.4f}" for name in TABLE_METRICS]
    protocol = "; ".join(f"{key}: {value}" for key, value in header.scores["protocol"].items())
    grid = [f"| {' | '.join(cells)} |" for cells in (names, ["---:"] * len(names), values)]
    return "\n".join([*grid, "", f"{header.scores['images']} test images. {protocol}."])
