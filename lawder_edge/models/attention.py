"""Selective bidirectional skip attention, the adapter that makes MK-UNet an ORDER.

Papers: LAW & ORDER - https://arxiv.org/abs/2603.04795 (shared similarity matrix, confidence gate, fusion; no
hyper-parameter is published) and BiXT - https://arxiv.org/abs/2402.12138 (one similarity matrix normalised both ways).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lawder_edge.models.blocks import upsample

Normaliser = Literal["softmax", "sigmoid", "exp_divide"]


def attend(scores: Tensor, values: Tensor, normaliser: Normaliser, on_map: Callable[[Tensor], Tensor]) -> Tensor:
    """Mix values by scores normalised over their last axis.

    scores: (B, N, N), unbounded. values: (B, N, d). Returns: (B, N, d), convex mixes of values (`softmax`,
    `exp_divide`) or means of gated values (`sigmoid`). `on_map` sees every attention map, in [0, 1], before it meets
    the values: the place where int8 quantises it at 1/256.
    """
    if normaliser == "softmax":
        return on_map(torch.softmax(scores, -1)) @ values
    if normaliser == "sigmoid":
        return on_map(torch.sigmoid(scores)) @ values / values.shape[1]
    weights = on_map(torch.exp(scores - scores.amax(-1, keepdim=True)))
    return (weights @ values) / weights.sum(-1, keepdim=True)


def tokens(x: Tensor) -> Tensor:
    """(B, d, h, w) -> (B, h w, d)"""
    return x.flatten(2).transpose(1, 2)


class BidirectionalSkipAttention(nn.Module):
    """Decoder feature and skip look at each other through one similarity matrix; a gate scales what each takes over.

    With D the decoder feature, E the skip and P the mean over `stride` x `stride` cells (tokens N = HW / stride^2):

        S  = (P(D) Wd)(P(E) We)^T / sqrt(d)          (+ b with sigmoid)
        dD = (norm(S) P(E) Ve) Od          dE = (norm(S^T) P(D) Vd) Oe
        c  = sigmoid(conv1x1[D, E])
        D' = D + c up(dD)                  E' = E + c up(dE)

    decoder: (B, Cd, H, W), skip: (B, Cs, H, W), H and W multiples of `stride` -> (D', E') of the same shapes. With
    `fuses`, for Cd = Cs, D' + conv1x1[D', E'] in place of D'; without it, that is left to the block that reads both. At
    initialisation the output projections and the fusion are zero, so that the module starts as the identity.
    """

    def __init__(
        self,
        decoder_channels: int,
        skip_channels: int,
        *,
        key_channels: int,
        stride: int,
        normaliser: Normaliser = "sigmoid",
        fuses: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.normaliser: Normaliser = normaliser
        self.scale = key_channels**-0.5
        self.key_decoder = nn.Conv2d(decoder_channels, key_channels, 1, bias=False)
        self.key_skip = nn.Conv2d(skip_channels, key_channels, 1, bias=False)
        self.value_decoder = nn.Conv2d(decoder_channels, key_channels, 1, bias=False)
        self.value_skip = nn.Conv2d(skip_channels, key_channels, 1, bias=False)
        self.out_decoder = nn.Conv2d(key_channels, decoder_channels, 1, bias=False)
        self.out_skip = nn.Conv2d(key_channels, skip_channels, 1, bias=False)
        # Softmax does not see a constant; sigmoid does.
        self.score_bias = nn.Parameter(torch.zeros(1)) if normaliser == "sigmoid" else None
        self.confidence = nn.Conv2d(decoder_channels + skip_channels, 1, 1)
        self.fuse = nn.Conv2d(2 * decoder_channels, decoder_channels, 1) if fuses else None
        # The attention map in [0, 1] passes through here: identity in float, a hook for quantisation.
        self.attention_map = nn.Identity()

    def init_weights(self) -> None:
        """Keys and values at unit gain (0.02 would leave the scores flat at 1e-4), everything that writes at zero."""
        for conv in (self.key_decoder, self.key_skip, self.value_decoder, self.value_skip):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
        for writer in (self.out_decoder, self.out_skip, self.fuse):
            if writer is not None:
                nn.init.zeros_(writer.weight)

    def forward(self, decoder: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        if self.stride > 1:
            decoder_cells, skip_cells = F.avg_pool2d(decoder, self.stride), F.avg_pool2d(skip, self.stride)
        else:
            decoder_cells, skip_cells = decoder, skip
        b, _, h, w = decoder_cells.shape
        q = tokens(self.key_decoder(decoder_cells)) * self.scale
        k = tokens(self.key_skip(skip_cells))
        scores = q @ k.transpose(1, 2)
        if self.score_bias is not None:
            scores = scores + self.score_bias
        to_decoder = attend(scores, tokens(self.value_skip(skip_cells)), self.normaliser, self.attention_map)
        to_skip = attend(
            scores.transpose(1, 2), tokens(self.value_decoder(decoder_cells)), self.normaliser, self.attention_map
        )
        delta_decoder = self.out_decoder(to_decoder.transpose(1, 2).reshape(b, -1, h, w))
        delta_skip = self.out_skip(to_skip.transpose(1, 2).reshape(b, -1, h, w))
        if self.stride > 1:
            delta_decoder, delta_skip = upsample(delta_decoder, self.stride), upsample(delta_skip, self.stride)
        gate = torch.sigmoid(self.confidence(torch.cat([decoder, skip], dim=1)))
        decoder = decoder + gate * delta_decoder
        skip = skip + gate * delta_skip
        if self.fuse is not None:
            decoder = decoder + self.fuse(torch.cat([decoder, skip], dim=1))
        return decoder, skip
