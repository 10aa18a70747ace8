"""The two forms of a network that targets are written from: PyTorch's ONNX, and our graph. Of one network and spec they
are the same for every target, so that one export makes them and others read them.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import cast

from lawder_edge.targets.registry import ExportSpec, Form, Network, OnnxForm, Program


def form_key(form: Form, spec: ExportSpec) -> str:
    """All of a spec that the form depends on: equal for specs that have the same form of one network."""
    quantised = spec.precision == "int8"
    common = (form, quantised, spec.size, spec.dynamic_batch, spec.channels, spec.classes, spec.multiple_of)
    if form == "graph":
        return repr(common)
    cut = spec.threshold if spec.output == "mask" else None
    return repr((*common, spec.opset, spec.output, spec.input_type, cut))


def make_form(form: Form, network: Callable[[], Network], spec: ExportSpec) -> bytes:
    """The form of what `network` gives, as `read_form` takes it. Raises BadInput as the targets."""
    if form == "onnx":
        from lawder_edge.targets.onnx import to_form

        return to_form(network(), spec).data
    from lawder_edge.targets.nhwc import to_graph

    return pickle.dumps(to_graph(network(), spec))


def read_form(form: Form, data: bytes) -> Program:
    """data: of `make_form` in a process of this very call, since it may be unpickled."""
    return OnnxForm(data) if form == "onnx" else cast(Program, pickle.loads(data))
