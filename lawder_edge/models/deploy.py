"""The deploy form: an equal, simpler module, from which everything is exported and quantised.

What becomes of a network, in one place, in plain PyTorch:

- BatchNorm is folded into the convolution before it; one that follows none becomes a 1x1 depthwise convolution.
- The channel shuffle of MK-UNet's blocks is folded into the 1x1 convolution after it.
- Hidden channels are padded to a multiple of 4 (6 to 8 in the first block), which onnxruntime's kernels want.
- The gate's grouped convolutions, two inputs a group, become depthwise ones and a 1x1 convolution of 0 and 1 that sums
  the pairs: microcontroller runtimes have no grouped kernel.
- The mean over channels becomes a 1x1 convolution of 1/C: TFLite's integer MEAN of 4 values at one scale rounds up by
  0.4 steps on average, and NPUs have no such MEAN.
- In ORDER's adapter 1x1 convolutions of a concatenation become two and a sum, so that no tensors have to share a scale;
  a residual around a fusion becomes part of its weights.
- Auxiliary heads are dropped.
- A convolution's padding "same" or "valid" becomes numbers, where it is as much on both sides.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lawder_edge.errors import BadInput
from lawder_edge.models.attention import BidirectionalSkipAttention, tokens
from lawder_edge.models.blocks import (
    ChannelAttention,
    GroupedAttentionGate,
    MultiKernelInvertedResidual,
    SpatialAttention,
    channel_shuffle,
    upsample,
)
from lawder_edge.models.mk_unet import MKUNet
from lawder_edge.models.order import Order

CHANNEL_MULTIPLE = 4


@torch.no_grad()
def to_deploy(model: nn.Module) -> nn.Module:
    """The deploy form of a copy of `model`, in eval mode: (B, C, H, W) to the same logits, to 1e-5 of their range.

    A network of one's own is taken as well: its BatchNorm is folded where it can be traced. Raises BadInput for weights
    that are not finite, and for a BatchNorm that keeps no running statistics.
    """
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise BadInput(
            f"the weights hold values that are not finite numbers (first: {bad[0]}). Training diverged; lower "
            "--learning-rate and train again."
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is None:
            raise BadInput(
                f"{name or 'the network itself'} is a BatchNorm2d without running statistics, so that a mask would "
                "depend on the pictures beside it. Train with track_running_stats=True, or take GroupNorm."
            )
    deployed = _simplified(copy.deepcopy(model).eval())
    for module in deployed.modules():
        if isinstance(module, nn.Conv2d):
            _pad_by_numbers(module)
    if any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules()):
        deployed = _without_batch_norm(deployed)
    return deployed.requires_grad_(True)


def _pad_by_numbers(conv: nn.Conv2d) -> None:
    """In place. An even window of padding "same" has one more zero on one side, which no number tells: it stays."""
    if conv.padding_mode != "zeros" or not isinstance(conv.padding, str):
        return
    beyond = [
        d * (k - 1) if conv.padding == "same" else 0 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)
    ]
    if all(total % 2 == 0 for total in beyond):
        conv.padding = (beyond[0] // 2, beyond[1] // 2)


class DeployedInvertedResidual(nn.Module):
    """MKIR as convolutions with biases. x: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, source: MultiKernelInvertedResidual) -> None:
        super().__init__()
        hidden = source.expand.out_channels
        padded = -(-hidden // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE
        self.expand = _padded(_folded(source.expand, source.expand_bn), out_channels=padded)
        self.branches = nn.ModuleList(
            _padded(_folded(cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, bn)), out_channels=padded)
            for conv, bn in zip(source.branches, source.branch_bns, strict=True)
        )
        project = _folded(source.project, source.project_bn)
        # Shuffled channel i is channel order[i] of the sum, so column i of the projection belongs to order[i].
        order = channel_shuffle(torch.arange(hidden).view(1, hidden, 1, 1), source.groups).flatten()
        unshuffled = torch.empty_like(project.weight)
        unshuffled[:, order] = project.weight
        project.weight = nn.Parameter(unshuffled)
        self.project = _padded(project, in_channels=padded)
        self.skip = source.skip

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x))
        one, three, five = (F.relu6(branch(y)) for branch in self.branches)
        out: Tensor = self.project(one + three + five) + self.skip(x)
        return out


class DeployedChannelAttention(nn.Module):
    """Both pooled vectors are summed before the last convolution, which is linear. x: (B, C, H, W), scaled."""

    def __init__(self, source: ChannelAttention) -> None:
        super().__init__()
        self.squeeze, self.excite = source.squeeze, source.excite

    def forward(self, x: Tensor) -> Tensor:
        average = F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        peak = F.relu(self.squeeze(x.amax((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.excite(average + peak))


class DeployedSpatialAttention(nn.Module):
    """x: (B, C, H, W), C one of `widths` -> x, scaled."""

    def __init__(self, source: SpatialAttention, widths: Sequence[int]) -> None:
        super().__init__()
        self.conv = source.conv
        self.means = nn.ModuleDict({str(c): _mean_of_channels(c) for c in sorted(set(widths))})

    def forward(self, x: Tensor) -> Tensor:
        mean = self.means[str(x.shape[1])](x)
        return x * torch.sigmoid(self.conv(torch.cat([mean, x.amax(1, keepdim=True)], dim=1)))


def _mean_of_channels(channels: int) -> nn.Conv2d:
    mean = nn.Conv2d(channels, 1, 1, bias=False)
    mean.weight.fill_(1 / channels)
    return mean


class DeployedGate(nn.Module):
    """GAG from kernels that every runtime has. decoder, skip: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, source: GroupedAttentionGate) -> None:
        super().__init__()
        decoder, skip = _folded(source.decoder_conv, source.decoder_bn), _folded(source.skip_conv, source.skip_bn)
        self.decoder_conv, self.skip_conv = _depthwise(decoder), _depthwise(skip)
        half, channels = decoder.out_channels, decoder.in_channels
        self.pairs = nn.Conv2d(channels, half, 1)
        self.pairs.weight = nn.Parameter(torch.eye(half).repeat_interleave(2, 1)[:, :, None, None].contiguous())
        self.pairs.bias = nn.Parameter(_bias(decoder) + _bias(skip))
        self.psi = _folded(source.psi, source.psi_bn)

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        joint = F.relu(self.pairs(self.decoder_conv(decoder) + self.skip_conv(skip)))
        return skip * torch.sigmoid(self.psi(joint))


class DeployedSkipAttention(nn.Module):
    """Bidirectional skip attention by sigmoid, one map for both ways. (B, Cd, H, W), (B, Cs, H, W) -> the same."""

    def __init__(self, source: BidirectionalSkipAttention) -> None:
        super().__init__()
        self.stride = source.stride
        self.key_decoder, self.key_skip = source.key_decoder, source.key_skip
        self.key_decoder.weight.mul_(source.scale)
        self.value_decoder, self.value_skip = source.value_decoder, source.value_skip
        self.out_decoder, self.out_skip = source.out_decoder, source.out_skip
        self.score_bias = cast(nn.Parameter, source.score_bias)
        channels = source.out_decoder.out_channels
        self.confidence_decoder, self.confidence_skip = split_inputs(source.confidence, channels)
        self.fuses = source.fuse is not None
        if source.fuse is not None:
            self.fuse_decoder, self.fuse_skip = split_inputs(source.fuse, channels)
            self.fuse_decoder.weight.add_(torch.eye(channels)[:, :, None, None])

    def forward(self, decoder: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        cells, skip_cells = F.avg_pool2d(decoder, self.stride), F.avg_pool2d(skip, self.stride)
        b, _, h, w = cells.shape
        scores = tokens(self.key_decoder(cells)) @ tokens(self.key_skip(skip_cells)).transpose(1, 2)
        # (B, N, N): from tokens of the decoder (rows) to tokens of the skip
        attention = torch.sigmoid(scores + self.score_bias)
        to_decoder = attention @ tokens(self.value_skip(skip_cells)) / (h * w)
        to_skip = attention.transpose(1, 2) @ tokens(self.value_decoder(cells)) / (h * w)
        delta_decoder = self.out_decoder(to_decoder.transpose(1, 2).reshape(b, -1, h, w))
        delta_skip = self.out_skip(to_skip.transpose(1, 2).reshape(b, -1, h, w))
        gate = torch.sigmoid(self.confidence_decoder(decoder) + self.confidence_skip(skip))
        decoder = decoder + gate * upsample(delta_decoder, self.stride)
        skip = skip + gate * upsample(delta_skip, self.stride)
        return (self.fuse_decoder(decoder) + self.fuse_skip(skip) if self.fuses else decoder), skip


def _attention(source: BidirectionalSkipAttention) -> nn.Module:
    """Other normalisers, and full tokens, stay as they are: they are for float only."""
    return DeployedSkipAttention(source) if source.score_bias is not None and source.stride > 1 else source


_FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    MultiKernelInvertedResidual: DeployedInvertedResidual,
    ChannelAttention: DeployedChannelAttention,
    GroupedAttentionGate: DeployedGate,
    BidirectionalSkipAttention: _attention,
}


def _simplified(module: nn.Module) -> nn.Module:
    if isinstance(module, MKUNet | Order):
        module.aux_heads = nn.ModuleList()
    # What is in that form already keeps its means, which may have been trained.
    if isinstance(module, MKUNet) and isinstance(module.spatial_attention, SpatialAttention):
        attention = DeployedSpatialAttention(module.spatial_attention, module.widths)
        module.set_submodule("spatial_attention", attention)
    form = _FORMS.get(type(module))
    if form is not None:
        return form(module)
    for name, child in module.named_children():
        setattr(module, name, _simplified(child))
    return module


def _without_batch_norm(model: nn.Module) -> nn.Module:
    """Fold each BatchNorm into the convolution that alone feeds it; the others become 1x1 depthwise convolutions."""
    for conv_name, bn_name in _followed_by_batch_norm(model):
        conv, bn = model.get_submodule(conv_name), model.get_submodule(bn_name)
        model.set_submodule(conv_name, _folded(cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, bn)))
        model.set_submodule(bn_name, nn.Identity())
    for name, bn in [(n, m) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]:
        model.set_submodule(name, _affine(bn))
    return model


def _followed_by_batch_norm(model: nn.Module) -> list[tuple[str, str]]:
    """Names of convolutions, each used once, whose output goes into a BatchNorm, itself used once, and nowhere else."""
    try:
        graph = torch.fx.symbolic_trace(model).graph
    except Exception:  # whatever a user's forward does to a tracer
        return []
    calls = [node for node in graph.nodes if node.op == "call_module"]
    once = {node.target for node in calls if sum(other.target == node.target for other in calls) == 1}
    pairs = []
    for node in calls:
        if not isinstance(model.get_submodule(node.target), nn.BatchNorm2d):
            continue
        # Not args[0]: a module may be called as self.bn(input=x).
        (before,) = node.all_input_nodes
        if before.op != "call_module" or len(before.users) > 1 or not {node.target, before.target} <= once:
            continue
        if isinstance(model.get_submodule(before.target), nn.Conv2d):
            pairs.append((before.target, node.target))
    return pairs


def _affine(bn: nn.BatchNorm2d) -> nn.Conv2d:
    """The 1x1 depthwise convolution that a BatchNorm in eval mode is."""
    identity = nn.Conv2d(bn.num_features, bn.num_features, 1, groups=bn.num_features, bias=False)
    identity.weight.fill_(1.0)
    return _folded(identity, bn)


def _folded(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    return fuse_conv_bn_eval(conv.eval(), bn.eval())


def _bias(conv: nn.Conv2d) -> Tensor:
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def _like(conv: nn.Conv2d, ins: int, outs: int, *, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution of other channels with the windows of `conv`: size, stride, dilation, and all of its padding."""
    windows = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    return nn.Conv2d(ins, outs, **windows, groups=groups, bias=bias)


def _padded(conv: nn.Conv2d, *, in_channels: int | None = None, out_channels: int | None = None) -> nn.Conv2d:
    """The convolution with zero weights for channels beyond its own. A depthwise one grows in `out_channels` alone."""
    depthwise = conv.groups == conv.in_channels > 1
    if conv.groups > 1 and (not depthwise or conv.out_channels != conv.in_channels):
        raise ValueError(f"{conv} cannot be padded; wanted one group, or one a channel")
    outs = out_channels or conv.out_channels
    ins = outs if depthwise else in_channels or conv.in_channels
    if (ins, outs) == (conv.in_channels, conv.out_channels):
        return conv
    wide = _like(conv, ins, outs, groups=outs if depthwise else 1)
    wide.weight.zero_()
    wide.weight[: conv.out_channels, : conv.weight.shape[1]] = conv.weight
    cast(Tensor, wide.bias).zero_()[: conv.out_channels] = _bias(conv)
    return wide


def _depthwise(grouped: nn.Conv2d) -> nn.Conv2d:
    """The products of a convolution of two inputs a group and one output before they are summed, without its bias."""
    c = grouped.in_channels
    conv = _like(grouped, c, c, groups=c, bias=False)
    conv.weight = nn.Parameter(grouped.weight.reshape(c, 1, *grouped.kernel_size).clone())
    return conv


def split_inputs(conv: nn.Conv2d, first: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A convolution of a concatenation, `first` channels and the rest, as two to sum; the first keeps the bias."""
    if conv.groups > 1:
        raise ValueError(f"{conv} cannot be split by its inputs; wanted one group")
    parts: list[nn.Conv2d] = []
    for channels in (slice(first), slice(first, None)):
        weight = conv.weight[:, channels].detach().clone()
        part = _like(conv, weight.shape[1], conv.out_channels, bias=not parts)
        part.weight = nn.Parameter(weight)
        parts.append(part)
    parts[0].bias = nn.Parameter(_bias(conv).clone())
    return parts[0], parts[1]
