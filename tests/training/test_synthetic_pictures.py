"""Synthetic pictures beside real ones, from the folder to the record of the weights."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from lawder_edge.data.kept import KeptList, KeptRow, write_kept
from lawder_edge.data.provenance import (
    Made,
    Manifest,
    ManifestRow,
    Origin,
    Request,
    hash_files,
    marked_png,
    read_manifest,
    write_manifest,
)
from lawder_edge.errors import BadDataset, BadInput
from lawder_edge.evaluation.overlap import find_overlap
from lawder_edge.files import write_png
from lawder_edge.training.batches import SyntheticPart, TrainData, augmented_batch, pictures_of_pass
from lawder_edge.training.checkpoint import read_weights
from lawder_edge.training.config import TrainConfig
from lawder_edge.training.loop import train
from lawder_edge.training.prepare import PreparedRun, prepare_run
from lawder_edge.training.record import WeightsRecord
from lawder_edge.training.synthetic import read_synthetic

GENERATOR = "ab" * 32
CONFIG = TrainConfig(
    model="mk_unet_t", schedule="32x1", batch=4, val_fraction=0.25, augment=False, warmup_steps=1, val_every=1
)


def _pair(seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[4:12, 6:18] = 255
    return image, mask


def _real(folder: Path) -> Path:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(8):
        for kind, pixels in zip(("images", "masks"), _pair(i, 40), strict=True):
            write_png(folder / kind / f"case_{i:05d}_slice000.png", pixels)
    return folder


def _fakes(folder: Path, *, n: int = 5, seed: int = 3, generator: str = GENERATOR) -> Path:
    """As `synth sample` leaves it, by a generator that was fitted to a picture of another hospital and one of ours."""
    rows = []
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(n):
        name, hashes = f"synthetic_{seed}_{i:06d}.png", []
        for kind, pixels in zip(("images", "masks"), _pair(100 * seed + i, 32), strict=True):
            content = marked_png(pixels, Made(i, "procedural", generator))
            (folder / kind / name).write_bytes(content)
            hashes.append(hashlib.sha256(content).hexdigest())
        rows.append(ManifestRow(name, i, "procedural", *hashes))
    request = Request(generator, 32, seed, "dpm", 20, 1.5, "procedural", "")
    origin = Origin(3, 1, ("elsewhere/hospital_b_0001", "real/case_00000_slice000"), ("case_00000", "case_00100"))
    write_manifest(folder, Manifest(request, n, True, {}, tuple(rows), origin))
    return folder


def _prepared(tmp_path: Path, *fakes: Path, per_pass: int = 0, config: TrainConfig = CONFIG) -> PreparedRun:
    real = tmp_path / "real"
    return prepare_run(
        config, data=real if real.exists() else _real(real), splits=(), out=tmp_path / "run", resume=False,
        overwrite=True, skip_bad=False, progress=lambda done, total: None, synthetic=fakes, synthetic_per_pass=per_pass,
        cpu=True,
    )  # fmt: skip


def test_they_are_trained_on_never_validated_on_and_recorded_as_what_they_are(tmp_path: Path) -> None:
    run = _prepared(tmp_path, _fakes(tmp_path / "fakes"))
    fakes = tuple(f"synthetic/{GENERATOR[:12]}/synthetic_3_{i:06d}" for i in range(5))
    assert run.train.ids[-5:] == fakes
    assert len(run.train) == 6 + 5
    assert {id.split("/")[0] for id in (*run.val.ids, *run.train.ids[:-5])} == {"real"}
    assert any("5 of the training pictures are synthetic, by generator abababababab" in note for note in run.notes)
    result = train(CONFIG, run.train, val=run.val, out=tmp_path / "run", cpu=True)
    record = read_weights(result.weights)[1]
    assert set(fakes) <= set(record.train_ids)
    (source,) = record.synthetic
    assert (source.generator, source.pictures, source.per_pass) == (GENERATOR, 5, 0)
    assert (source.chosen, source.drawn) == ("", 0)
    # What the generator was fitted to is trained on, whatever its folder and whoever else is of its patient.
    evaluated = [("moved/hospital_b_0001", None), ("b/other", "case_00100"), ("b/third", "case_00200")]
    overlap = find_overlap([*evaluated, (fakes[0], None)], record.trained_on())
    assert overlap.trained == ("moved/hospital_b_0001", fakes[0])
    assert overlap.sequence == ("b/other",)


def test_parts_of_them_without_foreground_stand_in_for_them_too(tmp_path: Path) -> None:
    data = _prepared(tmp_path, _fakes(tmp_path / "fakes"), config=dataclasses.replace(CONFIG, empty_share=0.5)).train
    places = np.arange(len(data) - 5, len(data))
    empty = [
        not labels.any()
        for p in range(4)
        for labels in augmented_batch(data, places, size=32, seed=0, pass_index=p, config=None, empty_share=0.5).labels
    ]
    assert 0 < sum(empty) < 20


def _keep(folder: Path, *kept: int) -> Path:
    """As `synth score --keep` leaves it, with these kept. Returns: the folder."""
    manifest = read_manifest(folder)
    assert manifest is not None
    rows = tuple(KeptRow(row.name, i in kept, 0.5, 0.1, False) for i, row in enumerate(manifest.images))
    write_kept(folder, KeptList(hash_files(manifest.images), "mask Dice of 0.7 or more by order", rows))
    return folder


def test_of_a_folder_that_was_chosen_from_the_kept_pictures_alone_are_trained_on_and_the_weights_say_so(
    tmp_path: Path,
) -> None:
    whole = _prepared(tmp_path, _fakes(tmp_path / "fakes")).train
    run = _prepared(tmp_path, _keep(tmp_path / "fakes", 1, 4))
    names = [f"synthetic_3_{i:06d}" for i in (1, 4)]
    assert run.train.ids[-2:] == tuple(f"synthetic/{GENERATOR[:12]}/{name}" for name in names)
    assert len(run.train) == 6 + 2
    # Their own pixels, not those of the first two.
    assert np.array_equal(run.train.images[-2:], whole.images[[-4, -1]])
    assert "2 of 5 pictures by abababababab were chosen: mask Dice of 0.7 or more by order" in run.notes
    result = train(CONFIG, run.train, val=run.val, out=tmp_path / "run", cpu=True)
    (source,) = read_weights(result.weights)[1].synthetic
    assert (source.pictures, source.drawn, source.chosen) == (2, 5, "mask Dice of 0.7 or more by order")
    manifest = read_manifest(tmp_path / "fakes")
    assert manifest is not None
    assert source.files_sha256 == hash_files([manifest.images[1], manifest.images[4]])


def test_no_more_a_pass_than_were_kept(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="3 synthetic pictures a pass; there are 2"):
        _prepared(tmp_path, _keep(_fakes(tmp_path / "fakes"), 0, 2), per_pass=3)


def test_a_choice_among_other_pictures_is_refused(tmp_path: Path) -> None:
    fakes = _keep(_fakes(tmp_path / "fakes"), 0, 2)
    kept = (fakes / "kept.json").read_bytes()
    shutil.rmtree(fakes)
    _fakes(fakes, n=6)
    (fakes / "kept.json").write_bytes(kept)
    with pytest.raises(BadDataset, match=r"kept\.json: chosen among 5 other pictures than the 6 in the folder"):
        read_synthetic([fakes], channels=3, num_classes=1)
    (fakes / "kept.json").unlink()
    assert len(read_synthetic([fakes], channels=3, num_classes=1)[0].samples) == 6


def test_without_them_the_record_and_the_training_list_say_nothing_of_them(tmp_path: Path) -> None:
    run = _prepared(tmp_path)
    assert run.train.synthetic is None
    assert run.train.said().count(",") == 1
    result = train(CONFIG, run.train, val=run.val, out=tmp_path / "run", cpu=True)
    assert read_weights(result.weights)[1].synthetic == ()


def test_weights_made_from_such_weights_keep_saying_so(tmp_path: Path) -> None:
    source = read_synthetic([_fakes(tmp_path / "fakes")], channels=3, num_classes=1)[0].source
    before = WeightsRecord("order", synthetic=(source,))
    assert WeightsRecord("order").having_seen(before).synthetic == (source,)


def test_a_validation_that_the_generator_was_trained_on_is_told(tmp_path: Path) -> None:
    fakes = _fakes(tmp_path / "fakes")
    clean = _prepared(tmp_path)
    manifest = read_manifest(fakes)
    assert manifest is not None
    assert manifest.origin is not None
    for ids, told in ((clean.val.ids, True), (clean.train.ids, False)):
        origin = dataclasses.replace(manifest.origin, train_ids=ids, train_groups=())
        write_manifest(fakes, dataclasses.replace(manifest, origin=origin))
        notes = _prepared(tmp_path, fakes).notes
        assert any("validation is not clean: 2 of its 2 pictures" in note for note in notes) == told


def test_pictures_smaller_than_what_is_trained_at_are_told(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, schedule="64x1")
    notes = _prepared(tmp_path, _fakes(tmp_path / "fakes"), config=config).notes
    assert any("synthetic pictures of 32 px are enlarged to 64 px" in note for note in notes)


def test_a_pass_takes_all_real_pictures_and_as_many_synthetic_ones_as_asked_for_others_each_time() -> None:
    part = SyntheticPart(6, 2, (), (), ())
    blank = np.zeros((10, 1, 1, 3), np.uint8)
    data = TrainData(blank, blank[..., 0], tuple(map(str, range(10))), np.zeros(10, np.int64), synthetic=part)
    passes = [pictures_of_pass(data, seed=0, pass_index=i) for i in range(12)]
    assert data.pass_length == 6
    for places in passes:
        assert len(set(places)) == 6
        assert set(places) >= {0, 1, 2, 3}
    assert set(np.concatenate(passes)) == set(range(10))
    assert np.array_equal(passes[3], pictures_of_pass(data, seed=0, pass_index=3))
    whole = dataclasses.replace(data, synthetic=dataclasses.replace(part, per_pass=6))
    assert np.array_equal(
        pictures_of_pass(whole, seed=0, pass_index=1),
        pictures_of_pass(dataclasses.replace(data, synthetic=None), seed=0, pass_index=1),
    )


def test_more_a_pass_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="6 synthetic pictures a pass; there are 5"):
        _prepared(tmp_path, _fakes(tmp_path / "fakes"), per_pass=6)


def test_another_set_of_files_under_the_same_names_is_another_training_list(tmp_path: Path) -> None:
    first = _prepared(tmp_path, _fakes(tmp_path / "fakes")).train
    folder = tmp_path / "others" / "fakes"
    _fakes(folder)
    manifest = read_manifest(folder)
    assert manifest is not None
    name = manifest.images[0].name
    content = marked_png(_pair(77, 32)[0], Made(0, "procedural", GENERATOR))
    (folder / "images" / name).write_bytes(content)
    row = dataclasses.replace(manifest.images[0], image_sha256=hashlib.sha256(content).hexdigest())
    write_manifest(folder, dataclasses.replace(manifest, images=(row, *manifest.images[1:])))
    second = _prepared(tmp_path, folder).train
    assert first.ids == second.ids
    assert first.said() != second.said()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": 1}, r"in_channels 3; this training has 1\. Train with --in-channels 3"),
        ({"num_classes": 3}, r"num_classes 1; this training has 3\. Train with --num-classes 1"),
    ],
)
def test_pictures_of_another_kind_are_refused(options: dict[str, int], told: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match=told):
        read_synthetic([_fakes(tmp_path / "fakes")], **{"channels": 3, "num_classes": 1, **options})


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("no manifest", "no manifest.json, so nothing says .* Give the --out folder of `lawder-edge synth sample`"),
        ("unfinished", "is unfinished. Call `lawder-edge synth sample` as before, with --resume"),
        ("untold origin", "does not say what its generator was trained on"),
        ("a mask missing", "masks: 1 of 5 files are missing: synthetic_3_000002.png. .* --resume, to make them again"),
        ("no masks", "masks: 5 of 5 files are missing"),
        ("a patient's picture", "images: 1 files that the manifest does not list: patient.png"),
        ("another size", r"1 files are not as they .*: images/synthetic_3_000001.png \(48x48 px, wanted 32x32"),
        ("no picture", r"masks/synthetic_3_000001.png \(no image\)"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_what_was_drawn_is_refused(harm: str, told: str, tmp_path: Path) -> None:
    fakes = _fakes(tmp_path / "fakes")
    manifest = read_manifest(fakes)
    assert manifest is not None
    if harm == "no manifest":
        (fakes / "manifest.json").unlink()
    elif harm == "unfinished":
        write_manifest(fakes, dataclasses.replace(manifest, complete=False))
    elif harm == "untold origin":
        write_manifest(fakes, dataclasses.replace(manifest, origin=None))
    elif harm == "a mask missing":
        (fakes / "masks" / "synthetic_3_000002.png").unlink()
    elif harm == "no masks":
        (fakes / "masks").rename(fakes / "elsewhere")
    elif harm == "a patient's picture":
        write_png(fakes / "images" / "patient.png", _pair(0, 32)[0])
    elif harm == "another size":
        write_png(fakes / "images" / "synthetic_3_000001.png", _pair(0, 48)[0])
    else:
        (fakes / "masks" / "synthetic_3_000001.png").write_bytes(b"cut")
    with pytest.raises(BadDataset, match=told):
        read_synthetic([fakes], channels=3, num_classes=1)


def test_the_same_pictures_twice_are_refused_and_those_of_another_seed_or_generator_are_not(tmp_path: Path) -> None:
    one, copy = _fakes(tmp_path / "one"), _fakes(tmp_path / "copy")
    seed, generator = _fakes(tmp_path / "seed", seed=4), _fakes(tmp_path / "generator", generator="cd" * 32)
    with pytest.raises(BadDataset, match="5 synthetic pictures stand in two of the folders"):
        read_synthetic([one, copy], channels=3, num_classes=1)
    found = read_synthetic([one, seed, generator], channels=3, num_classes=1)
    assert len({sample.id for folder in found for sample in folder.samples}) == 15
