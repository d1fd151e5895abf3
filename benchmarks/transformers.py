"""DPT and what its cuts save: time beside DPT-Hybrid, the decoder's share, memory of training, when Performers pay."""

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from base_learners.attention import favor_attention, orthogonal_features
from base_learners.dpt import DPT
from base_learners.encoders.build import build_encoder
from base_learners.encoders.pyramid import WITH_TRANSFORMER
from benchmarks.spent import REPOSITORY, Spent, spent
from benchmarks.tables import Table, Target, in_turn, millions, milliseconds, write_section

HYBRID = "vit_base_r50_s16_384"
SIZE = (192, 640)
VARIANTS = {
    "DPT-Hybrid": {},
    "hooks 2, 5": {"hooks": (2, 5)},
    "hooks 0, 1": {"hooks": (0, 1)},
    "hooks 0, 1, decoder 96 wide": {"hooks": (0, 1), "decoder_width": 96},
}
WHOLE, CUT = "DPT-Hybrid", "hooks 0, 1, decoder 96 wide"
TOKENS = {"192x640": 481, "352x1216": 1673, "480x1600": 3001, "640x1600": 4001}
STEP = """
import torch
from base_learners.dpt import DPT, dpt_loss
from base_learners.encoders.build import build_encoder
from base_learners.encoders.pyramid import WITH_TRANSFORMER
network = DPT(build_encoder("vit_base_r50_s16_384", needs=WITH_TRANSFORMER), hooks=(0, 1), decoder_width=96)
optimiser = torch.optim.AdamW(network.parameters())
for _ in range(2):
    target = torch.rand(BATCH, 1, 192, 640) + 1
    loss = sum(dpt_loss(network(torch.rand(BATCH, 3, 192, 640)), target, target > 0).values())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
"""
"""Two steps of training, because an optimiser has its moments from the second on."""


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Images of a step of training; the study had 1.")] = 1,
) -> None:
    """Measures the cuts of DPT and writes their section."""
    torch.set_num_threads(1)
    networks = {name: _network(**changes).eval() for name, changes in VARIANTS.items()}
    image = torch.rand(1, 3, *SIZE)
    counts = {name: _mul_adds(network, image) for name, network in networks.items()}
    with torch.inference_mode():
        tasks = {name: _calling(network, image) for name, network in networks.items()}
        seconds = in_turn(tasks, repeats=repeats, clock=time.process_time)
        layers = in_turn(_layers(), repeats=repeats, clock=time.process_time)
    faster = seconds[WHOLE] / seconds[CUT]
    whole, decoder = counts[CUT]
    memory = _memory(batch)
    crossing = _crossing(layers)
    write_section(
        "transformers",
        "DPT and its cuts",
        targets=[
            Target(f"{CUT}, against {WHOLE}, 192x640, batch 1", ">= 3x as fast", f"{faster:.2f}x", faster >= 3),
            Target(
                "decoder's share of its mul-adds (fusion and head)",
                "< 35 %",
                f"{decoder / whole:.1%}",
                decoder / whole < 0.35,
            ),
            Target(
                f"memory of training it at 192x640, batch {batch}",
                "< 6 GB",
                f"{memory.megabytes / 1e3:.2f} GB",
                memory.megabytes < 6e3,
            ),
            Target("tokens above which a Performer is faster, 12 heads of 64", "reported", crossing, None),
        ],
        parts=[
            "One image of 192x640, float32, one thread, processor time. Parameters as they are built, without "
            "those that published code builds and never reads:",
            Table(
                ("network", "M parameters", "G mul-adds", "of them decoder", "ms", "of DPT-Hybrid"),
                [
                    (
                        name,
                        millions(network),
                        f"{counts[name][0] / 1e9:.1f}",
                        f"{counts[name][1] / counts[name][0]:.0%}",
                        milliseconds(seconds[name]),
                        f"{seconds[WHOLE] / seconds[name]:.2f}x",
                    )
                    for name, network in networks.items()
                ],
            ),
            "One layer of attention without its projections, 12 heads of 64 channels, ms:",
            Table(
                ("tokens", "image at stride 16", "softmax", "Performer", "Performer / softmax"),
                [
                    (
                        str(count),
                        size,
                        milliseconds(layers[f"softmax {count}"]),
                        milliseconds(layers[f"performer {count}"]),
                        f"{layers[f'performer {count}'] / layers[f'softmax {count}']:.2f}",
                    )
                    for size, count in TOKENS.items()
                ],
            ),
        ],
    )


def _network(**changes: object) -> DPT:
    return DPT(build_encoder(HYBRID, needs=WITH_TRANSFORMER, arguments={"depth": 0}), max_depth=80.0, **changes)


def _calling(network: nn.Module, image: Tensor) -> Callable[[], object]:
    return lambda: network(image)


def _mul_adds(network: DPT, image: Tensor) -> tuple[int, int]:
    """Of everything, and of fusion and head."""
    with FlopCounterMode(display=False, depth=3) as counter, torch.inference_mode():
        copy.deepcopy(network).to("meta")(image.to("meta"))
    parts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    decoder = sum(
        count for name, count in parts.items() if name.count(".") == 2 and name.split(".")[1] in ("fusion", "head")
    )
    return counter.get_total_flops() // 2, decoder // 2


def _layers() -> dict[str, Callable[[], object]]:
    """Attention of both kinds for every number of tokens."""
    features, tasks = orthogonal_features(64), {}
    for count in TOKENS.values():
        query, key, value = (torch.randn(1, 12, count, 64) for _ in range(3))
        tasks[f"softmax {count}"] = partial(nn.functional.scaled_dot_product_attention, query, key, value)
        tasks[f"performer {count}"] = partial(favor_attention, query, key, value, features)
    return tasks


def _crossing(layers: dict[str, float]) -> str:
    """Between which numbers of tokens the linear kind begins to be faster."""
    slower = [count for count in TOKENS.values() if layers[f"performer {count}"] >= layers[f"softmax {count}"]]
    quicker = [count for count in TOKENS.values() if count not in slower]
    if not slower or not quicker:
        return f"{'all' if quicker else 'none'} of {', '.join(map(str, TOKENS.values()))}"
    return f"between {max(slower)} and {min(quicker)}"


def _memory(batch: int) -> Spent:
    return spent(["-c", STEP.replace("BATCH", str(batch))], REPOSITORY)


if __name__ == "__main__":
    typer.run(main)
