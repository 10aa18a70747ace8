from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# one_op and all_int8 are those of the graph's tests.
sys.path.append(str(Path(__file__).resolve().parents[2] / "graph"))

from kernel_library import SOURCES, WARNINGS, Kernels, compile_library
from networks import Compiled, compile_network, small_graph


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
