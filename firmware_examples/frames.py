"""What a firmware test segments: the golden frames of a C bundle, and what the integer reference makes of them.

    python firmware_examples/frames.py BUNDLE --out FOLDER

writes frames.c and frames.h, with the pictures and the CRC-32 of each mask, and NN.picture.pnm with NN.mask.pgm. The
masks come from the numpy reference of the network's graph, not from its C.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lawder_edge.bundle.processing import to_input
from lawder_edge.bundle.store import Bundle, open_bundle
from lawder_edge.errors import BadInput, LawderError
from lawder_edge.files import write_file

Bytes = npt.NDArray[np.uint8]


def golden_pictures(bundle: Bundle) -> list[Bytes]:
    """The bundle's golden frames at its network's own size, each (H, W, C) uint8."""
    from PIL import Image

    paths = sorted((bundle.path / "golden").glob("*.frame.png"))
    return [resized(np.asarray(Image.open(path).convert("RGB")), bundle) for path in paths]


def resized(frame: Bytes, bundle: Bundle) -> Bytes:
    """frame: (h, w, 3) RGB. Returns: (H, W, C) as the bundle's network takes it."""
    spec = bundle.manifest.input
    planes: Bytes = to_input(frame, (spec.height, spec.width), channels=spec.channels, dtype="uint8")
    return np.ascontiguousarray(planes[0].transpose(1, 2, 0))


def reference_masks(bundle: Bundle, pictures: Sequence[Bytes], *, model: str | None = None) -> list[Bytes]:
    """What the network's `run` has to write for each picture: (H, W) uint8.

    model: what the bundle was exported from; the weights that the package carries for its network when None. Raises
    BadInput where those are other weights.
    """
    from lawder_edge.exporting.outcome import source_model
    from lawder_edge.quantization.network import QuantizedNetwork
    from lawder_edge.targets.c.probability import reference_mask
    from lawder_edge.targets.nhwc import to_graph
    from lawder_edge.targets.registry import ExportSpec

    manifest = bundle.manifest
    network = source_model(bundle, model).computed
    if not isinstance(network, QuantizedNetwork):
        raise BadInput(f"{bundle.path}: exported from weights that are not quantised; wanted those of lawder-edge qat.")
    size = (manifest.input.height, manifest.input.width)
    spec = ExportSpec(
        size=size, precision="int8", channels=manifest.input.channels, classes=manifest.output.classes
    )  # fmt: skip
    graph = to_graph(network.program(size), spec)
    return [reference_mask(graph, picture, manifest.threshold) for picture in pictures]


def write_frames(pictures: Sequence[Bytes], masks: Sequence[Bytes], out: Path) -> None:
    """pictures: (H, W, C) each, masks: (h, w) each. Writes the files that the module's text names."""
    from lawder_edge.targets.c.example import pnm

    out.mkdir(parents=True, exist_ok=True)
    samples = pictures[0].size
    rows = [",".join(map(str, picture.reshape(-1))) for picture in pictures]
    data = ",\n".join(f"{{{row}}}" for row in rows)
    crcs = ", ".join(f"0x{zlib.crc32(mask.tobytes()):08x}u" for mask in masks)
    header = (
        "/* By frames.py: pictures, and the CRC-32 of the mask that the integer reference makes of each. */\n"
        f"#include <stdint.h>\n#define FRAMES {len(pictures)}u\n"
        f"extern const uint8_t frames[FRAMES][{samples}];\nextern const uint32_t frame_crc[FRAMES];\n"
    )
    source = (
        '#include "frames.h"\n'
        f'__attribute__((section(".frames"))) const uint8_t frames[FRAMES][{samples}] = {{\n{data}\n}};\n'
        f"const uint32_t frame_crc[FRAMES] = {{{crcs}}};\n"
    )
    for number, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
        write_file(out / f"{number:02d}.picture.pnm", pnm(picture))
        write_file(out / f"{number:02d}.mask.pgm", pnm(mask[:, :, None]))
    write_file(out / "frames.h", header.encode())
    write_file(out / "frames.c", source.encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path, help="of the target c")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--model", help="what the bundle was exported from, where the package does not carry it")
    arguments = parser.parse_args()
    try:
        bundle = open_bundle(arguments.bundle)
        pictures = golden_pictures(bundle)
        write_frames(pictures, reference_masks(bundle, pictures, model=arguments.model), arguments.out)
    except LawderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(pictures)} frames with the integer reference's masks in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
