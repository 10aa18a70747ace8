"""A network in C, compiled by this machine's compiler and called from Python.

Needs numpy and a C compiler: the one that CC names, or cc, gcc or clang. Used by run.py on a device and by lawder_edge.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

COMPILERS = ("cc", "gcc", "clang")
INSTALL = "apt-get install gcc libc6-dev, or name a compiler in CC"
# What the program around the network is for; the library has Python around it.
EXAMPLE = "main.c"
_FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")
_STATUS = {1: "a pointer is null", 2: "its arena is not aligned", 3: "its arena is too small"}


class NoCompilerError(Exception):
    """No C compiler here."""


class NetworkError(Exception):
    """A network that does not compile, or that reports an error."""


class Network:
    """source: NAME.c, with NAME.h and the kernels beside it. It is compiled into a folder that is gone afterwards.

    files: names of those that may be compiled, all beside it where that is None: kernels are weak symbols, in whose
    place a file that was left there would come unseen.

    size: (height, width) of the picture, out_size: of the mask. sha256: of NAME.c, as its header states it. A logit is
    scale * (q - zero_point).

    Raises NoCompilerError, and NetworkError with the compiler's first lines.
    """

    def __init__(self, source: Path, files: frozenset[str] | None = None) -> None:
        self._library = _compile(source, files)
        self._stem = source.stem
        defined = _defines(source.with_suffix(".h"), f"LW_{source.stem.upper()}_")
        try:
            self.size = (int(defined["HEIGHT"]), int(defined["WIDTH"]))
            self.out_size = (int(defined["OUT_HEIGHT"]), int(defined["OUT_WIDTH"]))
            self.channels, self.classes = int(defined["CHANNELS"]), int(defined["CLASSES"])
            self.scale = np.float32(defined["LOGIT_SCALE"].rstrip("f"))
            self.zero_point = int(defined["LOGIT_ZERO_POINT"])
            self.sha256 = self._text("sha256")
            self.arena_bytes = self._arena_bytes()
        except (KeyError, ValueError, AttributeError) as error:
            raise NetworkError(
                f"{source.with_suffix('.h').name} is not the header of {source.name} ({error})"
            ) from error

    def logits(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """picture: (H, W, channels) of `size`. Returns: (h, w, classes)."""
        out = np.empty((*self.out_size, self.classes), np.int8)
        self._call("logits", picture, out)
        return out

    def mask(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """picture: as in `logits`. Returns: (h, w), what the network's `run` writes."""
        out = np.empty(self.out_size, np.uint8)
        self._call("run", picture, out)
        return out

    def infer(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """tensor: (1, channels, H, W) in [-1, 1), taken to the nearest of a picture's bytes. Returns: logits
        (1, classes, h, w)."""
        steps = np.clip(np.rint(tensor[0].transpose(1, 2, 0) * np.float32(128)) + 128, 0, 255)
        q = self.logits(np.ascontiguousarray(steps, np.uint8)).astype(np.float32)
        found = self.scale * (q - np.float32(self.zero_point))
        return np.ascontiguousarray(found.transpose(2, 0, 1)[None], np.float32)

    def _call(self, name: str, picture: npt.NDArray[np.uint8], out: npt.NDArray[Any]) -> None:
        picture = np.ascontiguousarray(picture, np.uint8)
        if picture.shape != (*self.size, self.channels):
            raise NetworkError(f"{self._stem} takes {(*self.size, self.channels)}, got {picture.shape}")
        # numpy aligns to 16 bytes by itself on most systems; here it is made sure.
        memory = np.empty(self.arena_bytes + 16, np.uint8)
        start = memory.ctypes.data + -memory.ctypes.data % 16
        function = getattr(self._library, f"lw_{self._stem}_{name}")
        pointers = [ctypes.c_void_p(p) for p in (picture.ctypes.data, out.ctypes.data, start)]
        status = function(*pointers, ctypes.c_size_t(self.arena_bytes))
        if status != 0:
            raise NetworkError(f"{self._stem} refuses the call: {_STATUS.get(status, f'status {status}')}")

    def _text(self, name: str) -> str:
        function = getattr(self._library, f"lw_{self._stem}_{name}")
        function.restype = ctypes.c_char_p
        text: bytes = function()
        return text.decode()

    def _arena_bytes(self) -> int:
        function = getattr(self._library, f"lw_{self._stem}_arena_bytes")
        function.restype = ctypes.c_size_t
        count: int = function()
        return count


def find_compiler() -> str:
    """Raises NoCompilerError telling what to install."""
    named = os.environ.get("CC")
    for name in (named,) if named else COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    missing = f"the compiler {named!r} that CC names" if named else "a C compiler"
    raise NoCompilerError(f"{missing} is missing here: {INSTALL}")


def _compile(source: Path, files: frozenset[str] | None) -> ctypes.CDLL:
    compiler = find_compiler()
    beside = (p for p in source.parent.glob("*.c") if p.name != EXAMPLE)
    sources = sorted(str(p) for p in beside if files is None or p.name in files)
    with tempfile.TemporaryDirectory(prefix="lawder-") as folder:
        out = Path(folder) / "network.so"
        done = subprocess.run(
            [compiler, *_FLAGS, *sources, "-o", str(out)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[:300]
            raise NetworkError(f"{compiler} does not compile {source.name}: {said}")
        # The library stays loaded after its file is gone.
        return ctypes.CDLL(str(out))


def _defines(header: Path, prefix: str) -> dict[str, str]:
    return dict(re.findall(rf"^#define {prefix}(\w+) (\S+)$", header.read_text(), flags=re.M))
