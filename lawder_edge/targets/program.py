"""From a module to the ExportedProgram of a spec: what all targets that take a network start with."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from lawder_edge.errors import BadInput, first_line
from lawder_edge.targets.registry import ExportSpec

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def to_program(model: Any, spec: ExportSpec, *, dtype: torch.dtype | None = None) -> ExportedProgram:
    """torch.export of a module in eval mode at the spec's size, or with free height, width and batch.

    dtype: of its input, float32 where None.

    Raises BadInput where the network fails at such an input or ties the graph to its size.
    """
    import torch
    from torch.export import Dim

    # Neither square nor of a batch of one, so that no two of the four lengths are taken for the same.
    height, width = spec.size or (2 * spec.multiple_of, 3 * spec.multiple_of)
    example = torch.zeros(2 if spec.dynamic_batch else 1, spec.channels, height, width, dtype=dtype)
    free: dict[int, Any] = {0: Dim.DYNAMIC} if spec.dynamic_batch else {}
    if spec.size is None:
        # AUTO: the exporter finds the divisibility by itself; a length that it fixes shows in the result.
        free |= {2: Dim.AUTO, 3: Dim.AUTO}
    training = model.training
    try:
        with quiet(), torch.no_grad():
            output = model.eval()(example)
            program = torch.export.export(model, (example,), dynamic_shapes=(free,) if free else None)
    except Exception as error:  # whatever a user's network raises
        shape = tuple(example.shape)
        raise BadInput(
            f"{type(model).__name__} cannot be exported with an input of {shape}: {first_line(error)}. It must map "
            f"(B, {spec.channels}, H, W) to logits without branches on values; try a fixed --size."
        ) from error
    finally:
        model.train(training)
    wanted = (example.shape[0], spec.classes, height, width)
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    if got != wanted:
        raise BadInput(
            f"{type(model).__name__} gives {got} for an input of {tuple(example.shape)}; wanted logits of {wanted}: "
            "one tensor at the input's resolution, one channel a class."
        )
    return program


@contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Hold back what the exporter prints, warns and logs: progress marks and hints on its own internals."""
    text = io.StringIO()
    level = logging.root.manager.disable
    with redirect_stdout(text), redirect_stderr(text), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield text
        finally:
            logging.disable(level)
