"""The most that is alive at once, by hand and against tensors that are there while an exported graph is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from lawder_edge.bench.flops import count
from lawder_edge.models import create_model

# Of a picture of two channels, 8x8.
PLANE = 64


class Chain(nn.Module):
    """2 -> 3 -> 5 -> 1 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 5, 1), nn.Conv2d(5, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class Skip(Chain):
    """The same, whose input is read again after it: 2 channels more at every operator before."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x[:, :1]


class View(nn.Module):
    """Three views of the input and back, then 2 -> 1 channels: tokens and their picture are the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        y: Tensor = self.head(tokens.transpose(1, 2).reshape(x.shape))
        return y


class CopiedView(View):
    """Tokens are brought in order, which takes memory of their own."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2).contiguous()
        y: Tensor = self.head(x) + tokens.sum()
        return y


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(x.add_(1)).mul_(2)


class OutOfPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + 1) * 2


class Pooled(nn.Module):
    """PyTorch makes the indices of the largest as well, which nobody reads."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2)


class OfWeights(nn.Module):
    """What is multiplied is made of weights alone, in three operators."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(100, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.weight * 2 + torch.arange(8)).sum(0)
        return x * scale


class Both(nn.Module):
    """Gives a map that is read on, too: both are alive at the end, 2 -> 3 channels and 3 -> 3."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(x)
        return y, self.second(y)


@pytest.mark.parametrize(
    ("module", "planes"),
    [
        (Chain(), 3 + 5),
        (Skip(), 2 + 3 + 5),
        (View(), 2 + 1),
        (CopiedView(), 2 + 2 + 1),
        (InPlace(), 2),
        (OutOfPlace(), 2 + 2),
        (Pooled(), 2 + 2 / 4),
        (OfWeights(), 2 + 2),
        (Both(), 3 + 3),
    ],
)
def test_what_is_alive_at_once_is_what_can_be_counted_by_hand(module: nn.Module, planes: float) -> None:
    assert count(module, (8, 8), channels=2).peak_activations == planes * PLANE


class Present(fx.Interpreter):
    """Runs an exported graph with real tensors, which it drops after their last reader, and looks at what is there."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=True)
        self._weights = {
            t.untyped_storage().data_ptr() for group in (module.parameters(), module.buffers()) for t in group
        }
        self.most_bytes = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        found = [x for x in (*self.env.values(), result) if isinstance(x, Tensor)]
        sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}
        there = sum(size for at, size in sizes.items() if at not in self._weights)
        self.most_bytes = max(self.most_bytes, there)
        return result


@pytest.mark.parametrize(("name", "size"), [("order", (64, 96)), ("order", (256, 256)), ("unet", (64, 64))])
def test_as_much_is_counted_as_is_there_while_an_exported_graph_is_run(name: str, size: tuple[int, int]) -> None:
    module = create_model(name).eval()
    image = torch.zeros(1, 3, *size)
    exported = torch.export.export(module, (image,)).module()
    assert isinstance(exported, fx.GraphModule)
    present = Present(exported)
    with torch.no_grad():
        present.run(image)
    assert 4 * count(module, size).peak_activations == present.most_bytes
