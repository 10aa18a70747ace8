"""What a TensorRT engine shall be like: the part of an export's options that no other target reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lawder_edge.errors import BadInput

Flavor = Literal["rtx", "classic"]


@dataclass(frozen=True)
class EngineOptions:
    """Options of the `tensorrt` target.

    flavor: rtx is built ahead of time, without a GPU, for desktop GPUs; classic is built by `tensorrt` on the GPU that
    it is for. compute: of rtx, the GPUs' compute capabilities such as 8.9; TensorRT's own choice without any. profile:
    smallest, usual and largest side in pixels of an engine for any size. workspace_mib: the most scratch memory while
    building and running, 0 for no limit. Of classic alone: timing_cache, a file that is read, extended and written;
    dla_core of a Jetson, the GPU taking what it cannot do; hardware_compatible, for every GPU from Ampere on.

    Raises BadInput for values that cannot be, or that the flavor does not have.
    """

    flavor: Flavor = "rtx"
    compute: tuple[str, ...] = ()
    profile: tuple[int, int, int] = (32, 256, 512)
    workspace_mib: int = 0
    timing_cache: Path | None = None
    dla_core: int | None = None
    hardware_compatible: bool = False

    def __post_init__(self) -> None:
        if self.flavor not in get_args(Flavor):
            raise BadInput(f"flavor {self.flavor!r}: wanted one of {', '.join(get_args(Flavor))}.")
        low, usual, high = self.profile
        if not 0 < low <= usual <= high:
            raise BadInput(f"profile {low} {usual} {high}: wanted smallest, usual and largest side, none below 1.")
        if self.workspace_mib < 0:
            raise BadInput(f"workspace of {self.workspace_mib} MiB: wanted 0 for no limit, or more.")
        if self.dla_core is not None and self.dla_core < 0:
            raise BadInput(f"DLA core {self.dla_core}: wanted 0 or 1.")
        for text in self.compute:
            if not re.fullmatch(r"\d{1,2}\.\d", text):
                raise BadInput(f"compute capability {text!r}: wanted such as 8.9 (NVIDIA lists each GPU's).")
        classic = (
            ("timing cache", self.timing_cache is not None), ("DLA core", self.dla_core is not None),
            ("hardware compatibility", self.hardware_compatible),
        )  # fmt: skip
        foreign = [n for n, given in classic if given] if self.flavor == "rtx" else []
        foreign += ["compute capability"] if self.flavor == "classic" and self.compute else []
        if foreign:
            raise BadInput(f"flavor {self.flavor!r} has no {' or '.join(foreign)}. Leave it out, or take the other.")

    def arguments(self) -> list[str]:
        """The same as command-line options, without those left at their defaults."""
        words = []
        if self.flavor != EngineOptions.flavor:
            words += ["--flavor", self.flavor]
        if self.compute:
            words += ["--compute", *self.compute]
        if self.profile != EngineOptions.profile:
            words += ["--profile", *map(str, self.profile)]
        if self.workspace_mib:
            words += ["--workspace-mib", str(self.workspace_mib)]
        if self.timing_cache is not None:
            words += ["--timing-cache", str(self.timing_cache)]
        if self.dla_core is not None:
            words += ["--dla-core", str(self.dla_core)]
        return words + ["--hardware-compatible"] * self.hardware_compatible
