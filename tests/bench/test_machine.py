"""The machine's description, from recorded /proc and /sys files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lawder_edge.bench.machine import describe_machine, parse_cpuinfo

X86 = """processor\t: 0
model name\t: Example CPU @ 2.00GHz
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Example CPU @ 2.00GHz
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU part\t: 0xd0b
"""


def test_an_x86_cpu_is_named_with_the_features_that_matter() -> None:
    cpu = parse_cpuinfo(X86)
    assert cpu.model == "Example CPU @ 2.00GHz"
    assert cpu.features == ("avx2", "avx512", "vnni")


def test_an_arm_cpu_shows_neon_and_dot_product() -> None:
    assert parse_cpuinfo(ARM).features == ("neon", "dotprod", "fp16")


def test_an_unreadable_cpu_has_no_features() -> None:
    assert parse_cpuinfo("") == parse_cpuinfo("nonsense")


def test_a_board_is_named_by_its_device_tree_and_shows_its_governors(tmp_path: Path) -> None:
    for path, text in (
        ("proc/cpuinfo", ARM),
        ("proc/device-tree/model", "Example Board 5\0"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "ondemand\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    machine = describe_machine(root=tmp_path)
    assert machine.cpu == "Example Board 5"
    assert machine.governor == "ondemand"


def test_a_machine_without_proc_and_sys_is_described_all_the_same(tmp_path: Path) -> None:
    machine = describe_machine(root=tmp_path)
    assert machine.governor == ""
    assert machine.features == ()
    assert machine.cpu
    assert 1 <= machine.usable_cores <= machine.cores
    assert machine.memory_bytes > 1 << 20


def test_describing_the_machine_imports_no_runtime() -> None:
    script = (
        "import sys; from lawder_edge.bench.machine import describe_machine; describe_machine();"
        "print(*sorted({'torch', 'onnx', 'onnxruntime', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
