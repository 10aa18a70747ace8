"""Parameters, multiply-accumulates and memory of a PyTorch module, counted from the operators that it runs."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lawder_edge.bench.alive import Lifetimes
from lawder_edge.bench.rows import Static

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """Size and arithmetic of a module at one input size.

    params: scalars in its parameters (not in buffers). macs: multiply-accumulates of one image, by rows.CONVENTION.
    activations: scalars that the counted operators write. moved: that they read and write, weights included.
    peak_activations: scalars that are alive at once at the most, by alive.Lifetimes. by_operator: (operator, macs),
    largest first.
    """

    params: int
    macs: int
    activations: int
    moved: int
    peak_activations: int
    by_operator: tuple[tuple[str, int], ...]

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def static(self) -> Static:
        """What a row keeps of it."""
        return Static(self.params, self.macs, self.activations, self.moved, self.peak_activations)


def _convolution(args: Sequence[Any], out: Any) -> int:
    """aten.convolution(x, weight, bias, stride, padding, dilation, transposed, ...).

    weight is (out, in / groups, *kernel), or (in, out / groups, *kernel) when transposed: each output sample, or each
    input sample when transposed, meets everything but the first axis.
    """
    x, weight, transposed = args[0], args[1], args[6]
    positions = x if transposed else out
    return int(positions.numel() * math.prod(weight.shape[1:]))


def _product(first: int) -> Callable[[Sequence[Any], Any], int]:
    """Matrix product whose left factor is argument `first`: every output sample sums over its last axis."""
    return lambda args, out: int(out.numel() * args[first].shape[-1])


def _inner(first: int) -> Callable[[Sequence[Any], Any], int]:
    """Matrix-vector or inner product: every scalar of the left factor is used once."""
    return lambda args, out: int(args[first].numel())


def _attention(args: Sequence[Any], out: Any) -> int:
    """Scaled dot-product attention: q (B, h, N, d) by k (B, h, M, d), then (B, h, N, M) by v (B, h, M, e)."""
    query, key, value = args[:3]
    scores = query.numel() * key.shape[-2]
    return int(scores + scores // query.shape[-1] * value.shape[-1])


_RULES: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    aten.convolution: _convolution,
    aten._convolution: _convolution,
    aten.mm: _product(0),
    aten.bmm: _product(0),
    aten.addmm: _product(1),
    aten.baddbmm: _product(1),
    aten.mv: _inner(0),
    aten.addmv: _inner(1),
    aten.dot: _inner(0),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_cudnn_attention: _attention,
}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs of the operators that run below it. lifetimes: of the memory that they read and write."""

    def __init__(self, lifetimes: Lifetimes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lifetimes = lifetimes
        self.macs: Counter[str] = Counter()
        self.activations = self.moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = _RULES.get(func.overloadpacket)
        if rule is None:
            with self:
                parts = func.decompose(*args, **kwargs)  # composite operators: linear, matmul, einsum
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        self._lifetimes.ran((args, kwargs), out)
        if rule is None:
            return out
        self.macs[func.overloadpacket.__name__] += rule(args, out)
        written = (out[0] if isinstance(out, tuple) else out).numel()
        self.activations += written
        self.moved += written + sum(a.numel() for a in args if isinstance(a, torch.Tensor))
        return out


def count(module: nn.Module, size: tuple[int, int], *, channels: int = 3) -> Cost:
    """Count a module for one image by running a copy of it once, in evaluation mode, on the CPU.

    size: (H, W) of the input in pixels. channels: of the input. The module itself is left as it is. The products inside
    an LSTM or GRU, which run as one fused operator, are not seen. Raises what the module raises at that size.
    """
    twin = copy.deepcopy(module).cpu().eval()
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    # On its fast path nn.MultiheadAttention is one operator, in which no product can be seen.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        image = torch.zeros(1, channels, *size)
        lifetimes = Lifetimes(image)
        with torch.no_grad(), _Counter(lifetimes) as counter:
            output = twin(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
    return Cost(
        params=sum(p.numel() for p in module.parameters()),
        macs=sum(counter.macs.values()),
        activations=counter.activations,
        moved=counter.moved,
        peak_activations=lifetimes.most(output),
        by_operator=tuple(counter.macs.most_common()),
    )
