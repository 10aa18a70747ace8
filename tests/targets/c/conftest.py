from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# one_op, all_int8 and quantized_tiny are those of the neighbouring tests.
HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE.parent.parent / "graph"):
    sys.path.append(str(folder))

from kernel_library import SOURCES, WARNINGS, Kernels, compile_library  # noqa: E402
from networks import Compiled, compile_network, small_graph  # noqa: E402


@pytest.fixture(scope="session")
def needs_gcc() -> None:
    """Skips where gcc is missing."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here; apt-get install gcc libc6-dev")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory, needs_gcc: None) -> Kernels:
    """Compiled once."""
    return Kernels(compile_library(SOURCES, tmp_path_factory.mktemp("kernels") / "kernels.so"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, needs_gcc: None) -> Compiled:
    """`small_graph` of one class, compiled once."""
    return compile_network(small_graph(), tmp_path_factory.mktemp("small"), *WARNINGS)
