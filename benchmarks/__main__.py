"""The short set: every table in a few minutes, with fewer repeats and smaller sizes where that keeps the ratios."""

import typer

from benchmarks import allocator, caching, growth, loading, networks, startup


def main() -> None:
    """Runs every benchmark shortly."""
    startup.main(repeats=1)
    loading.main(root=None, scenes=4, repeats=3)
    caching.main(predictions=None, frames=12, network_frames=1, repeats=2)
    growth.main(small=500, large=2000)
    allocator.main(learner="bts", repeats=1)
    networks.main(repeats=1, height=480, width=640, compiled=False, fit_size=240)


if __name__ == "__main__":
    typer.run(main)
