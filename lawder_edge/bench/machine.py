"""The machine that runs: what it is, what it can do, what is installed. Imports none of the packages it names."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.versions import installed_version

# Instruction sets that decide how fast a small network runs, by the words that the kernel uses for them.
_FEATURES: dict[str, frozenset[str]] = {
    "avx2": frozenset({"avx2"}),
    "avx512": frozenset({"avx512f"}),
    "vnni": frozenset({"avx512_vnni", "avx_vnni"}),
    "amx-int8": frozenset({"amx_int8"}),
    "neon": frozenset({"neon", "asimd"}),
    "dotprod": frozenset({"asimddp"}),
    "i8mm": frozenset({"i8mm"}),
    "sve": frozenset({"sve"}),
    "fp16": frozenset({"asimdhp", "avx512_fp16"}),
    "bf16": frozenset({"bf16", "avx512_bf16"}),
}

# Display name, then the distributions that provide it.
_PACKAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lawder-edge", ("lawder-edge",)),
    ("numpy", ("numpy",)),
    ("opencv", ("opencv-python-headless", "opencv-python", "opencv-contrib-python")),
    ("torch", ("torch",)),
    ("onnx", ("onnx",)),
    ("onnxruntime", ("onnxruntime", "onnxruntime-gpu")),
)


@dataclass(frozen=True)
class Package:
    """An installed distribution; version is "" where there is none."""

    name: str
    version: str


@dataclass(frozen=True)
class Machine:
    """Where something ran.

    cpu: the model's name as the kernel or the board says it. features: instruction sets of `_FEATURES` that it has.
    cores: logical cores; usable_cores: those that this process may run on. governor: the cpufreq governors in use, ""
    where the system shows none (virtual machines, macOS). load_average: processes that ran or waited during the last
    minute, None where the system does not count them.
    """

    cpu: str
    architecture: str
    features: tuple[str, ...]
    cores: int
    usable_cores: int
    memory_bytes: int
    governor: str
    load_average: float | None
    os: str
    python: str
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Cpu:
    """What /proc/cpuinfo tells. model is "" where the kernel does not name it, as on many ARM boards."""

    model: str
    features: tuple[str, ...]


def parse_cpuinfo(text: str) -> Cpu:
    """text: /proc/cpuinfo of x86 (`flags`) or ARM (`Features`)."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    words = set(fields.get("flags", fields.get("Features", "")).split())
    model = fields.get("model name") or fields.get("Model") or fields.get("Hardware") or ""
    return Cpu(model=model, features=tuple(name for name, any_of in _FEATURES.items() if words & any_of))


def describe_machine(*, root: Path = Path("/")) -> Machine:
    """Read the machine's description. root: where /proc and /sys are looked for."""
    import psutil

    cpu = parse_cpuinfo(_read(root / "proc/cpuinfo"))
    board = _read(root / "proc/device-tree/model").strip("\0 \n")
    governors = {_read(p).strip() for p in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")}
    cores = os.cpu_count() or 1
    return Machine(
        cpu=board or cpu.model or platform.processor() or "unknown",
        architecture=platform.machine(),
        features=cpu.features,
        cores=cores,
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
        memory_bytes=psutil.virtual_memory().total,
        governor=", ".join(sorted(governors - {""})),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        os=_system(),
        python=".".join(map(str, sys.version_info[:3])),
        packages=tuple(Package(name, installed_version(*names)) for name, names in _PACKAGES),
    )


def _read(path: Path) -> str:
    """A small text file of the kernel's, "" where it is missing or closed to this user."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _system() -> str:
    kernel = re.sub(r"[-+].*", "", platform.release())
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {kernel}"
    return f"{name}, {platform.system()} {kernel}"
