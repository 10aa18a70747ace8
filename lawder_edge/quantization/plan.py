"""Which tensors of a network get an integer scale, and which have to share one.

Works on the graph of torch.export, at any input size, with the rules of TFLite, which every other runtime can follow:
a tensor and its max pool, average pool, resize, maximum, concatenation and reshape share one scale; sigmoid and softmax
are fixed at 1/256, zero point -128; the input is (rgb - 128) / 128 at 1/128, zero point 0. An activation, and a
constant factor, belong to the operator before them.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from lawder_edge.errors import BadInput
from lawder_edge.graph.lower import module_path

aten = torch.ops.aten
CONVOLUTIONS = frozenset({aten.conv2d.default})
PRODUCTS = frozenset({aten.matmul.default, aten.bmm.default})
SUMS = frozenset({aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.mul_.Tensor})
SCALINGS = frozenset({aten.mul.Tensor, aten.mul_.Tensor, aten.div.Tensor, aten.div_.Tensor})
CLAMPS = frozenset(
    {aten.relu.default, aten.relu_.default, aten.relu6.default, aten.hardtanh.default, aten.hardtanh_.default}
)
SQUASHED = frozenset({aten.sigmoid.default, aten.softmax.int, aten._softmax.default})
MEANS = frozenset({aten.mean.dim, aten.adaptive_avg_pool2d.default})
# Their results are values that were there before.
SELECTING = frozenset({aten.max_pool2d.default, aten.amax.default, aten.cat.default})
LAYOUT = frozenset(
    {
        aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.transpose.int, aten.permute.default,
        aten.squeeze.dim, aten.unsqueeze.default, aten.contiguous.default, aten.clone.default, aten.expand.default,
        aten.alias.default, aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default,
        aten.feature_dropout_.default,
        # The zeros around are exact at any scale.
        aten.pad.default, aten.constant_pad_nd.default,
    }
)  # fmt: skip
# Their results are rounded to the scale of what they average.
AVERAGING = frozenset({aten.avg_pool2d.default, aten.upsample_bilinear2d.vec, aten.upsample_nearest2d.vec})
KNOWN = CONVOLUTIONS | PRODUCTS | SUMS | SCALINGS | CLAMPS | SQUASHED | MEANS | SELECTING | LAYOUT | AVERAGING

INPUT_SCALE = (1 / 128, 0)
SQUASHED_SCALE = (1 / 256, -128)


@dataclass(frozen=True)
class ScaleGroup:
    """Tensors with one scale. fixed: (scale, zero point) where it is given, None where it is learnt from data."""

    key: str
    fixed: tuple[float, int] | None


@dataclass(frozen=True)
class Convolution:
    """One call. inputs: index in `groups` of what is convolved. weight, bias: nodes of its parameters."""

    node: Node
    inputs: int
    weight: Node
    bias: Node | None


@dataclass(frozen=True)
class Plan:
    """groups: in the order of computation. group_of: of each node that holds a quantised tensor, its index in `groups`.
    rounded: those of them whose values are not on the grid yet. weights: nodes of convolution weights, each once.
    """

    groups: tuple[ScaleGroup, ...]
    group_of: dict[Node, int]
    rounded: tuple[Node, ...]
    weights: tuple[Node, ...]
    convolutions: tuple[Convolution, ...]


def plan(graph: Graph) -> Plan:
    """graph: of an ExportedProgram's module(), in deploy form.

    Raises BadInput naming operator and module for what has no integer form here, and where two tensors that must share
    a scale have each their own.
    """
    nodes = [node for node in graph.nodes if _is_float_tensor(node)]
    fused = {node for node in nodes if _is_fused_into_its_user(node)}
    calls = [n for n in nodes if n.target in CONVOLUTIONS]
    weights = tuple(dict.fromkeys(_parameter(n.args[1]) for n in calls))
    biases = {n.args[2] for n in calls if len(n.args) > 2}
    held = [n for n in nodes if n not in fused and n not in weights and n not in biases and _is_value(n)]
    leader: dict[Node, Node] = {node: node for node in held}

    def find(node: Node) -> Node:
        while (above := leader[node]) is not node:
            node = above
        return node

    rank = {node: i for i, node in enumerate(held)}
    rounded: list[Node] = []
    for node in held:
        if _keeps_scale(node):
            for source in _tensor_inputs(node):
                if source in leader:
                    a, b = sorted((find(node), find(source)), key=rank.__getitem__)
                    leader[b] = a
        if node.target not in SELECTING | LAYOUT:
            rounded.append(node)
    keys = _keys(held)
    members: dict[Node, list[Node]] = {}
    for node in held:
        members.setdefault(find(node), []).append(node)
    groups = tuple(ScaleGroup(keys[first], _fixed(nodes_, keys)) for first, nodes_ in members.items())
    index = {first: i for i, first in enumerate(members)}
    group_of = {node: index[find(node)] for node in held}
    convolutions = tuple(_convolution(node, group_of) for node in calls)
    return Plan(groups, group_of, tuple(rounded), weights, convolutions)


def _is_float_tensor(node: Node) -> bool:
    value = node.meta.get("val")
    if node.op == "get_attr":
        return True
    return node.op in ("placeholder", "call_function") and isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_value(node: Node) -> bool:
    if node.op == "call_function" and node.target not in KNOWN:
        # One of several tensors that an operator gives: it is that operator that cannot be.
        culprit: Any = node.args[0] if node.target is operator.getitem else node
        where = module_path(culprit) or "the network itself"
        raise BadInput(
            f"operator {culprit.target} in {where} has no integer form here. Replace it there by convolutions, sums, "
            "products, ReLU, sigmoid, pooling or bilinear resizing by a whole factor; or export with --precision fp32."
        )
    return bool(node.users)


def _tensor_inputs(node: Node) -> Iterator[Node]:
    first = node.args[0]
    yield from (first if isinstance(first, (list, tuple)) else [first])  # type: ignore[misc]


def _is_fused_into_its_user(node: Node) -> bool:
    """Whether the one that uses it is an activation, or a constant factor, that its operator can take along."""
    if len(node.users) != 1:
        return False
    user = next(iter(node.users))
    makers = CONVOLUTIONS | SUMS
    if user.target in CLAMPS:
        return node.target in makers or (node.target in SCALINGS and _is_by_constant(node))
    return user.target in SCALINGS and _is_by_constant(user) and node.target in CONVOLUTIONS | PRODUCTS


def _is_by_constant(node: Node) -> bool:
    return not isinstance(node.args[1], Node) or not isinstance(node.args[1].meta.get("val"), torch.Tensor)


def _convolution(node: Node, group_of: dict[Node, int]) -> Convolution:
    x, weight = (arg for arg in node.args[:2] if isinstance(arg, Node))
    bias = node.args[2] if len(node.args) > 2 else None
    return Convolution(node, group_of[x], weight, bias if isinstance(bias, Node) else None)


def _parameter(weight: Any) -> Node:
    if not isinstance(weight, Node) or weight.op != "get_attr":
        raise BadInput(
            f"a convolution's weights are computed by {getattr(weight, 'target', weight)} at each call; integer "
            "runtimes want constants. Store them as a parameter."
        )
    return weight


def _keys(nodes: list[Node]) -> dict[Node, str]:
    """MODULE:OPERATOR, with #2 and so on where a module computes the like several times."""
    seen: Counter[str] = Counter()
    keys = {}
    for node in nodes:
        if node.op == "placeholder":
            name = "input"
        elif node.op == "get_attr":
            name = str(node.target)
        else:
            name = f"{module_path(node)}:{str(node.target).split('.')[1]}"
        seen[name] += 1
        keys[node] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return keys


def _keeps_scale(node: Node) -> bool:
    """Whether its result has the scale of its inputs. An adaptive pool to one value is a mean, to more an average."""
    if node.target is aten.adaptive_avg_pool2d.default:
        size = node.args[1]
        return any(side != 1 for side in (size if isinstance(size, (list, tuple)) else (size,)))
    return node.target in SELECTING | LAYOUT | AVERAGING


def _fixed(members: list[Node], keys: dict[Node, str]) -> tuple[float, int] | None:
    own = {node: _own_scale(node) for node in members}
    given = {scale for scale in own.values() if scale is not None}
    learnt = [n for n, s in own.items() if s is None and not _keeps_scale(n)]
    if len(given) > 1 or (given and learnt):
        raise BadInput(
            f"{', '.join(keys[n] for n in members[:4])} have to share one int8 scale, but sigmoid, softmax and the "
            "input have fixed ones. Put a convolution between them."
        )
    return next(iter(given), None)


def _own_scale(node: Node) -> tuple[float, int] | None:
    if node.op == "placeholder":
        return INPUT_SCALE
    return SQUASHED_SCALE if node.target in SQUASHED else None
