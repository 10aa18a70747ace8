"""The kernels for signals and vectors against the portable ones, on operators of random shapes and scales."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from kernel_library import KERNELS, SANITIZERS, SOURCES, WARNINGS, run

HERE = Path(__file__).resolve().parent
CORES = {"mps2-an386": "cortex-m4", "mps2-an500": "cortex-m7", "mps3-an547": "cortex-m55"}
# Of each of nine kinds; ten seconds of an emulator.
CASES = 1000
HOST = """
#include <stdio.h>
#include <stdlib.h>
#include "board.h"
void board_write(const char *text) { fputs(text, stdout); }
void board_exit(int code) { exit(code); }
"""


@pytest.fixture(scope="module")
def host_crcs(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> str:
    """What the portable kernels give on this machine, where nothing overflows and nothing outside is touched."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    folder = tmp_path_factory.mktemp("operators")
    (folder / "host.c").write_text(HOST)
    program = folder / "host"
    common = project_root / "firmware_examples" / "common"
    files = [HERE / "random_operators.c", folder / "host.c", *SOURCES]
    flags = [*WARNINGS, *SANITIZERS, f"-DCASES={CASES}", f"-I{KERNELS}", f"-I{common}"]
    run(["gcc", "-std=c99", "-O1", *flags, *map(str, files), "-o", str(program)])
    said = run([str(program)]).stdout
    assert len(set(said.split())) == 9
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "defines"),
    [
        ("mps2-an386", ()), ("mps2-an386", ("-mno-unaligned-access",)), ("mps2-an500", ()),
        ("mps3-an547", ()), ("mps3-an547", ("-DLW_NO_MVE",)),
    ],
)  # fmt: skip
def test_random_operators_give_the_same_bits_with_pairs_and_vectors(
    board: str, defines: tuple[str, ...], host_crcs: str, tmp_path: Path, project_root: Path
) -> None:
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here; sh firmware_examples/install.sh")
    examples = project_root / "firmware_examples"
    cortex, common, elf = examples / "cortex_m", examples / "common", tmp_path / "operators.elf"
    run(
        [
            "arm-none-eabi-gcc", f"-mcpu={CORES[board]}", "-mfloat-abi=soft", "-mthumb", "-std=gnu99", "-O2",
            f"-DCASES={CASES}", *defines, f"-I{KERNELS}", f"-I{common}", "-nostartfiles", "--specs=nano.specs",
            f"-L{common}", f"-L{cortex / 'boards'}", "-Wl,--defsym=STACK_BYTES=8192", f"-Wl,-T,{board}.ld",
            str(cortex / "startup.c"), str(HERE / "random_operators.c"), *map(str, SOURCES), "-o", str(elf),
        ]
    )  # fmt: skip
    emulated = subprocess.run(
        [
            "qemu-system-arm", "-M", board, "-display", "none", "-monitor", "none", "-serial", "none",
            "-chardev", "stdio,id=s", "-semihosting-config", "enable=on,target=native,chardev=s", "-kernel", str(elf),
        ],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False,
    )  # fmt: skip
    assert emulated.returncode == 0, emulated.stdout + emulated.stderr
    assert emulated.stdout == host_crcs
