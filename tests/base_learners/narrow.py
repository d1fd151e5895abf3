"""Networks narrow enough for fast tests, shared by the tests of this folder."""

from typing import Any

import torch
from torch import nn

from base_learners import LEARNERS
from base_learners.encoders.build import build_encoder

WIDTHS = (48, 32, 24, 16, 16)
NARROW: dict[str, dict[str, Any]] = {  # a learner that is not here is tested as wide as it is
    "adabins": {
        "widths": WIDTHS,
        "embedding": 16,
        "bins": 16,
        "queries": 8,
        "patch_size": 4,
        "positions": 40,
        "layers": 1,
        "heads": 2,
        "feedforward": 32,
        "hidden": 16,
    },
    "bts": {"adaptor": 48, "widths": WIDTHS},
    "ldrn": {"adaptor": 48, "context": 32, "widths": WIDTHS},
    "dpt": {
        "width": 32,
        "blocks": 3,
        "heads": 4,
        "feedforward": 64,
        "positions": [4, 4],
        "hooks": [0, 1],
        "decoder_width": 32,
    },
    "ffn": {"width": 24},
}
NARROW |= {"bts_fast": NARROW["bts"], "ldrn_fast": NARROW["ldrn"]}


def narrow_network(name: str, *, seed: int = 0, encoder: str = "ghostnet_050", **changes: Any) -> nn.Module:
    torch.manual_seed(seed)
    learner = LEARNERS[name]
    return learner.network(build_encoder(encoder, needs=learner.needs), **{**NARROW.get(name, {}), **changes})


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
