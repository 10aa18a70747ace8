"""What Arm's compiler for Ethos-U NPUs estimates of an int8 .tflite, and what it leaves to the CPU: `COMMANDS`.

Nothing is run: times are Vela's estimates, and there is no NPU among the packages to check its output on.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

COMMANDS = (
    "python -m pip install 'lawder-edge[vela]'",
    "lawder-edge export --target tflite --model order_128 --precision int8 --size 128 128 --name order_128 "
    "--out order-tflite-128",
    "lawder-edge export --target tflite --model order --precision int8 --size 256 256 --name order_256 "
    "--out order-tflite-256",
    "python benchmarks/ethos_u.py order-tflite-*/*.tflite --out benchmarks/results/ethos_u.md",
)
# Name and Vela's options of each.
ACCELERATORS = {
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u55-256": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65-256": ("Ethos_U65_High_End", "Dedicated_Sram"),
}


@dataclass(frozen=True)
class Estimate:
    """Of one accelerator. sram_kib: that it works in. cpu, npu: operators by kind and by number."""

    accelerator: str
    time_ms: float
    sram_kib: float
    macs: int
    cpu: tuple[tuple[str, int], ...]
    npu: int


def estimate(model: Path, accelerator: str, folder: Path) -> Estimate:
    """By a process of Vela's. Raises SystemExit with what it said where it fails."""
    system, memory = ACCELERATORS[accelerator]
    command = [
        sys.executable, "-m", "ethosu.vela", str(model), "--accelerator-config", accelerator, "--config",
        "Arm/vela.ini", "--system-config", system, "--memory-mode", memory, "--show-cpu-operations", "--output-dir",
        str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    with next(folder.glob("*_summary_*.csv")).open(newline="") as file:
        row = next(csv.DictReader(file))
    npu = re.search(r"^NPU operators = (\d+)", done.stdout, re.M)
    count = re.search(r"^CPU operators = (\d+)", done.stdout, re.M)
    # Of each operator that it refuses the kind and, on the next line, why.
    refused = re.findall(r"operator: (\w+), .*\nReason: (.*)", done.stdout)
    kinds = Counter(f"{kind} ({why})" for kind, why in refused)
    if npu is None or count is None or int(count[1]) != sum(kinds.values()):
        raise SystemExit(f"Vela's summary reads otherwise than it did in 5.2:\n{done.stdout}")
    sram = float(row["sram_memory_used"])
    cpu = tuple(sorted(kinds.items()))
    return Estimate(
        accelerator, float(row["inference_time"]) * 1e3, sram, round(float(row["nn_macs"])), cpu, int(npu[1])
    )


def table(model: str, found: Sequence[Estimate]) -> str:
    """In Markdown."""
    lines = [
        f"## {model}", "",
        "| accelerator | time, ms | SRAM, KiB | multiplications | operators on the NPU | on the CPU |",
        "|---|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    for e in found:
        cpu = ", ".join(f"{n} {kind}" for kind, n in e.cpu) or "none"
        lines.append(f"| {e.accelerator} | {e.time_ms:.2f} | {e.sram_kib:.0f} | {e.macs:,} | {e.npu} | {cpu} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="\n".join((__doc__ or "", *COMMANDS)), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+", help="int8 .tflite files")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    parts = [
        "# On Ethos-U NPUs, as Vela estimates it\n",
        f"Vela {version('ethos-u-vela')}. Nothing was run: estimates, without the time of the operators that stay on "
        "the CPU.\n",
        *(f"    {line}" for line in COMMANDS),
        "",
    ]
    for model in arguments.models:
        found = []
        for accelerator in ACCELERATORS:
            with tempfile.TemporaryDirectory() as folder:
                found.append(estimate(model, accelerator, Path(folder)))
        parts.append(table(model.name, found))
        print(parts[-1])
    arguments.out.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
