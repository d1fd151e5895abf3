"""The short set: every table in a few minutes, with fewer repeats and smaller sizes where that keeps the ratios."""

import typer

from benchmarks import (
    allocator,
    caching,
    checking,
    composing,
    evaluate,
    growth,
    kitti_loading,
    loading,
    networks,
    page,
    serving,
    startup,
    studies,
    training,
    transformers,
)
from benchmarks.tables import only_show


def main() -> None:
    """Runs every benchmark shortly and shows the tables; docs/benchmarks.md holds those of the long runs."""
    only_show()
    startup.main(before=None, repeats=1)
    evaluate.main(before=None, cache=None, stacks="meta-d", repeats=1)
    composing.main(root=None, scenes=5, candidates=4)
    loading.main(root=None, scenes=4, repeats=3)
    kitti_loading.main(root=None, repeats=3)
    caching.main(predictions=None, frames=12, network_frames=1, repeats=2)
    checking.main(repeats=3)
    serving.main(before=None, stack=None, repeats=1)
    page.main(stack=None, repeats=3)
    growth.main(small=200, large=2000, repeats=1)
    studies.main(trials=2)
    allocator.main(learner="bts", repeats=1)
    training.main(before=None, repeats=1)
    transformers.main(repeats=1)
    networks.main(repeats=1, sizes="384x512", threads="1", compiled=False, fit_size=320)


if __name__ == "__main__":
    typer.run(main)
