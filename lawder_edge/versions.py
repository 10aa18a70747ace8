"""Which release of a package is installed, by the name of its distribution or of a module of it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Tool:
    """A package that took part in something, and its release."""

    name: str
    version: str


def installed_version(*distributions: str) -> str:
    """Version of the first of these distributions that is installed, "" where none is."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def tool_of(module: str) -> Tool:
    """The distribution that a module comes from, and its release.

    They need not share a name (onnxruntime comes from onnxruntime-gpu, too). A module without a distribution, such as
    one built in place, keeps its own name with the release `unknown`.
    """
    try:
        return Tool(module, importlib.metadata.version(module) or UNKNOWN)
    except importlib.metadata.PackageNotFoundError:
        # Reads all that is installed, so it comes second.
        names = importlib.metadata.packages_distributions().get(module, ())
    return Tool(names[0], importlib.metadata.version(names[0]) or UNKNOWN) if names else Tool(module, UNKNOWN)
