"""Run the artifacts of a folder, PyTorch and the integer reference on the same images, and compare what they give.

Each runs in a process of its own: one that crashes or hangs costs its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, open_bundle, read_certificate
from lawder_edge.errors import BadBundle, BadInput, LawderError, Unavailable
from lawder_edge.exporting.images import images_of
from lawder_edge.exporting.matrix import PYTORCH, REFERENCE, Computes, Matrix, Network, Outputs, Row, matrix_of
from lawder_edge.exporting.processes import at_a_time, in_process
from lawder_edge.exporting.verify import hostile_images
from lawder_edge.targets.registry import load_runner

if TYPE_CHECKING:
    from lawder_edge.weights import LoadedModel


@dataclass(frozen=True)
class ImageChoice:
    """What to compare on, as in `images.images_of`."""

    data: Path | None = None
    split: tuple[Path, ...] = ()
    limit: int = 16


@dataclass(frozen=True)
class Source:
    """What gives masks: `bundle` runs the artifact; `pytorch` the network that it was exported from, at its precision;
    `reference` the integer arithmetic in numpy, of an int8 one. model: as in `compare_all`.
    """

    kind: Literal["bundle", "pytorch", "reference"]
    bundle: Path
    model: str | None = None


def bundles_in(folder: Path) -> tuple[Path, ...]:
    """The bundles right below a folder, rejected ones too. Raises BadInput where there is none."""
    # A hidden one is what an export that was killed had not finished.
    found = tuple(sorted(p.parent for p in folder.glob("*/manifest.json") if not p.parent.name.startswith(".")))
    if not found:
        raise BadInput(f"{folder} holds no bundle; wanted a folder of bundles, as export --target all writes it.")
    return found


def compare_all(
    bundles: Sequence[Path],
    choice: ImageChoice,
    *,
    model: str | None = None,
    timeout_s: float = 1800.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Matrix:
    """Run everything on the same images. model: as `load_model` takes it, for the bundles of its weights; the others
    are held against the weights that the package carries.

    Two run at a time where the machine has two cores. progress: called with sources done, sources in all, and the next.
    Raises BadInput and BadDataset for the images, BadInput for bundles of other numbers of classes than one another's
    and for a `model` that none of them was exported from, what `load_model` raises for it; what a source raises becomes
    its row.
    """
    manifests, broken = _opened(bundles)
    missing = dict[Computes, str]()
    classes = _classes(manifests)
    if model is not None and manifests:
        _check_source(model, manifests)
    sources = list(_sources(manifests, model))
    found_of: list[Outputs | Row] = []
    pool = ThreadPoolExecutor(at_a_time())
    try:
        running = [pool.submit(_isolated, source, choice, timeout_s) for source in sources]
        for n, (source, one) in enumerate(zip(sources, running, strict=True)):
            if progress:
                progress(n, len(sources), f"{source.bundle.name} {source.kind}")
            found = one.result()
            found_of.append(found)
            if source.kind == "pytorch" and isinstance(found, Row):
                missing[_computes(manifests[source.bundle])] = found.reason
    finally:
        pool.shutdown(cancel_futures=True)
    if progress:
        progress(len(sources), len(sources), "")
    images = images_of(choice.data, choice.split, limit=choice.limit, classes=classes)
    named = told_apart(found_of, sources)
    given = [found for found in named if isinstance(found, Outputs)]
    failed = [*(found for found in named if isinstance(found, Row)), *broken]
    return matrix_of(given, list(images.read()), source=images.source, failed=failed, missing=missing)


def told_apart(found: Sequence[Outputs | Row], sources: Sequence[Source]) -> list[Outputs | Row]:
    """Those of one network, target and precision, such as of two sizes or one that was rejected, by their folder or
    size.
    """
    names = [_told(one) for one in found]

    def own(one: Outputs | Row, source: Source) -> str:
        if source.kind == "bundle":
            return source.bundle.name
        return f"{one.name} {'x'.join(map(str, one.size))}" if isinstance(one, Outputs) else one.name

    return [
        replace(one, name=own(one, source)) if names.count(_told(one)) > 1 else one
        for one, source in zip(found, sources, strict=True)
    ]


def _told(one: Outputs | Row) -> tuple[str, str, str]:
    return str(one.network), one.precision, one.name


def outputs_of(source: Source, choice: ImageChoice) -> Outputs:
    """What a source gives on the chosen images, in this process. Raises what loading and running raise."""
    bundle = open_bundle(source.bundle)
    manifest = bundle.manifest
    runner = _runner(source)
    certificate = read_certificate(bundle)
    labels, raw = [], []
    for pair in images_of(choice.data, choice.split, limit=choice.limit, classes=runner.classes).read():
        output = runner.infer(runner.prepare(pair.frame))
        raw.append(output)
        labels.append(runner.finish_labels(output, (pair.frame.shape[0], pair.frame.shape[1])))
    hostile = tuple(
        runner.finish_labels(runner.infer(runner.prepare(pair.frame)), runner.size)
        for pair in hostile_images(runner.size).read()
    )
    state = "reference" if source.kind != "bundle" else certificate.status if certificate else "no certificate"
    return Outputs(
        _names(manifest)[source.kind],
        manifest.precision,
        _network(manifest),
        state,
        runner.kind,
        runner.classes,
        tuple(labels),
        tuple(raw),
        hostile,
    )


def _network(manifest: Manifest) -> Network:
    return Network(manifest.weights.model, manifest.weights.sha256, manifest.threshold)


def _computes(manifest: Manifest) -> Computes:
    return manifest.precision, (manifest.input.height, manifest.input.width), _network(manifest)


def _opened(bundles: Sequence[Path]) -> tuple[dict[Path, Manifest], list[Row]]:
    """What each bundle says of itself, and a row for each that does not open."""
    manifests, broken = dict[Path, Manifest](), list[Row]()
    for path in bundles:
        try:
            manifests[path] = open_bundle(path).manifest
        except BadBundle as error:
            broken.append(Row(path.name, "-", "failed", str(error)))
    return manifests, broken


def _classes(manifests: Mapping[Path, Manifest]) -> int:
    found = {manifest.output.classes: path.name for path, manifest in manifests.items()}
    if len(found) > 1:
        told = ", ".join(f"{name} has {count}" for count, name in sorted(found.items()))
        raise BadInput(
            f"bundles of networks with other numbers of classes: {told}; wanted as many in each, since "
            "their masks are read differently. Put the bundles of each into a folder of its own."
        )
    return next(iter(found), 1)


def _check_source(model: str, manifests: Mapping[Path, Manifest]) -> None:
    from lawder_edge.weights import load_model

    given = {load_model(model, int8=int8).sha256 for int8 in {m.precision == "int8" for m in manifests.values()}}
    wanted = {path.name: manifest.weights.sha256 for path, manifest in manifests.items()}
    if not given & set(wanted.values()):
        told = ", ".join(f"{name} from {sha256[:8]}" for name, sha256 in sorted(wanted.items()))
        raise BadInput(
            f"--model {model} has weights {' and '.join(sorted(sha[:8] for sha in given))}, of which no bundle was "
            f"exported ({told}). Name the checkpoint of one of these, or leave --model out."
        )


def _sources(manifests: Mapping[Path, Manifest], model: str | None) -> Iterator[Source]:
    seen: set[Computes] = set()
    for path, manifest in manifests.items():
        computes = _computes(manifest)
        if computes not in seen:
            seen.add(computes)
            yield Source("pytorch", path, model)
            if manifest.precision == "int8":
                yield Source("reference", path, model)
        yield Source("bundle", path, model)


def _runner(source: Source) -> Runner:
    from lawder_edge.exporting.integer_reference import IntegerReference
    from lawder_edge.threads import limit_threads
    from lawder_edge.weights import TorchRunner

    bundle = open_bundle(source.bundle)
    manifest = bundle.manifest
    if source.kind == "bundle":
        return load_runner(bundle, threads=1)
    limit_threads(1)
    loaded = _exported_from(bundle, source.model)
    size = (manifest.input.height, manifest.input.width)
    channels, classes, threshold = manifest.input.channels, manifest.output.classes, manifest.threshold
    if source.kind == "reference" and loaded.quantized is not None:
        return IntegerReference(loaded.quantized, size=size, channels=channels, classes=classes, threshold=threshold)
    network = loaded.reference(manifest.precision)
    return TorchRunner(network, size=size, channels=channels, classes=classes, threshold=threshold)


def _exported_from(bundle: Bundle, model: str | None) -> LoadedModel:
    """As `outcome.source_model`; bundles that are not of `model` are of the carried weights, or of none at hand.

    Raises what it raises for `model`.
    """
    from lawder_edge.exporting.outcome import OtherWeights, source_model

    try:
        return source_model(bundle, model)
    except OtherWeights as error:
        if model is not None:
            with suppress(OtherWeights):
                return source_model(bundle)
        raise error


def _names(manifest: Manifest) -> dict[str, str]:
    """What a row calls a source of that bundle, by its kind."""
    return {"bundle": manifest.target, "pytorch": PYTORCH, "reference": REFERENCE}


def _isolated(source: Source, choice: ImageChoice, timeout_s: float) -> Outputs | Row:
    manifest = open_bundle(source.bundle).manifest
    name, network = _names(manifest)[source.kind], str(_network(manifest))
    advice = f"Compare that bundle alone to see where it stops: lawder-edge verify {source.bundle}"
    try:
        return in_process(outputs_of, source, choice, timeout_s=timeout_s, advice=advice)
    except Unavailable as error:
        return Row(name, manifest.precision, "unavailable", str(error), network=network)
    except LawderError as error:
        return Row(name, manifest.precision, "failed", str(error), network=network)
