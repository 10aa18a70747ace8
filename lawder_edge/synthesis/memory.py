"""Running out of memory, told as what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lawder_edge.errors import BadInput

# What has no exception of its own: the CPU's allocator, CUDA's driver (where another process holds the card), cuBLAS
# and Apple's.
_UNTYPED = (
    "can't allocate memory", "not enough memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)  # fmt: skip


@contextmanager
def memory_told(*, batch: int, size: int, advice: str) -> Iterator[None]:
    """Raises: BadInput naming batch and size, where the block runs out of the device's or the machine's memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise BadInput(_message(batch, size, advice)) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _UNTYPED):
            raise
        raise BadInput(_message(batch, size, advice)) from error


def _message(batch: int, size: int, advice: str) -> str:
    return f"out of memory with {batch} pictures of {size}x{size} px at a time. {advice}"
