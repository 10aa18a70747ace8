"""One call of an operator in a program, as the functions see it that lower it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from lawder_edge.errors import BadInput
from lawder_edge.graph.builder import Builder, Value
from lawder_edge.graph.ir import Shape


@dataclass(frozen=True)
class Call:
    """One call of an operator. where: operator and module, for errors. arguments: by name, tensors as values.

    shape: logical, of the result.
    """

    builder: Builder
    where: str
    arguments: Mapping[str, Any]
    shape: Shape

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def value(self, name: str = "self") -> Value:
        """An argument that is a tensor."""
        found = self.arguments[name]
        if not isinstance(found, Value):
            self.refuse(f"{name} is {found!r}", "a tensor")
        return found

    def refuse(self, got: str, wanted: str) -> NoReturn:
        raise BadInput(f"{self.where}: {got}; wanted {wanted}.")
