"""Networks that are ready to leave say what they said, without BN where a convolution can have it."""

import torch
from command_lines import Job
from torch import nn

from base_learners.ldrn import WSConv2d
from ensemble.deploy.fitted import fitted_stack
from ensemble.deploy.prepared import prepared, without_norms
from ensemble.runs.paths import Outputs
from ensemble.stacking.stack import load_stack


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(layer, kind) for layer in network.modules())


def test_a_stack_says_the_same(job: Job):
    outputs = Outputs(job.cache)
    network = fitted_stack(load_stack(outputs.find_run("meta-rgb+d"), outputs), outputs).network.double()
    image = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ready = prepared(network, image[:1])
    assert count(network, WSConv2d) > 20
    assert count(ready, WSConv2d) == 0
    points = [layer for layer in ready.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)]
    assert {layer.dilation for layer in points} == {(1, 1)}, "other runtimes take dilated convolutions for slow ones"
    assert 0 < count(ready, nn.BatchNorm2d) < count(network, nn.BatchNorm2d) / 3
    assert not any(weight.requires_grad for weight in ready.parameters())
    with torch.inference_mode():
        for flip in (False, True):
            expected, found = (each.flip_averaging(flip)(image) for each in (network, ready))
            for name in expected._fields:
                torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)


class Branching(nn.Module):
    """A convolution that a BN reads, and others as well; and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)
        x = x + self.norms[0](x)
        x = self.norms[2](self.second(self.norms[1](self.second(x))))
        return self.norms[3](self.third(x))


def test_what_others_read_as_well_is_not_folded():
    torch.manual_seed(0)
    network, image = Branching(), torch.rand(4, 3, 8, 8)
    network(image)
    ready = prepared(network.eval(), image)
    assert [type(norm) for norm in ready.norms] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm2d, nn.Identity]
    torch.testing.assert_close(ready(image), network(image))
    plain = without_norms(ready)
    assert count(plain, nn.BatchNorm2d) == 0
    torch.testing.assert_close(plain(image), network(image))
