"""The module that every export starts from: pixels in, depth, expected error and weights out, ready to leave."""

import torch
from torch import Tensor, nn

from ensemble.deploy.network import StackNetwork
from ensemble.deploy.prepared import prepared


class Leaving(nn.Module):
    """A stack, or a learner, from pixels as a camera gives them.

    Args:
        network: Whose forward is exported; its copy is prepared.
        size: Height and width of the images that it is prepared with.
        pixels: ``uint8`` for 0 to 255, ``float32`` for 0 to 1.
    """

    def __init__(self, network: StackNetwork, size: tuple[int, int], pixels: torch.dtype) -> None:
        super().__init__()
        self.pixels = pixels
        self.network = prepared(network, torch.full((1, 3, *size), 0.5))
        self.eval()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what comes out, in this order."""
        return ("depth", "weights") if self.network.meta is None else ("depth", "error", "weights")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Depth [1 1 h w] in metres, the error to be expected, likewise, of a stack, and weights [1 k h w]."""
        said = self.network(image.float() / 255 if self.pixels == torch.uint8 else image)
        return tuple(getattr(said, name) for name in self.outputs)

    def example(self, size: tuple[int, int]) -> Tensor:
        """An image of the right kind and size."""
        values = torch.linspace(0, 1, 3 * size[0] * size[1]).reshape(1, 3, *size)
        return (255 * values).to(torch.uint8) if self.pixels == torch.uint8 else values
