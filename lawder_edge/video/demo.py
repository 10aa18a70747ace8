"""A video put together from what a person asked for: source, networks, those who look on, and what is written."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from lawder_edge.errors import BadInput, Unavailable
from lawder_edge.files import make_way, write_file
from lawder_edge.video.frames import Controls, Source, Viewer
from lawder_edge.video.live import without_password
from lawder_edge.video.networks import Network, open_network
from lawder_edge.video.page import Page
from lawder_edge.video.pipeline import Outcome, Pipeline, Setting
from lawder_edge.video.record import ClipWriter, Recorder, check_clip
from lawder_edge.video.report import RunReport, report_of, to_json, to_markdown
from lawder_edge.video.segment import Segmenter
from lawder_edge.video.sources import check_fps
from lawder_edge.video.steadiness import Steady, SteadyConfig

# Of the bundled clip, where it is only written: it has no end of its own.
CLIP_FRAMES = 300
_CLIP_FPS = 30.0


@dataclass(frozen=True)
class DemoRequest:
    """The options of `lawder-edge demo`. source: None for the procedural clip of `size` (H, W), `seed` and `fps`.

    models: the first is shown, the others can be chosen. compare: beside the first. show: in a window. serve: HOST:PORT
    of a web page. token: what a browser must know. cpu: cores that this process may use, 0 for all; it stays limited
    afterwards.
    """

    source: str | None = None
    models: tuple[str, ...] = ("order",)
    runtime: str = "auto"
    compare: str | None = None
    show: bool = False
    serve: str = ""
    token: str = ""
    save: Path | None = None
    record: Path | None = None
    report: Path | None = None
    vp9: bool = False
    frames: int = 0
    threshold: float | None = None
    steady: SteadyConfig = field(default_factory=SteadyConfig)
    crop: bool = True
    judge: bool = True
    blur_text: bool = True
    frame_skip: int | Literal["auto"] = "auto"
    max_fps: float = 0.0
    fps: float | None = None
    size: tuple[int, int] = (360, 480)
    seed: int = 0
    cpu: int = 0
    overwrite: bool = False

    def check(self) -> None:
        """Make the folders of clip and report. Raises BadInput and OutputExists for what could only fail later."""
        if not self.models:
            raise BadInput("--model names nothing. Give a bundle folder, a model name or a checkpoint.")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise BadInput(f"threshold {self.threshold}: wanted a probability between 0 and 1.")
        skip = 0 if self.frame_skip == "auto" else self.frame_skip
        numbers: tuple[tuple[str, float], ...] = (
            ("--frames", self.frames), ("--max-fps", self.max_fps), ("--cpu", self.cpu), ("--frame-skip", skip),
            ("--seed", self.seed),
        )  # fmt: skip
        for name, value in numbers:
            # Not by what is below 0: what is not a number is below nothing.
            if not 0 <= value < math.inf:
                raise BadInput(f"{name} {value}: wanted 0 or more, and finite.")
        check_fps(self.fps)
        if self.save is not None:
            check_clip(self.save, overwrite=self.overwrite)
        if self.report is not None:
            if self.report.suffix not in (".json", ".md"):
                raise BadInput(f"{self.report}: a report is written as .json or .md.")
            make_way(self.report, overwrite=self.overwrite)

    @property
    def shown(self) -> bool:
        """Whether someone looks on: as asked for, or where nothing is written."""
        return self.show or bool(self.serve) or (self.save is None and self.record is None)


@dataclass(frozen=True)
class DemoResult:
    """What a run came to. written: files and folders. remarks: what the user should know, a sentence each."""

    outcome: Outcome
    report: RunReport
    written: tuple[Path, ...]
    remarks: tuple[str, ...]


def run_demo(
    request: DemoRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_note: Callable[[str], None] = lambda said: None,
    on_progress: Callable[[int], None] = lambda shown: None,
) -> DemoResult:
    """Run until the source ends, `stop` says so, or the window is closed. Files are whole afterwards, come what may.

    on_note: told what runs what. on_progress: told how many frames were shown.

    Raises BadInput, OutputExists, Unavailable, and what opening source and networks raises.
    """
    request.check()
    threads = limit_cores(request.cpu)
    with contextlib.ExitStack() as stack:
        source = _source(request)
        stack.callback(source.close)
        networks = [
            open_network(text, runtime=request.runtime, threads=threads, on_export=on_note)
            for text in (request.models[0], *([request.compare] if request.compare else []), *request.models[1:])
        ]
        for network in networks:
            network.predictor.cut(request.threshold)
            on_note(network.remark)
        controls = Controls(threshold=request.threshold, bundles=tuple(n.name for n in networks))
        clip, recorder = _recorders(request, controls, source)
        viewers = _viewers(request, controls, networks, recorder)
        for viewer in viewers:
            if isinstance(viewer, Page):
                on_note(f"watch at {viewer.url}")
            stack.callback(viewer.close)
        pipeline = Pipeline(
            source, [_segmenter(n, request.steady) for n in networks], controls,
            viewers=viewers, recorders=[r for r in (clip, recorder) if r is not None],
            setting=_setting(request, source), stop=stop, on_progress=on_progress,
            notes=lambda: (clip.stopped if clip else "", recorder.stopped),
        )  # fmt: skip
        outcome = pipeline.run()
    written = (*([clip.path] if clip and clip.written else []), *recorder.recordings, *outcome.screenshots)
    missed = f"{clip.path}: the encoder had no time for {clip.missed} pictures" if clip and clip.missed else ""
    told = (outcome.said, clip.stopped if clip else "", missed, recorder.stopped)
    remarks = tuple(text for text in told if text)
    found = report_of(
        outcome, source=_name(request), models=tuple(n.name for n in networks),
        kept_up=source.live or request.shown, written=tuple(map(str, written)), remarks=remarks,
    )  # fmt: skip
    if request.report is not None:
        text = to_json(found) if request.report.suffix == ".json" else to_markdown(found)
        write_file(request.report, text.encode())
        written = (*written, request.report)
    return DemoResult(outcome, found, written, remarks)


def limit_cores(cores: int) -> int:
    """Keep this process on its first `cores` cores. Returns: the threads to compute with, 0 for the default.

    Raises BadInput for more than there are, Unavailable on systems that cannot do it.
    """
    if not cores:
        return 0
    if not hasattr(os, "sched_setaffinity"):
        raise Unavailable("--cpu: this system cannot keep a process on some of its cores. Leave it out.")
    import cv2

    usable = sorted(os.sched_getaffinity(0))
    if cores > len(usable):
        raise BadInput(f"--cpu {cores}: this process may use {len(usable)} cores.")
    os.sched_setaffinity(0, usable[:cores])
    cv2.setNumThreads(cores)
    return cores


def _source(request: DemoRequest) -> Source:
    if request.source is not None:
        from lawder_edge.video.opening import open_source

        return open_source(request.source, fps=request.fps)
    from lawder_edge.video.clip import ProceduralClip

    fps = _CLIP_FPS if request.fps is None else request.fps
    return ProceduralClip(seed=request.seed, size=request.size, fps=fps, frames=_frames(request) or None)


def _frames(request: DemoRequest) -> int:
    endless = request.source is None and not request.shown
    return request.frames or (CLIP_FRAMES if endless else 0)


def _name(request: DemoRequest) -> str:
    if request.source is None:
        return f"procedural clip, seed {request.seed}, {request.size[0]}x{request.size[1]}"
    return without_password(request.source) if "://" in request.source else request.source


def _segmenter(network: Network, steady: SteadyConfig) -> Segmenter:
    found = network.predictor
    return Segmenter(network.name, found.runner, threshold=found.threshold, steadier=partial(Steady, config=steady))


def _viewers(request: DemoRequest, controls: Controls, networks: list[Network], recorder: Recorder) -> list[Viewer]:
    thresholds = [n.predictor.threshold for n in networks]
    viewers: list[Viewer] = []
    if request.serve:
        viewers.append(
            Page(
                controls, serve=request.serve, thresholds=thresholds, token=request.token,
                recordings=lambda: recorder.recordings,
            )
        )  # fmt: skip
    if request.show or (request.shown and not viewers):
        from lawder_edge.video.window import Window

        viewers.append(Window(controls, thresholds=thresholds))
    return viewers


def _recorders(request: DemoRequest, controls: Controls, source: Source) -> tuple[ClipWriter | None, Recorder]:
    """The clip that was asked for, and what key and page start and stop."""
    live = source.live or request.shown
    # Of the frames that are kept: a clip of them runs as fast as its source.
    fps = source.fps / (1 if request.frame_skip == "auto" else request.frame_skip + 1)
    fps = min(fps, request.max_fps or fps)
    clip = None
    if request.save is not None:
        clip = ClipWriter(request.save, fps=fps, live=live, vp9=request.vp9, overwrite=request.overwrite)
    controls.recording = request.record is not None
    return clip, Recorder(request.record or Path("recordings"), controls, fps=fps, live=live, vp9=request.vp9)


def _setting(request: DemoRequest, source: Source) -> Setting:
    return Setting(
        skip=request.frame_skip,
        played=request.shown,
        max_fps=request.max_fps,
        frames=_frames(request),
        compare=request.compare is not None,
        crop=request.crop,
        judge=request.judge,
        blur_text=request.blur_text,
        screenshots=request.record or Path("screenshots"),
    )
