"""How much of a network's activations is in memory at once, from the operators that it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree


@dataclass
class _Span:
    """scalars: in one piece of memory. first, last: operators between which it is needed, last None for never read."""

    scalars: int
    first: int
    last: int | None = None


class Lifetimes:
    """Memory of activations as operators run one after the other, each piece needed until its last reader is done.

    A piece of memory is a storage: a view, and what is written in place, adds none. What is computed of weights alone
    is a weight, and what nobody reads (the indices of a max pooling) needs no memory. What an operator takes for itself
    while it runs is not seen.
    """

    def __init__(self, given: Any) -> None:
        """given: the network's input, tensors in any nesting."""
        self._operators = 0
        # A weak reference keeps the storage's name from another one, not its memory.
        self._spans: dict[StorageWeakRef, _Span] = {}
        for tensor in _tensors(given):
            self._spans[_memory(tensor)] = _Span(_scalars(tensor), 0, 0)

    def ran(self, read: Any, made: Any) -> None:
        """One operator, the next one. read, made: its arguments and results."""
        self._operators += 1
        known = [span for tensor in _tensors(read) if (span := self._spans.get(_memory(tensor)))]
        for span in known:
            span.last = self._operators
        for tensor in _tensors(made) if known else ():
            self._spans.setdefault(_memory(tensor), _Span(_scalars(tensor), self._operators))

    def most(self, given_back: Any) -> int:
        """Scalars at the operator where most are needed. given_back: the network's output, needed to the end."""
        for tensor in _tensors(given_back):
            if span := self._spans.get(_memory(tensor)):
                span.last = self._operators
        changes = [0] * (self._operators + 2)
        for span in self._spans.values():
            if span.last is not None:
                changes[span.first] += span.scalars
                changes[span.last + 1] -= span.scalars
        return max(accumulate(changes))


def _tensors(nested: Any) -> Iterable[torch.Tensor]:
    return (leaf for leaf in _pytree.tree_leaves(nested) if isinstance(leaf, torch.Tensor))


def _memory(tensor: torch.Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _scalars(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.element_size()
