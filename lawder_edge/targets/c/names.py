"""Names and literals of C."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import Array

_C99 = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while _Bool _Complex
_Imaginary
"""
_CPP = """
alignas alignof and and_eq asm bitand bitor bool catch char16_t char32_t char8_t class co_await co_return co_yield
compl concept consteval constexpr constinit const_cast decltype delete dynamic_cast explicit export false friend
mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast
requires static_assert static_cast template this thread_local throw true try typeid typename using virtual wchar_t
xor xor_eq
"""
RESERVED = frozenset((*_C99.split(), *_CPP.split()))
_LINE = 116


def identifier(name: str) -> str:
    """A network's name as part of C's: lower case, letters, digits and single underscores.

    Raises BadInput for a name of which nothing is left, that starts with a digit, or that C or C++ reserve.
    """
    made = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not made or made[0].isdigit() or made in RESERVED:
        why = "is a reserved word of C or C++" if made in RESERVED else "makes no identifier"
        raise BadInput(f"the network's name {name!r} {why}; wanted one that starts with a letter. Call it otherwise.")
    return made


def literal(value: int, ctype: str) -> str:
    """An integer of a type as C writes it without a warning. The smallest int32 has no literal of its own."""
    if ctype == "int32_t" and value == -(2**31):
        return "INT32_MIN"
    return f"{value}u" if ctype in ("uint32_t",) else str(value)


def array(data: Array, ctype: str) -> str:
    """The elements between braces, over as many lines as they take."""
    words = [literal(int(v), ctype) for v in data.reshape(-1)]
    return "{\n" + wrapped(words) + "\n}"


def wrapped(words: Iterable[str]) -> str:
    """Comma-separated, indented by four."""
    lines: list[str] = []
    line = ""
    for word in words:
        if line and len(line) + len(word) + 2 > _LINE:
            lines.append(line)
            line = ""
        line += f", {word}" if line else word
    lines.append(line)
    return "".join(f"    {text},\n" for text in lines[:-1]) + f"    {lines[-1]}"


def comment(text: str) -> str:
    """Text that can stand in a comment or a string."""
    return re.sub(r"[^A-Za-z0-9 _.,:;()+<>=-]", "_", text)
