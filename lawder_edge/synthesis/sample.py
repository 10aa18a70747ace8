"""Writes pictures and their masks: the layout that training reads, a manifest, and nothing twice.

Picture `i` of a folder depends on the request's seed and on `i` alone, so any process can make it, in any order, and
one that is there is not made again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from lawder_edge.data.datasets import first_few
from lawder_edge.data.kept import KEPT
from lawder_edge.data.provenance import (
    MANIFEST,
    Made,
    Manifest,
    ManifestRow,
    Origin,
    Request,
    marked_png,
    read_manifest,
    read_mark,
    write_manifest,
)
from lawder_edge.errors import BadInput, OutputExists
from lawder_edge.files import write_file
from lawder_edge.synthesis.denoiser import mask_planes
from lawder_edge.synthesis.generator import LoadedGenerator
from lawder_edge.synthesis.masks import AskedMask, MaskSource
from lawder_edge.synthesis.memory import memory_told
from lawder_edge.synthesis.solver import DEFAULT, Solver, first_noise, solve, to_pixels
from lawder_edge.training.half import check_half
from lawder_edge.training.interrupt import Interrupt
from lawder_edge.training.processes import first_alone, join_processes

FOLDERS = ("images", "masks")
_MASK = 1


@dataclass(frozen=True)
class SampleResult:
    """made: pictures that this call of this process made, in `seconds`; there: how many the folder holds."""

    made: int
    there: int
    seconds: float


def picture_seed(seed: int, index: int) -> int:
    """The seed of picture `index`, which alone decides its noise. Below 2^63, which JSON readers keep."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] >> 1)


def picture_name(seed: int, index: int) -> str:
    """Its file, in images/ and in masks/. The seed is in it, so that folders of two seeds can be put together."""
    return f"synthetic_{seed}_{index:06d}.png"


def asked_mask(masks: MaskSource, *, seed: int, index: int) -> AskedMask:
    """The mask of picture `index`."""
    return masks.draw(index, rng=np.random.default_rng((seed, _MASK, index)))


def sample(
    generator: LoadedGenerator,
    masks: MaskSource,
    *,
    out: Path,
    n: int,
    seed: int = 0,
    solver: Solver = DEFAULT,
    batch: int = 16,
    resume: bool = False,
    overwrite: bool = False,
    on_done: Callable[[int, int], None] | None = None,
    cpu: bool = False,
) -> SampleResult:
    """Make `n` pictures in `out`/images with their masks in `out`/masks and `out`/manifest.json.

    batch: pictures at a time on a GPU. On a CPU it is one, which takes as long a picture as 16 at a time and makes the
    same seed and number of threads give the same bytes; on a GPU, or with another number of threads, a value may differ
    by a grey level.

    on_done: told the pictures that are done of those that this process has to make.

    Raises: BadInput, OutputExists where `out` holds something else; KeyboardInterrupt after Ctrl-C.
    """
    config = generator.record.config
    if config.condition:
        raise BadInput(
            f"this generator is a teacher (--condition {config.condition}): it draws after a true picture, not after a "
            "mask alone. Train a student with --teacher, and draw with that."
        )
    solver.check()
    for name, value, least in (("n", n, 1), ("batch", batch, 1), ("seed", seed, 0)):
        if value < least:
            raise BadInput(f"{name} is {value}; wanted {least} or more.")
    request = Request(
        generator=generator.sha256, size=config.size, seed=seed, masks=masks.kind, masks_sha256=masks.sha256(),
        **asdict(solver),
    )  # fmt: skip
    about, origin = _about(generator), _origin(generator)
    processes = join_processes(cpu=cpu)
    check_half(solver.precision, processes.device, option="--precision")
    before = read_manifest(out) if resume else None
    with first_alone(processes):
        if processes.is_main_process:
            _make_room(out, request, n=n, resume=resume, overwrite=overwrite)
            for name in FOLDERS:
                (out / name).mkdir(parents=True, exist_ok=True)
            # What was listed before stays listed until all are there, so that a second resume knows it too.
            listed = () if before is None else before.images
            write_manifest(out, Manifest(request, n, False, about, listed, origin))
    rows = {} if before is None else {row.name: row for row in before.images}
    share = range(processes.process_index, n, processes.num_processes)
    todo = [i for i in share if not _is_there(out, i, request, rows.get(picture_name(seed, i)))]
    at_once = 1 if processes.device.type == "cpu" else batch
    started = time.monotonic()
    done = 0
    advice = "Take a smaller --batch." if at_once > 1 else "Free memory, or take a smaller generator."
    with Interrupt() as interrupt, memory_told(batch=at_once, size=config.size, advice=advice):
        denoiser = generator.denoiser.to(processes.device)
        for first in range(0, len(todo), at_once):
            indices = todo[first : first + at_once]
            asked = [asked_mask(masks, seed=seed, index=i) for i in indices]
            seeds = [picture_seed(seed, i) for i in indices]
            labels = torch.from_numpy(np.stack([a.labels for a in asked])).long()
            planes = mask_planes(labels, num_classes=config.num_classes).to(processes.device)
            noise = first_noise(seeds, denoiser.shape).to(processes.device)
            pixels = to_pixels(solve(denoiser, planes, noise, solver))
            for index, picture, mask, own_seed in zip(indices, pixels, asked, seeds, strict=True):
                made = Made(own_seed, mask.source, generator.sha256)
                shown = mask.labels * np.uint8(255) if config.num_classes == 1 else mask.labels
                # The picture last: where it stands, the pair is whole.
                name = picture_name(seed, index)
                write_file(out / "masks" / name, marked_png(shown, made))
                write_file(out / "images" / name, marked_png(picture, made))
                done += 1
                if on_done is not None:
                    on_done(done, len(todo))
            if interrupt.asked and done < len(todo):
                raise KeyboardInterrupt
    seconds = time.monotonic() - started
    processes.wait_for_everyone()
    if processes.is_main_process:
        made_rows = tuple(_row(out, picture_name(seed, i)) for i in range(n))
        write_manifest(out, Manifest(request, n, True, about, made_rows, origin))
    return SampleResult(done, n, seconds)


def _is_there(out: Path, index: int, request: Request, row: ManifestRow | None) -> bool:
    """Whether picture `index` and its mask stand there as they were drawn; what was changed since is drawn again.

    row: what the manifest says of them; before a folder is complete their marks alone tell.
    """
    name = picture_name(request.seed, index)
    files = [out / folder / name for folder in FOLDERS]
    if not all(file.is_file() for file in files):
        return False
    if row is not None:
        return [_sha256(file) for file in files] == [row.image_sha256, row.mask_sha256]
    wanted = (picture_seed(request.seed, index), request.generator)
    return all(made is not None and (made.seed, made.generator) == wanted for made in map(read_mark, files))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _make_room(out: Path, request: Request, *, n: int, resume: bool, overwrite: bool) -> None:
    """Raises: OutputExists, BadInput where pictures would be mixed with others, or overwritten unasked."""
    if resume and overwrite:
        raise BadInput("--resume goes on with the pictures in --out and --overwrite removes them. Give one of them.")
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputExists(f"{out} is a file; wanted a folder. Choose another --out.")
    before = read_manifest(out)
    if foreign := _foreign(out, None if before is None else before.request.seed):
        raise OutputExists(
            f"{out} holds other files than synthetic pictures: {first_few(foreign)}. Choose another --out."
        )
    if before is None:
        return
    if not resume and not overwrite:
        raise OutputExists(
            f"{out} holds {'all' if before.complete else 'some'} of {before.n} synthetic pictures. Add --resume to go "
            "on, or --overwrite to start anew."
        )
    if overwrite:
        _remove(out)
        return
    then, now = asdict(before.request), asdict(request)
    if changed := [name for name in now if then[name] != now[name]]:
        raise OutputExists(
            f"{out} was begun with other options ("
            + "; ".join(f"{name} was {_short(then[name])}, now {_short(now[name])}" for name in changed)
            + "). Resume with the same ones, or choose another --out."
        )
    if n < before.n:
        raise BadInput(
            f"{out} was begun for {before.n} pictures; -n {n} would leave some of them out. Give {before.n}."
        )


def _foreign(out: Path, seed: int | None) -> list[str]:
    """What stands in `out` and is not of an earlier sampling with that seed (None: there was none)."""
    own = () if seed is None else (picture_name(seed, 0).removesuffix("000000.png"),)
    found: list[str] = []
    for entry in sorted(out.iterdir()):
        if entry.is_dir() and entry.name in FOLDERS:
            files = [file.name for file in sorted(entry.iterdir()) if not file.name.startswith(own)]
            found += [f"{entry.name}/{name}" for name in files if not _is_leftover(name)]
        elif not (entry.name in (MANIFEST, KEPT) and own) and not _is_leftover(entry.name):
            found.append(entry.name)
    return found


def _is_leftover(name: str) -> bool:
    """Whether it is a file that a killed process was writing."""
    return name.startswith(".") and name.endswith(".tmp")


def _remove(out: Path) -> None:
    """With what was chosen among them. The manifest last: a folder without it and with pictures would be nobody's."""
    for folder in FOLDERS:
        if (out / folder).is_dir():
            for file in (out / folder).iterdir():
                file.unlink()
    (out / KEPT).unlink(missing_ok=True)
    (out / MANIFEST).unlink()


def _row(out: Path, name: str) -> ManifestRow:
    files = [out / folder / name for folder in FOLDERS]
    made = read_mark(files[0])
    if made is None:
        raise BadInput(f"{files[0]}: is not as it was written. Remove it and its mask, and give --resume.")
    image, mask = map(_sha256, files)
    return ManifestRow(name, made.seed, made.mask, image, mask)


def _about(generator: LoadedGenerator) -> dict[str, object]:
    import diffusers

    from lawder_edge import __version__

    record = generator.record
    return {
        "arm": record.config.arm,
        "generator_steps": record.step,
        "tools": {"lawder-edge": __version__, "torch": str(torch.__version__), "diffusers": diffusers.__version__},
    }


def _origin(generator: LoadedGenerator) -> Origin:
    record = generator.record
    return Origin(record.config.in_channels, record.config.num_classes, record.train_ids, record.train_groups)


def _short(value: object) -> str:
    return f"{value[:8]}..." if isinstance(value, str) and len(value) == 64 else repr(value)
