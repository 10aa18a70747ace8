"""What install.sh finds missing, with programs that only say what they have."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

LIBRARIES = {
    "gcc": "crt1.o",
    "arm-none-eabi-gcc": "nano.specs",
    "riscv64-unknown-elf-gcc": "picolibc.specs",
    "aarch64-linux-gnu-gcc": "libc.a",
}
SHELL = shutil.which("sh")
pytestmark = pytest.mark.skipif(SHELL is None, reason="no sh here")


def write_program(path: Path, lines: str) -> None:
    path.write_text(f"#!{SHELL}\n{lines}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, project_root: Path) -> Path:
    """A folder with all programs that the examples want; the compilers find every file. Nobody here is root."""
    text = (project_root / "firmware_examples" / "install.sh").read_text()
    listed = re.search(r'^programs="(.*)"', text, re.M)
    assert listed is not None
    for name in (*listed[1].split(), "apt-get"):
        write_program(tmp_path / name, 'echo "/lib/${1#*=}"')
    write_program(tmp_path / "id", "echo 1000")
    return tmp_path


def install(programs: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """With no programs but those."""
    assert SHELL is not None
    command = [SHELL, str(root / "firmware_examples" / "install.sh")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(programs)})


def test_with_all_programs_and_libraries_nothing_is_installed(programs: Path, project_root: Path) -> None:
    done = install(programs, project_root)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("compiler", LIBRARIES)
def test_a_compiler_without_its_library_is_told(compiler: str, programs: Path, project_root: Path) -> None:
    write_program(programs / compiler, 'echo "${1#*=}"')
    done = install(programs, project_root)
    assert done.returncode == 4
    assert done.stdout == f"missing: {LIBRARIES[compiler]} of {compiler}\n"
    assert "install as root" in done.stderr


def test_a_program_that_is_not_there_is_told(programs: Path, project_root: Path) -> None:
    (programs / "qemu-system-arm").unlink()
    (programs / "riscv64-unknown-elf-gcc").unlink()
    done = install(programs, project_root)
    assert done.returncode == 4
    assert done.stdout == "missing: qemu-system-arm riscv64-unknown-elf-gcc\n"


def test_what_is_missing_after_the_installation_is_an_error(programs: Path, project_root: Path) -> None:
    write_program(programs / "arm-none-eabi-gcc", 'echo "${1#*=}"')
    write_program(programs / "id", "echo 0")
    done = install(programs, project_root)
    assert done.returncode == 4
    assert "still missing: nano.specs of arm-none-eabi-gcc" in done.stderr
