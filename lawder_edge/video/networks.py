"""What a person names becomes a network for video, on the runtime that they want or the best one here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.exporting.kept import Wanted, cache_folder, kept_bundle
from lawder_edge.loading import Predictor, load_predictor
from lawder_edge.targets.registry import get_target, targets

# In the order that `auto` takes them, the most tested first: 4.7, 6.1 and 5.0 ms on x86 (benchmarks/results/bench.md),
# where all of a frame of video takes four times as long.
BEST_FIRST = ("onnx", "openvino", "tflite")
TORCH = "torch"


@dataclass(frozen=True)
class Network:
    """A predictor, what runs it, and a sentence on where it came from."""

    predictor: Predictor
    runtime: str
    remark: str

    @property
    def name(self) -> str:
        """As it is shown on pictures: `order fp32 onnx`."""
        model = self.predictor.model.rpartition(":")[2]
        return f"{model} {self.predictor.precision} {self.runtime}"


def open_network(
    text: str,
    *,
    runtime: str = "auto",
    threads: int = 0,
    cache: Path | None = None,
    on_export: Callable[[str], None] = lambda said: None,
) -> Network:
    """text: a bundle folder, which brings its runtime; a model name or checkpoint, exported once for `runtime`.

    runtime: auto, torch, or a target of `lawder-edge targets`. cache: where exports are kept; see `cache_folder`.
    on_export: told when an export begins, since it takes half a minute.

    Raises BadInput for a runtime that is not known or not that of the bundle, Unavailable for one that is not here, and
    what loading and exporting raise.
    """
    if Path(text).is_dir():
        predictor = load_predictor(text, threads=threads)
        target = predictor.bundle.manifest.target if predictor.bundle else TORCH
        if runtime not in ("auto", target):
            raise BadInput(f"{text} is a bundle for {target}, not for {runtime}. Leave --runtime out.")
        return Network(predictor, target, f"bundle {text}, run by {target}")
    weights = _weights_file(text)
    chosen = _choose(runtime) if weights is not None else TORCH
    if weights is None and runtime not in ("auto", TORCH):
        raise BadInput(
            f"{text} has no weights file to export from. Leave --runtime out, or export it: lawder-edge export"
        )
    if chosen == TORCH or weights is None:
        return Network(load_predictor(text, threads=threads), TORCH, f"{text}, run by PyTorch")
    folder = kept_bundle(
        Wanted(text, weights, chosen, targets()[chosen].usual_precision),
        cache=cache or cache_folder(),
        on_export=lambda task: on_export(f"exporting {text} to {chosen}, once, into {task.out}"),
    )
    return Network(load_predictor(str(folder), threads=threads), chosen, f"{text}, run by {chosen} from {folder}")


def _choose(runtime: str) -> str:
    if runtime == "auto":
        ready = (name for name in BEST_FIRST if not _missing(name))
        return next(ready, TORCH)
    if runtime == TORCH:
        return TORCH
    missing = _missing(runtime)
    if missing:
        raise Unavailable(
            f"--runtime {runtime} needs {', '.join(missing)}, not installed here. Install with: "
            f"pip install 'lawder-edge[{get_target(runtime).extra}]'"
        )
    return runtime


def _missing(name: str) -> tuple[str, ...]:
    record = get_target(name)
    return record.missing((*record.to_export, *record.to_run))


def _weights_file(text: str) -> Path | None:
    """The file whose bytes tell one network from another; None for a module without one."""
    from lawder_edge.weights import bundled_weights

    _, separator, file = text.partition("=")
    path = Path(file) if separator and not Path(text).exists() else Path(text)
    return path if path.is_file() else bundled_weights(text)
