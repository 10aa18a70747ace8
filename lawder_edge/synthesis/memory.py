"""Running out of memory, told as what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lawder_edge.errors import BadInput


@contextmanager
def memory_told(*, batch: int, size: int, advice: str) -> Iterator[None]:
    """Raises: BadInput naming batch and size, where the block runs out of the device's or the machine's memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise BadInput(_message(batch, size, advice)) from error
    except RuntimeError as error:
        # PyTorch's allocator on the CPU has no exception of its own.
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        raise BadInput(_message(batch, size, advice)) from error


def _message(batch: int, size: int, advice: str) -> str:
    return f"out of memory with {batch} pictures of {size}x{size} px at a time. {advice}"
