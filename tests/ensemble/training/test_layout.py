"""Networks lie in memory as the device computes them fastest, and say the same."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from ensemble.training.layout import as_built, ready_for, with_fast_points


class Mixed(nn.Module):
    """Convolutions of one pixel, plain and strided, and one of nine."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 1), nn.ReLU(), nn.Conv2d(32, 8, 1, stride=2)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


@pytest.fixture
def network() -> Mixed:
    torch.manual_seed(0)
    return Mixed().eval()


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


IMAGE = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def kernels(network: nn.Module) -> set[str]:
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        network(IMAGE)
    return {event.key for event in seen.key_averages()} & {"aten::mkldnn_convolution", "aten::_slow_conv2d_forward"}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_one_thread_computes_every_convolution_with_onednn(network: Mixed):
    assert kernels(network) == {"aten::mkldnn_convolution", "aten::_slow_conv2d_forward"}
    assert kernels(with_fast_points(copy.deepcopy(network), processor=True)) == {"aten::mkldnn_convolution"}
    assert kernels(ready_for(network, "cpu")) == {"aten::mkldnn_convolution"}


def test_a_network_that_is_ready_says_the_same_and_its_gradients_are_the_same(network: Mixed):
    ready = ready_for(copy.deepcopy(network), "cpu")
    assert ready.layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    for each in (network, ready):
        each(IMAGE).square().mean().backward()
    torch.testing.assert_close(ready(IMAGE), network(IMAGE))
    for found, expected in zip(ready.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_a_network_is_written_down_as_it_was_built(network: Mixed):
    written = as_built(ready_for(copy.deepcopy(network), "cpu"))
    assert [str(layer) for layer in written.modules()] == [str(layer) for layer in network.modules()]
    assert all(weight.is_contiguous() for weight in written.parameters())
    on_a_gpu = with_fast_points(ready_for(copy.deepcopy(network), "cpu"), processor=False)
    assert [str(layer) for layer in on_a_gpu.modules()] == [str(layer) for layer in network.modules()]
