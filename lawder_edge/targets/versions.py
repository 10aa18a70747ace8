"""Which release of a package took part."""

from __future__ import annotations

import importlib.metadata

from lawder_edge.bundle.manifest import Tool

UNKNOWN = "unknown"


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
