"""What `lawder-edge bench` measures where nothing is named: the bundled weights, in PyTorch and in every target."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# A cold export takes 10 to 20 s, most of it imports: two at a time use two cores.
_AT_A_TIME = 2
MODEL = "order"


def cache_folder() -> Path:
    """Where bundles of this version are kept for the next time."""
    from lawder_edge.bench.machine import installed_version

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lawder-edge" / f"bench-{installed_version('lawder-edge') or 'source'}-{_weights_hash()}"


def bundled_sources(folder: Path | None = None) -> tuple[str, ...]:
    """MODEL, and a bundle of it for every target and precision that can be exported here, made where it is missing.

    What cannot be exported is told on stderr, and is no row. folder: where bundles are kept, `cache_folder` when left
    out.
    """
    from lawder_edge.targets.registry import targets

    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = []
    for precision in ("fp32", "int8"):
        for name, record in targets().items():
            missing = record.missing((*record.to_export, *record.to_run))
            if precision not in record.precisions:
                continue
            if record.lacks_program():
                print(f"left out {name} {precision}: {record.programs_install}", file=sys.stderr)
                continue
            if missing:
                print(
                    f"left out {name} {precision}: needs {', '.join(missing)}: pip install "
                    f"'lawder-edge[{record.extra}]'",
                    file=sys.stderr,
                )
                continue
            wanted.append((name, precision, folder / f"{MODEL}-{name}-{precision}"))
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        made = list(pool.map(lambda w: _make(*w), wanted))
    return (MODEL, *(str(out) for (_, _, out), is_there in zip(wanted, made, strict=True) if is_there))


def _make(target: str, precision: str, out: Path) -> bool:
    """Export one bundle in a process of its own, unless it is there. Returns: whether it is there now."""
    if (out / "certificate.json").is_file():
        return True
    command = [
        sys.executable, "-m", "lawder_edge", "export", "--model", MODEL, "--target", target, "--precision", precision,
        "--out", str(out), "--overwrite",
    ]  # fmt: skip
    print(f"exporting {MODEL} to {target} {precision}, once", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].removeprefix("error: ")
        print(f"left out {target} {precision}: {said}", file=sys.stderr)
    return done.returncode == 0


def _weights_hash() -> str:
    """Eight digits that change with the bundled weights, so that no bundle of others is taken for one of these."""
    import hashlib

    from lawder_edge.weights import bundled_weights

    digest = hashlib.sha256()
    for int8 in (False, True):
        path = bundled_weights(MODEL, int8=int8)
        digest.update(path.read_bytes() if path else b"")
    return digest.hexdigest()[:8]
