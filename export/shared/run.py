"""Segment images with this bundle.

    python run.py IMAGE_OR_FOLDER ... --out DIR     writes NAME_mask.png and NAME_overlay.png
    python run.py --check                           compares this device with the golden frames in the bundle

Results go to stdout, messages to stderr. Exit codes: 0 ok, 2 bad input, 3 the check failed, 4 a package is missing.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load_device() -> Any:
    """device.py of this bundle, whatever else of that name is installed."""
    spec = importlib.util.spec_from_file_location("bundle_device", HERE / "device.py")
    if spec is None or spec.loader is None or not (HERE / "device.py").is_file():
        sys.exit("error: device.py is missing. Copy the bundle again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# A cache folder would be files that the manifest does not list.
sys.dont_write_bytecode = True
device = load_device()


def needs() -> str:
    """What network.py says that it needs: read, not executed, since it was not compared with the manifest yet."""
    try:
        return ast.get_docstring(ast.parse((HERE / device.NETWORK).read_bytes())) or ""
    except (OSError, SyntaxError, ValueError):
        return ""  # told when the bundle is opened


def open_model(threads: int = 0) -> Any:
    """The bundle's network, opened after every file was compared. threads: 0 for the runtime's choice. Raises Failure.

    network.py holds PACKAGES, which pip has to install, and `open_network(device, settings, threads)`, which gives a
    `Network` and raises Failure, or ImportError for a runtime that is missing.
    """
    settings = device.open_bundle(HERE)
    target = device.load_sibling(settings, device.NETWORK)
    try:
        processing = device.load_sibling(settings, device.PROCESSING)
        return device.Model(settings, processing, target.open_network(device, settings, threads))
    except ImportError as error:
        raise device.Failure(f"{error.name} is missing: pip install {target.PACKAGES}", 4) from error


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{needs()}", formatter_class=argparse.RawDescriptionHelpFormatter, prog="run.py"
    )
    parser.add_argument("images", nargs="*", type=Path, help="image files or folders")
    parser.add_argument("--out", type=Path, help="folder for masks and overlays")
    parser.add_argument("--overwrite", action="store_true", help="replace masks and overlays that exist")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--check", action="store_true", help="run the golden frames instead of images")
    options = parser.parse_args(argv)
    if not options.check and (not options.images or options.out is None):
        parser.error("give images and --out DIR, or --check")
    return options


def main(argv: Sequence[str]) -> int:
    """The command line. Returns: the exit code."""
    options = parse(argv)
    try:
        if options.check:
            return int(device.check(open_model(options.threads), HERE / "golden"))
        images = device.find_images(options.images)
        outputs = device.plan_outputs(images, options.out, overwrite=options.overwrite)
        model = open_model(options.threads)
        options.out.mkdir(parents=True, exist_ok=True)
        return int(device.segment(model, images, outputs))
    except device.Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return int(failure.code)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
