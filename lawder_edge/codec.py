"""Frozen dataclasses to JSON and back, strictly: every key present, none unknown, every value of its declared type."""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lawder_edge.errors import BadBundle

T = TypeVar("T")


def encode(record: Any) -> str:
    """A dataclass as JSON text: keys in the order of the fields, indented by 2, a final newline, no NaN or infinity.

    Raises ValueError for a number that is not finite: JSON has no word for it.
    """
    return json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def decode(kind: type[T], text: str | bytes, *, source: str) -> T:
    """JSON text as a dataclass of type `kind`; `source` is the file's name for messages.

    Raises BadBundle naming the key: not JSON, a missing or unknown key, a value of another type than declared.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadBundle(f"{source}: not valid JSON ({error}). Export the bundle again.") from error
    return _Decoder(source).read(kind, value, "")  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True)
class _Decoder:
    source: str

    def read(self, kind: Any, value: Any, key: str) -> Any:
        if dataclasses.is_dataclass(kind):
            return self._record(kind, value, key)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            inner = next(a for a in arguments if a is not type(None))
            return None if value is None else self.read(inner, value, key)
        if origin is tuple:
            return self._tuple(arguments, value, key)
        if origin is Literal:
            if value not in arguments or isinstance(value, bool):
                raise self._wrong(key, f"one of {', '.join(map(repr, arguments))}", value)
            return value
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._wrong(
                key, {str: "text", int: "a whole number", float: "a number"}.get(kind, "true or false"), value
            )
        return value

    def _record(self, kind: Any, value: Any, key: str) -> Any:
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        hints = get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        dot = f"{key}." if key else ""
        for name in names:
            if name not in value:
                raise BadBundle(f"{self.source}: key {dot + name!r} is missing. Export the bundle again.")
        for name in value:
            if name not in hints:
                raise BadBundle(
                    f"{self.source}: unknown key {dot + name!r}; known here: {', '.join(names)}. It was edited or "
                    "written by another version: export the bundle again."
                )
        return kind(**{name: self.read(hints[name], value[name], dot + name) for name in names})

    def _tuple(self, arguments: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise self._wrong(key, f"a list of {len(kinds)}", value)
        return tuple(
            self.read(kind, item, f"{key}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )

    def _wrong(self, key: str, wanted: str, got: Any) -> BadBundle:
        shown = repr(got) if len(repr(got)) <= 60 else repr(got)[:57] + "..."
        return BadBundle(
            f"{self.source}: key {key or '(top level)'!r} is {shown}, wanted {wanted}. Export the bundle again."
        )
