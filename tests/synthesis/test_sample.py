"""Folders of synthetic pictures."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synth_samples import TINY

from lawder_edge.data.datasets import find_samples
from lawder_edge.data.kept import KeptList, read_kept, write_kept
from lawder_edge.data.load import load_pair
from lawder_edge.data.provenance import NOTICE, Origin, read_manifest, read_mark, write_manifest
from lawder_edge.errors import BadDataset, BadInput, OutputExists
from lawder_edge.synthesis import sample as sample_module
from lawder_edge.synthesis.generator import LoadedGenerator, load_generator
from lawder_edge.synthesis.masks import GivenMasks, KnownMasks, MaskSource, ProceduralMasks
from lawder_edge.synthesis.sample import SampleResult, picture_name, picture_seed, sample
from lawder_edge.synthesis.score_files import read_sets
from lawder_edge.synthesis.solver import Solver
from lawder_edge.synthesis.train import train
from lawder_edge.training.batches import TrainData

QUICK = Solver(steps=3)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory, pictures: TrainData) -> LoadedGenerator:
    out = tmp_path_factory.mktemp("generator")
    return load_generator(train(dataclasses.replace(TINY, steps=2), pictures, out=out, cpu=True).weights)


@pytest.fixture(scope="module")
def masks(generator: LoadedGenerator) -> MaskSource:
    return ProceduralMasks(generator.mask_shapes.numpy(), size=generator.record.config.size)


def _draw(generator: LoadedGenerator, masks: MaskSource, out: Path, **options: object) -> SampleResult:
    given = {"n": 5, "seed": 3, "solver": QUICK, "cpu": True, **options}
    return sample(generator, masks, out=out, **given)  # type: ignore[arg-type]


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_training_reads_the_pictures_with_the_masks_that_were_asked_for(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    assert _draw(generator, masks, tmp_path / "fakes").made == 5
    samples = find_samples(tmp_path / "fakes")
    assert [s.id for s in samples] == [f"fakes/{picture_name(3, i).removesuffix('.png')}" for i in range(5)]
    for i, found in enumerate(samples):
        pair = load_pair(found)
        asked = sample_module.asked_mask(masks, seed=3, index=i)
        assert pair.image.shape == (32, 32, 3)
        assert np.array_equal(pair.labels, asked.labels)
        assert pair.notes == ()


def test_every_file_says_that_it_is_synthetic_and_how_it_was_made(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    for i in range(5):
        for folder in ("images", "masks"):
            path = tmp_path / folder / picture_name(3, i)
            with Image.open(path) as picture:
                text = picture.text  # type: ignore[attr-defined]
            assert text["Description"] == NOTICE
            assert text["Synthetic"] == "true"
            assert "digitalsourcetype/trainedAlgorithmicMedia" in text["XML:com.adobe.xmp"]
            made = read_mark(path)
            assert made is not None
            assert (made.seed, made.mask, made.generator) == (picture_seed(3, i), "procedural", generator.sha256)


def test_the_manifest_lists_weights_seed_and_mask_of_each_picture(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    said = json.loads((tmp_path / "manifest.json").read_text())
    assert said["synthetic"] is True
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert (manifest.complete, manifest.n, manifest.request.generator) == (True, 5, generator.sha256)
    assert [(r.name, r.seed) for r in manifest.images] == [(picture_name(3, i), picture_seed(3, i)) for i in range(5)]
    assert len({r.image_sha256 for r in manifest.images}) == 5
    assert manifest.origin == Origin(3, 1, tuple(f"phantom/{i}" for i in range(6)), ())


def test_the_same_seed_gives_the_same_bytes_and_another_others(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    for name, options in (("a", {}), ("b", {"batch": 2}), ("c", {"seed": 4})):
        _draw(generator, masks, tmp_path / name, **options)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert not {*_files(tmp_path / "a").values()} & {*_files(tmp_path / "c").values()}


def test_in_bfloat16_pictures_move_a_little_and_the_manifest_says_so(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    drawn = []
    for precision in ("fp32", "bf16"):
        _draw(generator, masks, tmp_path / precision, n=1, solver=Solver(steps=3, precision=precision))
        manifest = read_manifest(tmp_path / precision)
        assert manifest is not None
        assert manifest.request.precision == precision
        (file,) = (tmp_path / precision / "images").iterdir()
        drawn.append(np.asarray(Image.open(file)).astype(int))
    assert 0 < np.abs(drawn[0] - drawn[1]).max() < 16


def test_a_manifest_of_before_precision_was_told_is_of_float32(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    file = tmp_path / "manifest.json"
    said = json.loads(file.read_text())
    del said["request"]["precision"]
    file.write_text(json.dumps(said))
    assert _draw(generator, masks, tmp_path, resume=True).made == 0


def test_a_picture_is_the_same_up_to_a_grey_level_in_any_batch(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    one = sample_module.asked_mask(masks, seed=0, index=0).labels
    planes = sample_module.mask_planes(torch.from_numpy(np.stack([one] * 4)).long(), num_classes=1)
    noise = sample_module.first_noise(range(4), (3, 32, 32))
    together = sample_module.to_pixels(sample_module.solve(generator.denoiser, planes, noise, QUICK))
    for i in range(4):
        alone = sample_module.solve(generator.denoiser, planes[i : i + 1], noise[i : i + 1], QUICK)
        assert np.abs(sample_module.to_pixels(alone)[0].astype(int) - together[i]).max() <= 1


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("inside", ["masks", "images"])
def test_a_killed_call_goes_on_with_no_picture_twice_and_none_missing(
    at: int, inside: str, generator: LoadedGenerator, masks: MaskSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _draw(generator, masks, tmp_path / "whole")

    class KilledError(Exception):
        pass

    written: list[Path] = []
    write = sample_module.write_file

    def killing(path: Path, data: bytes) -> None:
        if path.parent.name == inside and sum(p.parent.name == inside for p in written) == at:
            path.with_name(f".{path.name}.77.tmp").write_bytes(data[:40])
            raise KilledError
        written.append(path)
        write(path, data)

    monkeypatch.setattr(sample_module, "write_file", killing)
    with pytest.raises(KilledError):
        _draw(generator, masks, tmp_path / "part")
    manifest = read_manifest(tmp_path / "part")
    assert manifest is not None
    assert not manifest.complete
    monkeypatch.setattr(sample_module, "write_file", lambda path, data: (written.append(path), write(path, data))[1])
    result = _draw(generator, masks, tmp_path / "part", resume=True)
    assert (result.made, result.there) == (5 - at, 5)
    pictures = [p.name for p in written if p.parent.name == "images"]
    assert sorted(pictures) == [picture_name(3, i) for i in range(5)]
    leftover = {name for name in _files(tmp_path / "part") if name.endswith(".tmp")}
    assert {n: b for n, b in _files(tmp_path / "part").items() if n not in leftover} == _files(tmp_path / "whole")


def test_ctrl_c_keeps_what_is_drawn(generator: LoadedGenerator, masks: MaskSource, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        _draw(generator, masks, tmp_path, on_done=interrupt)
    assert len(list((tmp_path / "images").iterdir())) == 2
    assert _draw(generator, masks, tmp_path, resume=True).made == 3


def test_a_finished_folder_grows_to_a_larger_number(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path / "grown", n=2)
    assert _draw(generator, masks, tmp_path / "grown", resume=True).made == 3
    _draw(generator, masks, tmp_path / "whole")
    assert _files(tmp_path / "grown") == _files(tmp_path / "whole")
    with pytest.raises(BadInput, match="begun for 5 pictures; -n 2"):
        _draw(generator, masks, tmp_path / "grown", n=2, resume=True)


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
@pytest.mark.parametrize("change", ["edited", "truncated"])
def test_a_file_that_was_changed_since_is_drawn_again(
    folder: str, finished: bool, change: str, generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    before = _files(tmp_path)
    if not finished:
        manifest = read_manifest(tmp_path)
        assert manifest is not None
        write_manifest(tmp_path, dataclasses.replace(manifest, complete=False, images=()))
    changed = sorted((tmp_path / folder).iterdir())[1]
    if change == "edited":
        Image.new("L" if folder == "masks" else "RGB", (32, 32), 255).save(changed)
    else:
        changed.write_bytes(changed.read_bytes()[:90])
    assert _draw(generator, masks, tmp_path, resume=True).made == 1
    assert _files(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 9}, "seed was 3, now 9"),
        ({"solver": Solver("ddim", 4)}, "sampler was 'dpm', now 'ddim'"),
        ({"solver": Solver(steps=4)}, "steps was 3, now 4"),
        ({"solver": Solver(steps=3, precision="bf16")}, "precision was 'fp32', now 'bf16'"),
    ],
)
def test_pictures_of_other_options_are_not_mixed_in(
    options: dict[str, object], told: str, generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    before = _files(tmp_path)
    with pytest.raises(OutputExists, match=told):
        _draw(generator, masks, tmp_path, resume=True, **options)
    with pytest.raises(OutputExists, match=r"holds all of 5 synthetic pictures\. Add --resume"):
        _draw(generator, masks, tmp_path)
    assert _files(tmp_path) == before


def test_overwriting_replaces_synthetic_pictures_alone(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    _draw(generator, masks, tmp_path, n=2, seed=8, overwrite=True)
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == [picture_name(8, i) for i in range(2)]


@pytest.mark.parametrize("file", ["notes.txt", "images/patient.png", "masks/patient.png", "cache/x"])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("option", [{}, {"resume": True}, {"overwrite": True}], ids=["anew", "resume", "overwrite"])
def test_a_folder_with_other_files_is_left_alone(
    file: str, begun: bool, option: dict[str, bool], generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    if begun:
        _draw(generator, masks, tmp_path, n=1)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"precious")
    before = _files(tmp_path)
    with pytest.raises(OutputExists, match="other files than synthetic pictures: "):
        _draw(generator, masks, tmp_path, n=1, **option)
    assert _files(tmp_path) == before


def test_a_choice_outlives_a_resumed_drawing_and_goes_with_the_pictures_that_it_was_made_among(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    _draw(generator, masks, tmp_path)
    write_kept(tmp_path, KeptList("", "by hand", ()))
    _draw(generator, masks, tmp_path, resume=True)
    assert read_kept(tmp_path) is not None
    _draw(generator, masks, tmp_path, overwrite=True)
    assert read_kept(tmp_path) is None


def test_a_manifest_of_something_else_is_left_alone(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text('{"schema_version": 1}')
    with pytest.raises(BadInput, match=r"manifest\.json: not the manifest of synthetic pictures"):
        _draw(generator, masks, tmp_path, overwrite=True)


def test_given_masks_are_taken_in_turn_and_each_round_draws_other_pictures(
    generator: LoadedGenerator, tmp_path: Path
) -> None:
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, 4:12, 4:12] = labels[1, 20:30, 20:30] = 1
    _draw(generator, GivenMasks(KnownMasks(labels, ("set/a", "set/b"))), tmp_path, n=4)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert [r.mask for r in manifest.images] == ["set/a", "set/b", "set/a", "set/b"]
    files = _files(tmp_path)
    assert files[f"images/{picture_name(3, 0)}"] != files[f"images/{picture_name(3, 2)}"]


def test_label_maps_of_several_classes_are_written_as_they_are(pictures: TrainData, tmp_path: Path) -> None:
    labels = pictures.labels.copy()
    labels[:, :8] = 2
    data = dataclasses.replace(pictures, images=pictures.images[..., :1], labels=labels)
    config = dataclasses.replace(TINY, steps=1, in_channels=1, num_classes=3)
    (tmp_path / "run").mkdir()
    loaded = load_generator(train(config, data, out=tmp_path / "run", cpu=True).weights)
    fakes = tmp_path / "fakes"
    _draw(loaded, GivenMasks(KnownMasks(labels, pictures.ids)), fakes, n=2)
    drawn = find_samples(fakes)
    pair = load_pair(drawn[0], channels=1, num_classes=3)
    assert np.array_equal(pair.labels, labels[0])
    # A score reads them, and the real ones beside them, with as many classes as the manifest says.
    lists = [tmp_path / f"{i}.txt" for i in range(2)]
    for file, found in zip(lists, drawn, strict=True):
        file.write_text(found.id)
    given = {"data": fakes, "train": lists[:1], "held_out": lists[1:], "progress": lambda done, total: None}
    sets = read_sets(fakes, lesion_class=2, **given)  # type: ignore[arg-type]
    assert np.array_equal(sets.synthetic.labels, labels[:2])
    assert np.array_equal(sets.held.labels[0], labels[1])
    with pytest.raises(BadInput, match=r"lesion-class 3: .* is of 3 classes"):
        read_sets(fakes, lesion_class=3, **given)  # type: ignore[arg-type]


def test_lists_that_are_not_what_the_generator_saw_are_told_or_refused(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    fakes, real = tmp_path / "fakes", tmp_path / "real"
    _draw(generator, masks, fakes, n=2)
    for folder in ("images", "masks"):
        (real / folder).mkdir(parents=True)
        for name in "abcd":
            shown = "RGB" if folder == "images" else "L"
            Image.new(shown, (32, 32), 255).save(real / folder / f"{name}.png")
    manifest = read_manifest(fakes)
    assert manifest is not None
    assert manifest.origin is not None
    origin = dataclasses.replace(manifest.origin, train_ids=("real/a", "real/b"), train_groups=())
    write_manifest(fakes, dataclasses.replace(manifest, origin=origin))

    def read(train: str, held: str, **options: bool) -> tuple[str, ...]:
        lists = {"train": train, "held_out": held}
        files = {kind: [tmp_path / f"{kind}.txt"] for kind in lists}
        for kind, names in lists.items():
            files[kind][0].write_text("".join(f"real/{name}\n" for name in names))
        given = {"data": real, **files, "progress": lambda done, total: None, **options}
        return read_sets(fakes, **given).notes  # type: ignore[arg-type]

    # A folder without masks that no list names is in nobody's way, as in training.
    (tmp_path / "all" / "frames" / "images").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "all" / "frames" / "images" / "e.png")
    real.rename(tmp_path / "all" / "real")
    real = tmp_path / "all"
    assert read("ab", "cd") == ()
    with pytest.raises(BadDataset, match="1 of 2 pictures of --held-out were trained on"):
        read("b", "ac")
    assert "1 of 2 pictures that the generator was trained on are not in --train: real/b" in read("a", "cd")[0]
    with pytest.raises(BadDataset, match="give all lists"):
        read("a", "cd", all_of_train=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n": 0}, "n is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"solver": Solver(precision="fp16")}, "fp16 needs a GPU"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    options: dict[str, object], told: str, generator: LoadedGenerator, masks: MaskSource, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=told):
        _draw(generator, masks, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_running_out_of_memory_names_batch_and_size(
    generator: LoadedGenerator, masks: MaskSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sample_module, "solve", full)
    with pytest.raises(BadInput, match="out of memory with 1 pictures of 32x32 px"):
        _draw(generator, masks, tmp_path)
