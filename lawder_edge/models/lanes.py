"""The deploy form for onnxruntime, which keeps float channels in blocks of 8 or 16, a vector register each.

Tensors that it has to take out of their blocks, and lanes of a block that it fills with zeros, cost as much as those
that work. An equal module in float; not for int8, whose scales belong to the tensors of the deploy form, and not for
OpenVINO, which is 0.93 times as fast with it (benchmarks/results/deploy_form.md).

- ORDER: a concatenation whose parts do not fill blocks is written out, and the convolution of it falls back to one
  without blocks. Here what leaves a stage has a multiple of 16 channels, the last ones zero; and a skip that fits into
  the zeros of the decoder feature is added there.
- MK-UNet: blocks at full resolution have 6 channels, attention maps one. The 3x3 and 5x5 branches of a narrow block
  stand side by side in one depthwise convolution, and the projection sums all branches. A map of one channel is
  computed 4x4 pixels at a time, as 16 channels of a convolution of stride 4.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.deploy import DeployedInvertedResidual, DeployedSkipAttention, DeployedSpatialAttention
from lawder_edge.models.mk_unet import MKUNet
from lawder_edge.models.order import Joined, Order

BLOCK = 16
# Two branches of up to 8 channels fill no more than a block of 16.
NARROW = 8
LANES = 8
# Maps are computed PHASES x PHASES pixels at a time.
PHASES = 4


@torch.no_grad()
def fill_lanes(deployed: nn.Module) -> nn.Module:
    """A copy of a module of `deploy.to_deploy`, changed: (B, C, H, W) to the same logits, to 1e-5 of their range."""
    copied = copy.deepcopy(deployed)
    # Adapters of other normalisers, or of full tokens, are not in deploy form.
    if isinstance(copied, Order) and all(isinstance(a, DeployedSkipAttention) for a in copied.adapters.children()):
        _fill_blocks(copied)
    return _filled(copied)


def _filled(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, DeployedInvertedResidual) and child.expand.out_channels <= NARROW:
            setattr(module, name, SideBySide(child))
        elif isinstance(child, DeployedSpatialAttention) and isinstance(module, MKUNet):
            # Stages at H/2, H/4 and H/8 are multiples of 4, as H is of 32; a width that a deeper one shares is not.
            widths = frozenset(module.widths[:3]) - frozenset(module.widths[3:])
            setattr(module, name, PhasedSpatialAttention(child, widths))
        else:
            _filled(child)
    return module


class Packed(Joined):
    """A decoder stage whose inputs have zeros where the other has channels. Both: (B, BLOCK, H, W) -> (B, C, H, W)."""

    def __init__(self, layers: Joined) -> None:
        nn.Sequential.__init__(self, *layers)
        self.decoder_channels = layers.decoder_channels

    def join(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """Returns: (B, BLOCK, H, W), the channels of both."""
        return decoder + skip


def _fill_blocks(model: Order) -> None:
    """Zero channels at the end of what each stage, skip and adapter gives, up to a multiple of BLOCK."""
    for level, stage in enumerate(model.encoder):
        _widen(_first(stage), ins=[model.widths[level - 1]] if level else [])
        _widen(_last(stage), outs=True)
    for level, (kept, stage) in enumerate(zip(model.keep, model.decoder, strict=True)):
        joined = cast(Joined, stage)
        first, below = _first(joined), joined.decoder_channels
        chosen = isinstance(kept, nn.Sequential)
        fits = chosen and first.in_channels <= BLOCK and str(level) not in model.adapters
        if chosen:
            _widen(_first(kept), ins=[model.widths[level]], outs=True, zeros_before=below if fits else 0)
        _widen(first, ins=[first.in_channels] if fits else [below, first.in_channels - below])
        _widen(_last(joined), outs=True)
        if fits:
            model.decoder[level] = Packed(joined)
    for adapter in cast("list[DeployedSkipAttention]", list(model.adapters.children())):
        for reader in (
            adapter.key_decoder, adapter.value_decoder, adapter.confidence_decoder,
            adapter.key_skip, adapter.value_skip, adapter.confidence_skip,
        ):  # fmt: skip
            _widen(reader, ins=[reader.in_channels])
        for writer in (adapter.out_decoder, adapter.out_skip):
            _widen(writer, outs=True)
    _widen(model.head, ins=[model.head.in_channels])


def _first(stage: nn.Module) -> nn.Conv2d:
    return next(m for m in stage.modules() if isinstance(m, nn.Conv2d))


def _last(stage: nn.Module) -> nn.Conv2d:
    return [m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1]


def _widen(conv: nn.Conv2d, *, ins: Sequence[int] = (), outs: bool = False, zeros_before: int = 0) -> None:
    """Widen a convolution in place. ins: channels of each part of its input, each to be filled; outs: so its output."""
    weight = conv.weight.detach()
    if ins:
        starts = [sum(ins[:i]) for i in range(len(ins))]
        parts = [weight[:, start : start + count] for start, count in zip(starts, ins, strict=True)]
        weight = torch.cat([F.pad(part, (0, 0, 0, 0, 0, -part.shape[1] % BLOCK)) for part in parts], dim=1)
    if outs:
        more = (zeros_before, -(weight.shape[0] + zeros_before) % BLOCK)
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, *more))
        if conv.bias is not None:
            conv.bias = nn.Parameter(F.pad(conv.bias.detach(), more))
    conv.weight = nn.Parameter(weight)
    conv.out_channels, conv.in_channels = weight.shape[:2]


class SideBySide(nn.Module):
    """MKIR with its 3x3 and 5x5 branches in one depthwise convolution. x: (B, in, H, W) -> (B, out, H, W).

    The 1x1 branch stays by itself: among the others it would cost what a 5x5 costs.
    """

    def __init__(self, source: DeployedInvertedResidual) -> None:
        super().__init__()
        one, *wider = (cast(nn.Conv2d, branch) for branch in source.branches)
        hidden, side = source.expand.out_channels, max(branch.kernel_size[0] for branch in wider)
        lanes = -(-len(wider) * hidden // LANES) * LANES
        self.expand = _zeros(source.expand.in_channels, lanes)
        self.wider = _zeros(lanes, lanes, side=side, depthwise=True)
        self.one = _zeros(lanes, lanes, depthwise=True)
        self.project, self.project_one = (_zeros(lanes, source.project.out_channels) for _ in range(2))
        for i, branch in enumerate(wider):
            own = slice(i * hidden, (i + 1) * hidden)
            rim = (side - branch.kernel_size[0]) // 2
            _put(self.expand, own, source.expand.weight, source.expand)
            _put(self.wider, own, F.pad(branch.weight, (rim, rim, rim, rim)), branch)
            self.project.weight[:, own] = source.project.weight
        _put(self.one, slice(hidden), one.weight, one)
        self.project_one.weight[:, :hidden] = source.project.weight
        self.project_one.bias = None
        self.project.bias = nn.Parameter(cast(Tensor, source.project.bias).clone())
        self.skip = source.skip

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x))
        wider = self.project(F.relu6(self.wider(y)))
        out: Tensor = wider + self.project_one(F.relu6(self.one(y))) + self.skip(x)
        return out


def _zeros(ins: int, outs: int, *, side: int = 1, depthwise: bool = False) -> nn.Conv2d:
    conv = nn.Conv2d(ins, outs, side, padding=side // 2, groups=outs if depthwise else 1)
    conv.weight.zero_()
    cast(Tensor, conv.bias).zero_()
    return conv


def _put(conv: nn.Conv2d, channels: slice, weight: Tensor, source: nn.Conv2d) -> None:
    """Make some of the output channels those of `source`, with another form of its weight."""
    conv.weight[channels] = weight
    cast(Tensor, conv.bias)[channels] = cast(Tensor, source.bias)


class PhasedSpatialAttention(nn.Module):
    """CBAM spatial attention, its map 4x4 pixels at a time where C is one of `widths`. x: (B, C, H, W) -> x, scaled."""

    def __init__(self, source: DeployedSpatialAttention, widths: frozenset[int]) -> None:
        super().__init__()
        self.widths = widths
        self.conv, self.means = source.conv, source.means
        kernel = source.conv.weight.shape[2]
        # Output pixel (4i + p, 4j + q) is channel 4p + q at (i, j).
        self.phases = nn.Conv2d(2, PHASES**2, kernel + PHASES - 1, stride=PHASES, padding=kernel // 2, bias=False)
        self.phases.weight.zero_()
        for p in range(PHASES):
            for q in range(PHASES):
                self.phases.weight[PHASES * p + q, :, p : p + kernel, q : q + kernel] = source.conv.weight[0]

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        stats = torch.cat([self.means[str(channels)](x), x.amax(1, keepdim=True)], dim=1)
        if channels in self.widths:
            return x * F.pixel_shuffle(torch.sigmoid(self.phases(stats)), PHASES)
        return x * torch.sigmoid(self.conv(stats))
