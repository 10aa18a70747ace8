"""From a program to the graph of a spec: what the targets written from our own graph share."""

from __future__ import annotations

from dataclasses import replace

from lawder_edge.bundle.manifest import InputType
from lawder_edge.errors import BadInput
from lawder_edge.graph import edges
from lawder_edge.graph.ir import Graph
from lawder_edge.targets.program import to_program
from lawder_edge.targets.registry import ExportSpec, Program, not_quantised


def to_graph(program: Program, spec: ExportSpec) -> Graph:
    """The graph that TFLite and C are written from.

    Raises BadInput for a spec without a size or with any batch, operators that a graph lacks, and programs that are not
    of the spec's precision.
    """
    if spec.size is None or spec.dynamic_batch:
        asked = "of any size" if spec.size is None else "for any batch"
        raise BadInput(
            f"a file {asked} was asked for; TFLite and C hold one size and one image. Give --size H W alone."
        )
    graph = replace(program, name=spec.name) if isinstance(program, Graph) else _lowered(program, spec)
    _check_interface(graph, spec, spec.size)
    return graph


def with_edges(graph: Graph, spec: ExportSpec, taken: InputType) -> Graph:
    """The graph from an input of type `taken` to the spec's output, which is float32 where the input is."""
    if spec.output == "probabilities":
        graph = edges.with_probabilities(graph)
    elif spec.output == "mask":
        graph = edges.with_mask(graph, spec.threshold)
    if taken == "float32":
        graph = edges.with_float_output(graph)
    return edges.with_input(graph, taken)


def _lowered(program: Program, spec: ExportSpec) -> Graph:
    import torch

    from lawder_edge.graph.lower import lower
    from lawder_edge.models.deploy import to_deploy

    if isinstance(program, torch.nn.Module):
        if spec.precision == "int8":
            raise not_quantised()
        program = to_program(to_deploy(program), spec)
    if not isinstance(program, torch.export.ExportedProgram):
        raise TypeError(f"a graph is lowered from a network, not from {type(program).__name__}")
    return lower(program, name=spec.name)


def _check_interface(graph: Graph, spec: ExportSpec, size: tuple[int, int]) -> None:
    """Raises BadInput where the graph's inputs and outputs are not those that the spec asks for."""
    shapes = [[t.shape for t in graph.of(names)] for names in (graph.inputs, graph.outputs)]
    wanted = [[(1, *size, spec.channels)], [(1, *size, spec.classes)]]
    if shapes != wanted:
        raise BadInput(
            f"the network maps {', '.join(map(str, shapes[0]))} to {', '.join(map(str, shapes[1]))} (NHWC); wanted "
            f"{wanted[0][0]} to {wanted[1][0]}."
        )
    is_int8 = graph.tensor(graph.inputs[0]).dtype == "int8"
    if spec.precision == "int8" and not is_int8:
        raise not_quantised()
    if spec.precision == "fp32" and is_int8:
        raise BadInput("fp32 was asked for of a network that is quantised. Export it with --precision int8.")
