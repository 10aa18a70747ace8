"""The quantised network as an ExportedProgram with quantize and dequantize nodes, which every exporter reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from lawder_edge.graph.integer_kernels import QMAX, QMIN
from lawder_edge.quantization.fake import bias_steps, round_bias, weight_scales
from lawder_edge.quantization.plan import Convolution, plan
from lawder_edge.quantization.scales import Scales

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def insert_quantization(network: GraphModule, scales: Scales) -> GraphModule:
    """Put a quantize and a dequantize node after every tensor of the plan, in place.

    network: module() of an ExportedProgram of the deploy form, at any size. Convolution weights become int8 buffers,
    each with one dequantize node; biases stay float32, on the
    grid of the int32 that runtimes store. Raises BadInput for scales of another network.
    """
    # Registers torch.ops.quantized_decomposed.
    import torch.ao.quantization.fx._decomposed  # noqa: F401

    found = plan(network.graph)
    for node, group in found.group_of.items():
        tensor = scales.of(found.groups[group].key)
        _after(network, node, tensor.scale, tensor.zero_point)
    for i, convolution in enumerate(found.convolutions):
        inputs = scales.of(found.groups[convolution.inputs].key)
        _bias(network, convolution, f"rounded_bias_{i}", inputs.scale, scales.weight_max)
    for i, node in enumerate(found.weights):
        _weights(network, node, f"int8_weight_{i}", scales.weight_max)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return network


def to_program(
    deployed: nn.Module, scales: Scales, *, example: torch.Tensor, dynamic_shapes: Any = None
) -> ExportedProgram:
    """deployed: of `to_deploy`, with the weights that the scales were trained with. example: (B, C, H, W) float32.

    Raises BadInput for scales of another network.
    """
    exported = torch.export.export(deployed, (example,), dynamic_shapes=dynamic_shapes)
    network = insert_quantization(exported.module(check_guards=False), scales)
    return torch.export.export(network, (example,), dynamic_shapes=dynamic_shapes)


def _after(network: GraphModule, node: Node, scale: float, zero_point: int) -> None:
    ops = torch.ops.quantized_decomposed
    graph = network.graph
    rule = (scale, zero_point, QMIN, QMAX, torch.int8)
    with graph.inserting_after(node):
        quantized = graph.call_function(ops.quantize_per_tensor.default, (node, *rule))
    with graph.inserting_after(quantized):
        restored = graph.call_function(ops.dequantize_per_tensor.default, (quantized, *rule))
    for new in (quantized, restored):
        new.meta = {k: v for k, v in node.meta.items() if k != "val"}
    node.replace_all_uses_with(restored, delete_user_cb=lambda user: user is not quantized)


def _bias(network: GraphModule, convolution: Convolution, name: str, input_scale: float, largest: int) -> None:
    """Put the bias, where there is one, on the grid of int32: what stores it as float then adds the same number."""
    if convolution.bias is None:
        return
    bias, weight = (network.get_parameter(str(n.target)).detach() for n in (convolution.bias, convolution.weight))
    network.register_buffer(name, round_bias(bias, bias_steps(weight, input_scale, largest)))
    with network.graph.inserting_before(convolution.node):
        rounded = network.graph.get_attr(name)
    rounded.meta = dict(convolution.bias.meta)
    convolution.node.update_arg(2, rounded)


def _weights(network: GraphModule, node: Node, name: str, largest: int) -> None:
    weight = network.get_parameter(str(node.target)).detach()
    steps = weight_scales(weight, largest)
    integers = torch.fake_quantize_per_channel_affine(
        weight, steps, torch.zeros_like(steps, dtype=torch.int32), 0, -largest, largest
    )
    integers = (integers / steps.view(-1, 1, 1, 1)).round().to(torch.int8)
    network.register_buffer(name, integers)
    network.register_buffer(f"{name}_scale", steps)
    network.register_buffer(f"{name}_zero", torch.zeros_like(steps, dtype=torch.int64))
    graph = network.graph
    with graph.inserting_before(node):
        parts = [graph.get_attr(name + suffix) for suffix in ("", "_scale", "_zero")]
        restored = graph.call_function(
            torch.ops.quantized_decomposed.dequantize_per_channel.default,
            (*parts, 0, -largest, largest, torch.int8),
        )
    restored.meta = {k: v for k, v in node.meta.items() if k != "val"}
    node.replace_all_uses_with(restored)
    graph.erase_node(node)
