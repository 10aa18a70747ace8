"""How C++ of the OpenVINO bundles is compiled here, and a frame for it."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import numpy.typing as npt
import pytest

from lawder_edge.exporting.verify import phantom_images

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str:
    """g++ that finds libpng's header, or a skip that says what to install."""
    found = shutil.which("g++")
    if found is None:
        pytest.skip("no g++ here: apt-get install g++ libpng-dev")
    probed = subprocess.run(
        [found, "-E", "-x", "c++", "-include", "png.h", os.devnull], capture_output=True, check=False
    )
    if probed.returncode:
        pytest.skip("g++ finds no png.h: apt-get install libpng-dev")
    return found


def phantom(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A frame whose mask holds both, at an odd size."""
    return next(phantom_images(1, seed=3).read()).frame[:height, :width]
