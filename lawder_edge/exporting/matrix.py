"""How the artifacts of a folder, PyTorch and the integer reference agree with each other, on the same images.

Each runs in a process of its own: one that crashes or hangs costs its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from lawder_edge.bundle.certificate import INT8_LIMITS, ImageAgreement, MeanAndWorst
from lawder_edge.bundle.manifest import Manifest, OutputKind
from lawder_edge.bundle.processing import Float, Labels
from lawder_edge.bundle.runner import Runner
from lawder_edge.bundle.store import Bundle, open_bundle, read_certificate
from lawder_edge.errors import BadBundle, BadInput, LawderError, Unavailable
from lawder_edge.evaluation.evaluate import EvalPair
from lawder_edge.exporting.images import images_of
from lawder_edge.exporting.judge import agree, mean_and_worst
from lawder_edge.exporting.processes import at_a_time, in_process
from lawder_edge.exporting.verify import hostile_images
from lawder_edge.intervals import Interval, bootstrap_mean
from lawder_edge.targets.registry import load_runner

if TYPE_CHECKING:
    from lawder_edge.weights import LoadedModel

# Of Dice against the truth between any two runtimes of one int8 network.
LARGEST_DICE_DIFFERENCE = 0.003
PYTORCH, REFERENCE = "pytorch", "integer reference"


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


@dataclass(frozen=True)
class Network:
    """What a bundle was exported from. weights: their sha256, which alone tells it together with the threshold."""

    model: str = field(compare=False)
    weights: str
    threshold: float

    def __str__(self) -> str:
        return f"{self.model} {self.weights[:8]} at {self.threshold:g}"


# What PyTorch has to compute for a bundle: precision, (h, w) and network.
Computes: TypeAlias = tuple[str, tuple[int, int], Network]


@dataclass(frozen=True)
class Outputs:
    """What one source gave. classes: as of a runner. labels: (H, W) uint8 an image, at its own size. raw: (1, K, h, w)
    an image, of `kind`. hostile: classes (h, w) at the network's size of each hostile frame.
    """

    name: str
    precision: str
    network: Network
    state: str
    kind: OutputKind
    classes: int
    labels: tuple[Labels, ...]
    raw: tuple[Float, ...]
    hostile: tuple[Labels, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the network's input."""
        height, width = self.hostile[0].shape
        return height, width

    @property
    def computes(self) -> Computes:
        """What PyTorch has to compute to be compared with it."""
        return self.precision, self.size, self.network


@dataclass(frozen=True)
class Row:
    """One source against PyTorch with the same weights, at the same precision.

    state: of the bundle's certificate, or `reference`; `unavailable` or `failed`, or `no-reference` where PyTorch gave
    nothing to compare with, the reason then in `reason`. A rejected one stays `rejected` without PyTorch too.
    dice: against the truth, which needs no PyTorch; drop: PyTorch's less its own; surface_dice: at 2 px; largest:
    difference of logits, None where they are not given; hostile: least share of equal pixels on the hostile frames.
    network: as `Network` is told, "" where a bundle does not open.
    """

    name: str
    precision: str
    state: str
    reason: str = ""
    dice: Interval | None = None
    drop: Interval | None = None
    mask_dice: MeanAndWorst | None = None
    surface_dice: MeanAndWorst | None = None
    largest: float | None = None
    hostile: float | None = None
    network: str = ""


@dataclass(frozen=True)
class Pairing:
    """Two int8 runtimes of one network. mask_dice: between their masks. dice_difference: of their mean Dice against
    the truth. network: as in `Row`.
    """

    first: str
    second: str
    mask_dice: MeanAndWorst
    dice_difference: float
    same_pixels: float
    network: str

    @property
    def holds(self) -> bool:
        """Whether both draw the same masks, by the limits of an int8 certificate."""
        return (
            self.mask_dice.mean >= INT8_LIMITS.mask_dice_mean
            and self.mask_dice.worst >= (INT8_LIMITS.mask_dice_worst or 0.0)
            and abs(self.dice_difference) <= LARGEST_DICE_DIFFERENCE
        )


@dataclass(frozen=True)
class Matrix:
    """source: of the images, with counts."""

    source: str
    rows: tuple[Row, ...]
    pairings: tuple[Pairing, ...]


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
    Raises BadInput and BadDataset for the images, BadInput for bundles of other numbers of classes than one another's;
    what a source raises becomes its row.
    """
    manifests, broken = _opened(bundles)
    missing = dict[Computes, str]()
    classes = _classes(manifests)
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


def matrix_of(
    given: Sequence[Outputs],
    truths: Sequence[EvalPair],
    *,
    source: str,
    failed: Sequence[Row] = (),
    missing: Mapping[Computes, str] | None = None,
) -> Matrix:
    """Pure: every source against PyTorch of its network, precision and size, and int8 runtimes of one network and size
    against each other. missing: why PyTorch did not compute what it had to.
    """
    baseline = {outputs.computes: outputs for outputs in given if _is_pytorch(outputs)}
    unknown = "PyTorch gave nothing for this network, precision and size"
    rows = [
        _row(o, baseline[o.computes], truths)
        if o.computes in baseline
        else _row_without_pytorch(o, truths, (missing or {}).get(o.computes, unknown))
        for o in given
    ]
    integers = [o for o in given if o.precision == "int8" and not _is_pytorch(o)]
    pairings = [_pairing(a, b, truths) for a, b in combinations(integers, 2) if a.computes == b.computes]
    return Matrix(source, (*rows, *failed), tuple(pairings))


def _is_pytorch(outputs: Outputs) -> bool:
    return outputs.state == "reference" and outputs.name.split(" ")[0] == PYTORCH


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
    names = _names(manifest)
    state = "reference" if source.kind != "bundle" else certificate.status if certificate else "no certificate"
    name = names[source.kind]
    return Outputs(
        name,
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


def _agreement(truth: EvalPair, outputs: Outputs, baseline: Outputs, n: int) -> ImageAgreement:
    return agree(
        truth.id, truth.labels, artifact=outputs.labels[n], pytorch=baseline.labels[n], classes=outputs.classes
    )


def _row(outputs: Outputs, baseline: Outputs, truths: Sequence[EvalPair]) -> Row:
    scores = [_agreement(t, outputs, baseline, n) for n, t in enumerate(truths)]
    ids = [s.id for s in scores]
    comparable = outputs.kind == baseline.kind
    largest = (
        max(float(np.abs(a - b).max()) for a, b in zip(outputs.raw, baseline.raw, strict=True)) if comparable else None
    )
    return Row(
        outputs.name,
        outputs.precision,
        outputs.state,
        dice=_interval([s.dice_artifact for s in scores], truths),
        drop=_interval([s.dice_pytorch - s.dice_artifact for s in scores], truths),
        mask_dice=mean_and_worst([s.mask_dice for s in scores], ids),
        surface_dice=mean_and_worst([s.surface_dice for s in scores], ids),
        largest=largest,
        hostile=min(float(np.mean(a == b)) for a, b in zip(outputs.hostile, baseline.hostile, strict=True)),
        network=str(outputs.network),
    )


def _row_without_pytorch(outputs: Outputs, truths: Sequence[EvalPair], reason: str) -> Row:
    own = [_agreement(t, outputs, outputs, n).dice_artifact for n, t in enumerate(truths)]
    return Row(
        outputs.name,
        outputs.precision,
        "rejected" if outputs.state == "rejected" else "no-reference",
        f"no PyTorch to compare with: {reason}",
        dice=_interval(own, truths),
        network=str(outputs.network),
    )


def _interval(values: list[float], truths: Sequence[EvalPair]) -> Interval:
    return bootstrap_mean(np.array(values), groups=[t.group for t in truths], seed=0)


def _pairing(a: Outputs, b: Outputs, truths: Sequence[EvalPair]) -> Pairing:
    # `b` stands in PyTorch's place.
    scores = [_agreement(t, a, b, n) for n, t in enumerate(truths)]
    same = [float(np.mean(x == y)) for x, y in zip(a.labels, b.labels, strict=True)]
    return Pairing(
        a.name,
        b.name,
        mean_and_worst([s.mask_dice for s in scores], [s.id for s in scores]),
        float(np.mean([s.dice_artifact for s in scores]) - np.mean([s.dice_pytorch for s in scores])),
        float(np.mean(same)),
        str(a.network),
    )
