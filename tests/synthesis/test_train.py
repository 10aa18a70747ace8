"""Training a generator."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from synth_samples import TINY, phantom_data

from lawder_edge.errors import BadCheckpoint, BadDataset, BadInput
from lawder_edge.synthesis import step as step_module
from lawder_edge.synthesis import train as train_module
from lawder_edge.synthesis.arms import ARMS, LEARNED, ON_REGIONS
from lawder_edge.synthesis.config import SynthConfig
from lawder_edge.synthesis.delta_figure import keep_deltas
from lawder_edge.synthesis.diffusion import kept_share
from lawder_edge.synthesis.draws import draw
from lawder_edge.synthesis.generator import Generator, load_generator, start_from
from lawder_edge.synthesis.prepare import note_on_masks
from lawder_edge.synthesis.preview import draw_preview
from lawder_edge.synthesis.step import StepLoss, step_loss
from lawder_edge.synthesis.train import check_pictures, snapshot_name, train
from lawder_edge.synthesis.weighter import weighter_loss
from lawder_edge.synthesis.weighting import pixel_weights
from lawder_edge.training.batches import TrainData
from lawder_edge.training.checkpoint import fingerprint, read_tensors


def _run(folder: Path) -> str:
    return fingerprint(read_tensors(folder / "last.safetensors")[0])


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("arm", ARMS)
def test_each_arm_trains_twenty_steps_and_its_invariants_hold_at_every_one(
    arm: str, tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(TINY, arm=arm, mask_dropout=0.3)
    seen: list[torch.Tensor] = []

    def watched(model: object, weighter: object, drawn: object, *args: object, **more: object) -> StepLoss:
        loss = step_loss(model, weighter, drawn, *args, **more)  # type: ignore[arg-type]
        w = loss.weights
        assert (w.double().mean((1, 2, 3)) - 1).abs().max() < 1e-5
        assert w.min() >= np.float32(config.lowest_weight)
        assert w.max() <= config.highest_weight
        withheld = ~drawn.shown  # type: ignore[attr-defined]
        assert torch.equal(w[withheld], torch.ones_like(w[withheld]))
        seen.append(w)
        return loss

    monkeypatch.setattr(train_module, "step_loss", watched)
    result = train(config, pictures, out=tmp_path, cpu=True)
    assert len(seen) == config.steps
    assert result.step == config.steps
    deltas = {"delta-000000.png", "delta-000020.png", "figure8.png"} if arm in LEARNED else set()
    assert {p.name for p in tmp_path.iterdir()} == {"curves.csv", "generator.safetensors", "last.safetensors"} | deltas
    record = load_generator(result.weights).record
    assert (record.config, record.step, record.train_ids) == (config, 20, pictures.ids)
    varied = any(float(w.std()) > 0 for w in seen)
    assert varied == (arm != "uniform")


def test_law_starts_as_the_ratio_arm_and_leaves_it(tmp_path: Path, pictures: TrainData) -> None:
    losses: dict[str, list[float]] = {}
    for arm in ("ratio", "law"):
        told: list[float] = []
        config = dataclasses.replace(TINY, arm=arm, learning_rate=5e-3)
        train(config, pictures, out=_folder(tmp_path / arm), cpu=True, on_step=lambda p, told=told: told.append(p.loss))
        losses[arm] = told
    assert losses["law"][0] == losses["ratio"][0]
    assert losses["law"][-1] != losses["ratio"][-1]
    weighter = {n for n in read_tensors(tmp_path / "law" / "generator.safetensors")[0] if n.startswith("weighter.")}
    assert "weighter.last.weight" in weighter


@pytest.mark.parametrize(
    ("fixed", "on_it"), [("ratio", set(LEARNED) - set(ON_REGIONS)), ("regions", {"law_on_regions"})]
)
def test_a_learned_arm_without_its_map_trains_the_denoiser_of_its_prior_bit_for_bit(
    fixed: str, on_it: set[str], tmp_path: Path, pictures: TrainData
) -> None:
    prints = []
    for arm in (fixed, *on_it):
        result = train(
            dataclasses.replace(TINY, arm=arm, gamma=0.0, steps=8), pictures, out=_folder(tmp_path / arm), cpu=True
        )
        prints.append(fingerprint(dict(load_generator(result.weights).denoiser.state_dict())))
    assert len(set(prints)) == 1


def test_the_joint_arm_learns_its_weighter_by_the_diffusion_loss_and_holds_the_weights_fixed_for_the_denoiser(
    pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, arm="law_joint")
    model = Generator(config)
    assert model.weighter is not None
    torch.nn.init.normal_(model.weighter.last.weight)
    drawn = draw(pictures, config, step=0, places=range(4))

    def gradients(network: torch.nn.Module, **replaced: object) -> list[torch.Tensor | None]:
        with monkeypatch.context() as patch:
            for name, value in replaced.items():
                patch.setattr(step_module, name, value)
            loss = step_loss(model, model.weighter, drawn, config, kept=kept_share(), sum_of_all=lambda v: v)
        found = torch.autograd.grad(loss.total, list(network.parameters()), allow_unused=True)
        return [None if g is None else g.detach() for g in found]

    def none(*_: object) -> torch.Tensor:
        return torch.zeros(())

    def fixed(*args: object, **more: object) -> torch.Tensor:
        return pixel_weights(*args, **more).detach()  # type: ignore[arg-type]

    # The diffusion loss by itself reaches the weighter.
    assert any(g is not None and g.abs().max() > 0 for g in gradients(model.weighter, joint_loss=none))
    # The regularisers by themselves do too, and leave the denoiser what fixed weights make of it.
    assert any(g is not None and g.abs().max() > 0 for g in gradients(model.weighter, pixel_weights=fixed))
    both = gradients(model.denoiser)
    assert all(a is not None for a in both)
    held = gradients(model.denoiser, pixel_weights=fixed, joint_loss=none)
    for a, b in zip(both, held, strict=True):
        assert torch.equal(a, b)  # type: ignore[arg-type]


@pytest.mark.parametrize(("arm", "taken"), [("law_on_regions", True), ("law_regions", True), ("law_joint", False)])
def test_a_weighter_goes_on_in_arms_where_its_map_means_the_same(
    arm: str, taken: bool, tmp_path: Path, pictures: TrainData
) -> None:
    law = dataclasses.replace(TINY, arm="law", steps=2)
    base = train(law, pictures, out=tmp_path, cpu=True).weights
    generator = Generator(dataclasses.replace(law, arm=arm))
    start_from(base, generator, dataclasses.replace(law, arm=arm))
    assert generator.weighter is not None
    there = read_tensors(base)[0]["weighter.last.weight"]
    assert torch.equal(generator.weighter.last.weight, there) == taken
    assert taken or generator.weighter.last.weight.abs().max() == 0


@pytest.mark.parametrize("arm", ["law", "law_on_regions", "law_regions"])
def test_neither_loss_reaches_the_other_network(arm: str, pictures: TrainData, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, arm=arm)
    model = Generator(config)
    assert model.weighter is not None
    torch.nn.init.normal_(model.weighter.last.weight)
    drawn = draw(pictures, config, step=0, places=range(4))
    parts: dict[str, torch.Tensor] = {}

    def kept_apart(s: torch.Tensor, e: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        parts["weighter"] = weighter_loss(s, e, level)
        return parts["weighter"]

    monkeypatch.setattr(step_module, "weighter_loss", kept_apart)
    loss = step_loss(model, model.weighter, drawn, config, kept=kept_share(), sum_of_all=lambda v: v)
    diffusion = loss.total - parts["weighter"]
    for part, reached, spared in (
        (parts["weighter"], model.weighter, model.denoiser),
        (diffusion, model.denoiser, model.weighter),
    ):
        gradients = [
            torch.autograd.grad(part, list(network.parameters()), retain_graph=True, allow_unused=True)
            for network in (reached, spared)
        ]
        assert any(g is not None and g.abs().max() > 0 for g in gradients[0])
        # The total holds both parts, whose difference may leave rounding but no gradient of its own.
        assert all(g is None or g.abs().max() == 0 for g in gradients[1])


def test_a_batch_in_parts_gives_the_weights_of_a_whole_one(tmp_path: Path, pictures: TrainData) -> None:
    tensors = []
    for parts in (1, 2):
        config = dataclasses.replace(TINY, arm="ratio", steps=3, accumulate=parts)
        result = train(config, pictures, out=_folder(tmp_path / str(parts)), cpu=True)
        tensors.append(dict(load_generator(result.weights).denoiser.state_dict()))
    for name, value in tensors[0].items():
        # Gradients that are sums in another order; AdamW's first steps magnify what is near zero.
        torch.testing.assert_close(tensors[1][name], value, rtol=1e-3, atol=2e-4)


def test_snapshots_and_a_preview_are_kept_and_change_nothing(tmp_path: Path, pictures: TrainData) -> None:
    plain, watched = _folder(tmp_path / "plain"), _folder(tmp_path / "watched")
    config = dataclasses.replace(TINY, arm="law", steps=4)
    train(config, pictures, out=plain, cpu=True)
    train(dataclasses.replace(config, snapshots=(0, 2), preview_every=3), pictures, out=watched, cpu=True)
    assert _run(plain) == _run(watched)
    assert (watched / "preview.png").stat().st_size > 0
    steps = [load_generator(watched / snapshot_name(step)).record.step for step in (0, 2)]
    assert steps == [0, 2]


def test_arms_start_from_one_base_and_meet_the_same_noise(tmp_path: Path, pictures: TrainData) -> None:
    base = train(dataclasses.replace(TINY, arm="uniform", steps=3), pictures, out=_folder(tmp_path / "base"), cpu=True)
    firsts, starts = [], []
    for arm in ("ratio", "law"):
        told: list[float] = []
        out = _folder(tmp_path / arm)
        config = dataclasses.replace(TINY, arm=arm, steps=1, seed=5)
        result = train(
            config, pictures, out=out, start=base.weights, cpu=True, on_step=lambda p, told=told: told.append(p.loss)
        )
        firsts.append(told[0])
        starts.append(load_generator(result.weights).record.start)
    assert firsts[0] == firsts[1]
    assert starts == [load_generator(base.weights).sha256] * 2


def test_a_generator_names_the_pictures_of_the_one_that_it_started_from(tmp_path: Path, pictures: TrainData) -> None:
    before = dataclasses.replace(pictures, ids=tuple(f"before/{i}" for i in range(6)), groups=("case_1",))
    config = dataclasses.replace(TINY, arm="uniform", steps=1)
    base = train(config, before, out=_folder(tmp_path / "base"), cpu=True)
    own = dataclasses.replace(pictures, groups=("case_2",))
    record = load_generator(
        train(config, own, out=_folder(tmp_path / "own"), start=base.weights, cpu=True).weights
    ).record
    assert record.train_ids == (*before.ids, *own.ids)
    assert record.train_groups == ("case_1", "case_2")


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"size": 64}, "a generator of size 32; this run has 64. Give --size 32"), ({"widths": (8, 8)}, "--widths 8 16")],
)
def test_a_start_of_another_size_is_refused(
    changes: dict[str, object], told: str, tmp_path: Path, pictures: TrainData
) -> None:
    base = train(dataclasses.replace(TINY, steps=1), pictures, out=_folder(tmp_path / "base"), cpu=True)
    config = dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
    data = phantom_data(4, side=config.size)
    with pytest.raises(BadCheckpoint, match=told):
        train(config, data, out=tmp_path, start=base.weights, cpu=True)


def test_masks_that_are_all_empty_are_refused(pictures: TrainData) -> None:
    empty = dataclasses.replace(pictures, labels=np.zeros_like(pictures.labels))
    with pytest.raises(BadDataset, match="all 6 masks are empty"):
        check_pictures(TINY, data=empty)


def test_masks_without_a_lesion_or_without_anything_else_are_told(pictures: TrainData) -> None:
    labels = pictures.labels.copy()
    assert note_on_masks(TINY, pictures) is None
    labels[0], labels[1:3] = 1, 0
    told = note_on_masks(TINY, dataclasses.replace(pictures, labels=labels))
    assert told is not None
    assert told.startswith("of 6 masks at 32x32 px 2 empty and 1 lesion all over")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    ],
    ids=str,
)
def test_running_out_of_memory_names_batch_and_size(
    error: RuntimeError, tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> StepLoss:
        raise error

    monkeypatch.setattr(train_module, "step_loss", full)
    with pytest.raises(BadInput, match=r"out of memory with 2 pictures of 32x32 px .*smaller --batch"):
        train(dataclasses.replace(TINY, accumulate=2), pictures, out=tmp_path, cpu=True)


@pytest.mark.parametrize("place", ["prepare_model", "keep_deltas", "draw_preview"])
def test_running_out_of_memory_outside_a_step_is_told_as_well(
    place: str, tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train_module.Accelerator if place == "prepare_model" else train_module, place, full)
    with pytest.raises(BadInput, match=r"out of memory with 4 pictures of 32x32 px .*smaller --batch"):
        train(dataclasses.replace(TINY, arm="law", preview_every=2), pictures, out=tmp_path, cpu=True)


@pytest.mark.parametrize("condition", ["", "lowpass"])
def test_maps_and_preview_are_the_same_by_one_picture_at_a_time(
    condition: str, tmp_path: Path, pictures: TrainData
) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, arm="law", condition=condition)
    model = Generator(config).eval()
    assert model.weighter is not None
    torch.nn.init.normal_(model.weighter.last.weight)
    found = []
    for step, at_once in enumerate((1, 4)):
        keep_deltas(model, config, pictures, folder=tmp_path, step=step, at_once=at_once)
        preview = draw_preview(model.denoiser, config, pictures, at_once=at_once)
        found.append([decoded(png) for png in (preview, (tmp_path / f"delta-{step:06d}.png").read_bytes())])
    for one, four in zip(*found, strict=True):
        assert one.std() > 0
        assert np.abs(one.astype(int) - four).max() <= 1


@pytest.fixture
def _own_precision() -> Iterator[None]:
    """accelerate keeps one precision a process; it is forgotten before and after."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("_own_precision")
def test_bfloat16_trains_every_part_of_law_and_keeps_its_weights_in_float32(
    tmp_path: Path, pictures: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: set[torch.dtype] = set()

    def watched(*args: object, **more: object) -> StepLoss:
        loss = step_loss(*args, **more)  # type: ignore[arg-type]
        assert (loss.weights.double().mean((1, 2, 3)) - 1).abs().max() < 1e-5
        kinds.add(loss.total.dtype)
        return loss

    monkeypatch.setattr(train_module, "step_loss", watched)
    config = dataclasses.replace(TINY, arm="law", steps=5, mixed_precision="bf16")
    result = train(config, pictures, out=tmp_path, cpu=True)
    tensors, _ = read_tensors(result.weights)
    assert kinds == {torch.float32}
    assert {v.dtype for v in tensors.values()} == {torch.float32}
    assert tensors["weighter.last.weight"].abs().max() > 0
    AcceleratorState._reset_state()
    plain = train(dataclasses.replace(config, mixed_precision="no"), pictures, out=_folder(tmp_path / "f"), cpu=True)
    assert fingerprint(tensors) != load_generator(plain.weights).sha256


def test_several_classes_and_grey_pictures_train(tmp_path: Path, pictures: TrainData) -> None:
    labels = pictures.labels.copy()
    labels[:, :8] = 2
    data = dataclasses.replace(pictures, images=pictures.images[..., :1], labels=labels)
    config = dataclasses.replace(TINY, arm="law", steps=2, in_channels=1, num_classes=3, lesion_class=2)
    result = train(config, data, out=tmp_path, cpu=True)
    assert load_generator(result.weights).record.config == config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arm": "focal"}, "unknown arm 'focal'"),
        ({"batch": 5, "accumulate": 2}, "batch 5 does not divide"),
        ({"mixed_precision": "fp16"}, "fp16 needs a GPU"),
        ({"lowest_weight": 1.5}, "lowest in"),
        ({"mask_dropout": 1.0}, "mask_dropout is 1.0"),
        ({"lesion_class": 2}, "lesion_class is 2"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"gamma": float("-inf")}, "gamma is -inf"),
        ({"size": 36}, "multiple of 8"),
    ],
)
def test_a_recipe_that_cannot_run_says_why(
    changes: dict[str, object], told: str, tmp_path: Path, pictures: TrainData
) -> None:
    with pytest.raises(BadInput, match=told):
        train(dataclasses.replace(TINY, **changes), pictures, out=tmp_path, cpu=True)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


class TestDraws:
    """What a step draws."""

    def test_every_picture_is_taken_once_before_any_is_taken_again(self, pictures: TrainData) -> None:
        config: SynthConfig = dataclasses.replace(TINY, flips=False, batch=4)
        taken = torch.cat([draw(pictures, config, step=s, places=range(4)).x0 for s in range(3)])
        for half in (taken[:6], taken[6:]):
            assert len({fingerprint({"x": x}) for x in half}) == 6

    def test_a_part_of_a_batch_is_what_the_whole_has_there(self, pictures: TrainData) -> None:
        whole = draw(pictures, TINY, step=3, places=range(4))
        part = draw(pictures, TINY, step=3, places=range(2, 4))
        for name in ("x0", "labels", "noise", "t", "shown"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[2:])

    def test_picture_and_mask_are_flipped_together(self, pictures: TrainData) -> None:
        originals = {
            fingerprint({"x": torch.from_numpy(np.ascontiguousarray(image[::a, ::b]))}): labels[::a, ::b]
            for image, labels in zip(pictures.images, pictures.labels, strict=True) for a in (1, -1) for b in (1, -1)
        }  # fmt: skip
        drawn = draw(pictures, dataclasses.replace(TINY, batch=24), step=0, places=range(24))
        pixels = (drawn.x0 * 128 + 128).to(torch.uint8).permute(0, 2, 3, 1)
        for x, labels in zip(pixels, drawn.labels, strict=True):
            assert np.array_equal(originals[fingerprint({"x": x})], labels.numpy())

    def test_masks_are_withheld_at_the_rate_asked_for(self, pictures: TrainData) -> None:
        config = dataclasses.replace(TINY, mask_dropout=0.25, batch=400)
        shown = draw(pictures, config, step=0, places=range(400)).shown
        assert 0.67 < float(shown.float().mean()) < 0.83
