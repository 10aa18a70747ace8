"""`lawder-edge predict`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def predict(
    source: Annotated[Path, tyro.conf.Positional],
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])] = "order",
    out: Path = Path("predictions"),
    threshold: float | None = None,
    overlay: bool = True,
    skip_bad: bool = False,
    overwrite: bool = False,
    threads: int = 0,
) -> int:
    """Write the mask of an image, or of each image in a folder, of any size.

    Example: lawder-edge predict photos --model order --out masks

    Writes STEM_mask.png (0 or 255; the index of the class where there are several) and STEM_overlay.png. Exit code 2 if
    no image could be read.

    Args:
        source: image file, or folder of images.
        model: model name, checkpoint (.safetensors) or bundle folder.
        out: folder to write into.
        threshold: probability from which a pixel is foreground; the one stored with the weights when left out.
        overlay: also write the image with the mask's outline.
        skip_bad: leave out images that cannot be read, and count them.
        overwrite: replace files that exist.
        threads: of the runtime; 0 leaves the choice to it.
    """
    from lawder_edge.cli.progress import progress
    from lawder_edge.cli.reading import ReadingNotes
    from lawder_edge.errors import BadImage
    from lawder_edge.evaluation.predict_files import check_outputs, find_images, predict_file
    from lawder_edge.loading import load_predictor

    images = find_images(source)
    check_outputs(images, out=out, overlay=overlay, overwrite=overwrite)
    predictor = load_predictor(model, threads=threads)
    cut = predictor.cut(threshold)
    notes = ReadingNotes()
    with progress("predicting") as report:
        for done, image in enumerate(images, start=1):
            try:
                result = predict_file(predictor.runner, image, out=out, threshold=cut, overlay=overlay)
            except BadImage as error:
                if not skip_bad:
                    raise
                notes.left_out(str(image), str(error))
                continue
            report(done, len(images), image.name)
            found = f"{100 * result.area_fraction:.1f} % of the frame" if result.area_fraction else "nothing"
            print(f"{result.mask}: {found}")
    notes.finish(len(images))
    return 2 if notes.bad == len(images) else 0
