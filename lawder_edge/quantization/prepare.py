"""The network with rounding in place: what is calibrated and trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from lawder_edge.errors import BadInput
from lawder_edge.models.blocks import depthwise
from lawder_edge.quantization.fake import ActivationRounding, BiasRounding, WeightRounding, noise_table
from lawder_edge.quantization.plan import Convolution, Plan, plan
from lawder_edge.quantization.scales import Scales, TensorScale, largest_weight

_PREFIX = "rounding_"


class RoundedNetwork(nn.Module):
    """A network in deploy form, computed as int8 hardware does, at one input size and any batch size.

    forward: (B, C, H, W) float32 in [-1, 1) -> (B, K, H, W) logits on the output's grid. weight_bits: of convolution
    weights. `network` holds the graph with the parameters of the deploy form under their names.
    """

    def __init__(self, network: GraphModule, plan: Plan, *, weight_bits: int) -> None:
        super().__init__()
        self.network = network
        self.weight_bits = weight_bits
        self._keys = tuple(group.key for group in plan.groups)
        self._fixed = tuple(group.fixed for group in plan.groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> RoundedNetwork:
        """The deploy form computes the same in both modes; only ranges are learnt in training mode."""
        self.training = mode
        for rounding in self.roundings():
            rounding.train(mode)
        return self

    def roundings(self) -> list[ActivationRounding]:
        """Those of the activations in the order of `Scales.tensors`."""
        return [self.network.get_submodule(f"{_PREFIX}{i}") for i in range(len(self._keys))]  # type: ignore[misc]

    def freeze(self) -> None:
        """Keep the ranges as they are from now on."""
        for rounding in self.roundings():
            rounding.frozen = True

    def tighten(self) -> None:
        """Learn ranges that leave out rare values where that rounds the others better; training makes up for it."""
        for rounding in self.roundings():
            rounding.tight = True

    def set_noise(self, largest: float) -> None:
        """Move activations by up to `largest` steps before they are rounded, in training mode. 0 for not at all.

        Those at fixed scales stay: the input is the same in every runtime.
        """
        device = next(self.parameters()).device
        table = noise_table(largest).to(device) if largest else torch.zeros(0, device=device)
        for rounding in self.roundings():
            if not rounding.is_fixed:
                rounding.noise_steps = table

    def scales(self) -> Scales:
        """What the ranges have come to. Raises BadInput where a tensor was never observed."""
        tensors = []
        for key, fixed, rounding in zip(self._keys, self._fixed, self.roundings(), strict=True):
            if fixed is None and not rounding.frozen and not rounding.seen.all():
                raise BadInput(f"{key}: no range was learnt. Run calibration images through the network first.")
            tensors.append(TensorScale(key, float(rounding.scale), int(rounding.zero_point)))
        return Scales(self.weight_bits, tuple(tensors))

    def load_deployed(self, tensors: dict[str, torch.Tensor], scales: Scales) -> None:
        """Take weights and scales, which are kept from now on. Raises BadInput for those of another network."""
        own = dict(self.network.named_parameters())
        if own.keys() != tensors.keys() or any(own[name].shape != value.shape for name, value in tensors.items()):
            raise BadInput("these quantised weights are of another network, or of an older deploy form.")
        with torch.no_grad():
            for name, value in tensors.items():
                own[name].copy_(value)
        for key, rounding in zip(self._keys, self.roundings(), strict=True):
            tensor = scales.of(key)
            rounding.set(tensor.scale, tensor.zero_point)

    def deployed_state(self) -> dict[str, torch.Tensor]:
        """The parameters of the deploy form under their own names, not rounded."""
        return {name: p.detach().clone() for name, p in self.network.named_parameters()}


def prepare(
    deployed: nn.Module,
    *,
    size: tuple[int, int],
    channels: int = 3,
    weight_bits: int = 7,
    scales: Scales | None = None,
) -> RoundedNetwork:
    """Put rounding after every tensor that the plan names.

    deployed: of `to_deploy`. size: (H, W) in pixels. scales: known ones, which are kept; None to learn them.
    Raises BadInput for a network that cannot be traced or quantised, for one with buffers, which the file of quantised
    weights has no place for, or scales of another one.
    """
    if kept := sorted(deployed.state_dict().keys() - dict(deployed.named_parameters()).keys()):
        raise BadInput(
            f"{type(deployed).__name__} has buffers ({', '.join(kept[:5])}), and quantised weights are parameters "
            "alone. Make them parameters with requires_grad=False, or compute them in forward."
        )
    example = torch.zeros(2, channels, *size)
    try:
        exported = torch.export.export(deployed, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    except Exception as error:  # whatever a user's network raises
        raise BadInput(f"{type(deployed).__name__} cannot be traced for quantisation: {error}") from error
    network = exported.module(check_guards=False)
    found = plan(network.graph)
    bits = scales.weight_bits if scales is not None else weight_bits
    members = Counter(found.group_of[node] for node in found.rounded)
    for i, scale_group in enumerate(found.groups):
        rounding = ActivationRounding(fixed=scale_group.fixed, members=members[i])
        if scales is not None:
            tensor = scales.of(scale_group.key)
            rounding.set(tensor.scale, tensor.zero_point)
        network.add_submodule(f"{_PREFIX}{i}", rounding)
    network.add_submodule(f"{_PREFIX}weights", WeightRounding(largest_weight(bits)))
    for i, convolution in enumerate(found.convolutions):
        _round_bias(network, convolution, f"{_PREFIX}bias_{i}")
    placed: Counter[int] = Counter()
    for node in found.rounded:
        group = found.group_of[node]
        _insert(network, node, f"{_PREFIX}{group}", placed[group])
        placed[group] += 1
    for node in found.weights:
        _insert(network, node, f"{_PREFIX}weights")
    for node in network.graph.find_nodes(op="call_function", target=torch.ops.aten.conv2d.default):
        node.target = _convolve
    network.graph.lint()
    network.recompile()
    return RoundedNetwork(network, found, weight_bits=bits)


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """conv2d, its gradient by the cheap route where it is depthwise."""
    height, width = weight.shape[2:]
    plain = (
        all(n == 1 for n in (*stride, *dilation))
        and height == width
        and (height, width) == tuple(2 * p + 1 for p in padding)
    )
    if torch.is_grad_enabled() and plain and groups == x.shape[1] == weight.shape[0]:
        y = depthwise(x, weight)
        return y if bias is None else y + bias.view(1, -1, 1, 1)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _round_bias(network: GraphModule, convolution: Convolution, module: str) -> None:
    """Round the bias where there is one."""
    if convolution.bias is None:
        return
    inputs = cast(ActivationRounding, network.get_submodule(f"{_PREFIX}{convolution.inputs}"))
    largest = cast(WeightRounding, network.get_submodule(f"{_PREFIX}weights")).largest
    network.add_submodule(module, BiasRounding(inputs, largest))
    with network.graph.inserting_before(convolution.node):
        rounded = network.graph.call_module(module, (convolution.bias, convolution.weight))
    convolution.node.update_arg(2, rounded)


def _insert(network: GraphModule, node: Node, module: str, *arguments: int) -> None:
    with network.graph.inserting_after(node):
        rounded = network.graph.call_module(module, (node, *arguments))
    rounded.meta["val"] = node.meta.get("val")
    kept = (rounded, *(user for user in node.users if isinstance(_module_of(network, user), BiasRounding)))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user not in kept)


def _module_of(network: GraphModule, node: Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None
