"""Which rooms and modules of the package know which, at module level, inside functions and for types alike."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lawder_edge

PACKAGE = Path(lawder_edge.__file__).parent
# `lawder_edge` itself is for users, who get `load` from it.
ROOT = "lawder_edge"


def imported(source: str) -> Iterator[str]:
    """Dotted names of what a file imports from this package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "runners" not in path.parts]


def module_of(path: Path) -> str:
    """Its dotted name; that of a folder for the `__init__` in it."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def modules_known(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """sources: text of each module. Returns: of each, those that it imports from or imports."""
    known: dict[str, set[str]] = {}
    for module, source in sources.items():
        # What is imported is a module, or stands in one.
        names = (name if name in sources else name.rpartition(".")[0] for name in imported(source))
        known[module] = {name for name in names if name in sources} - {module}
    return known


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_known() -> dict[str, set[str]]:
    """Each folder or file right below the package, and those that it imports."""
    found = [p for p in files() if p.parent != PACKAGE or not p.name.startswith("__")]
    names = {room_of(path) for path in found}
    known: dict[str, set[str]] = {name: set() for name in names}
    for path in found:
        parts = [name.split(".") for name in imported(path.read_text())]
        known[room_of(path)] |= {p[1] for p in parts if p[0] == ROOT and len(p) > 1 and p[1] in names}
    return {name: rooms - {name} for name, rooms in known.items()}


@pytest.fixture(scope="module")
def known() -> Mapping[str, set[str]]:
    return rooms_known()


def test_no_room_knows_one_that_knows_it(known: Mapping[str, set[str]]) -> None:
    try:
        order = tuple(TopologicalSorter(known).static_order())
    except CycleError as error:
        pytest.fail(f"rooms in a circle: {' <- '.join(error.args[1])}")
    assert order.index("bundle") < order.index("targets") < order.index("exporting") < order.index("cli")


def test_no_module_knows_one_that_knows_it() -> None:
    modules = modules_known({module_of(path): path.read_text() for path in files()})
    assert len(modules) > 200
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as error:
        pytest.fail(f"modules in a circle: {' <- '.join(error.args[1])}")


def test_a_circle_of_modules_is_seen_inside_functions_and_for_types() -> None:
    inside = "def f() -> None:\n    from lawder_edge.b import g\n"
    for_types = "if TYPE_CHECKING:\n    from lawder_edge import a\n"
    circle = modules_known({"lawder_edge.a": inside, "lawder_edge.b": for_types})
    assert circle == {"lawder_edge.a": {"lawder_edge.b"}, "lawder_edge.b": {"lawder_edge.a"}}


@pytest.mark.parametrize(
    ("room", "may"),
    [
        ("models", {"errors"}),
        ("graph", {"errors"}),
        ("bundle", {"errors", "files", "codec", "intervals", "versions"}),
        ("targets", {"errors", "files", "threads", "versions", "bundle", "graph", "models", "data"}),
    ],
)
def test_rooms_at_the_bottom_know_no_more_than_they_may(
    room: str, may: set[str], known: Mapping[str, set[str]]
) -> None:
    assert known[room] <= may


def test_imports_inside_functions_and_from_a_room_are_seen() -> None:
    source = "from lawder_edge import weights\ndef f() -> None:\n    import lawder_edge.bench.run\n"
    assert set(imported(source)) == {"lawder_edge.weights", "lawder_edge.bench.run"}
