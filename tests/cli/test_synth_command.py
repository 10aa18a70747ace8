"""`lawder-edge synth train` and `synth sample` as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_calls import BRIEF, Said, blob, call_cli, done, refused
from PIL import Image

from lawder_edge.data.kept import read_kept
from lawder_edge.data.provenance import read_manifest
from lawder_edge.models import create_model
from lawder_edge.synthesis.generator import load_generator
from lawder_edge.training.checkpoint import WeightsRecord, read_tensors, read_weights, save_weights, write_tensors

TRAIN = (
    "--size", 32, "--widths", 8, 16, "--batch", 4, "--steps", 3, "--warmup-steps", 1, "--preview-every", 3, "--cpu",
    "--threads", 1,
)  # fmt: skip
DRAW = ("--steps", 2, "--cpu", "--threads", 1)


@pytest.fixture(scope="session")
def generated(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """The run folder of a generator, and what its training said."""
    out = tmp_path_factory.mktemp("runs") / "synth"
    return out, done(["synth", "train", "--data", phantom, "--out", out, *TRAIN])


@pytest.fixture(scope="session")
def generator(generated: tuple[Path, Said]) -> Path:
    return generated[0] / "generator.safetensors"


@pytest.fixture(scope="module")
def of_sixteen(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a generator that knows the first 16 phantom frames alone."""
    out = tmp_path_factory.mktemp("sixteen")
    names = [f"ph/{p.stem}" for p in sorted((phantom / "images").iterdir())]
    (out / "train.txt").write_text("\n".join(names[:16]))
    done(["synth", "train", "--data", phantom, "--split", out / "train.txt", "--out", out / "run", *TRAIN])
    return out / "run" / "generator.safetensors"


def _everything_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_from_real_pictures_to_a_segmenter_trained_on_synthetic_ones_too(
    generated: tuple[Path, Said], generator: Path, phantom: Path, tmp_path: Path
) -> None:
    run, said = generated
    made = load_generator(generator).sha256
    names = {"generator.safetensors", "last.safetensors", "curves.csv", "preview.png", "cache"}
    assert {p.name for p in run.iterdir()} == names | {"figure8.png", "delta-000000.png", "delta-000003.png"}
    assert f"{generator}: 3 steps, error " in said.out
    assert "24 pictures of 32x32 px to train on" in said.err
    fakes = tmp_path / "fakes"
    said = done(["synth", "sample", "--model", generator, "-n", 8, "--out", fakes, *DRAW])
    assert f"{fakes}: 8 synthetic pictures with masks, " in said.out
    assert f"next: lawder-edge train --data REAL --synth {fakes}" in said.err
    done(["data", "check", fakes])
    said = done(["train", "--data", phantom, "--synth", fakes, "--synth-per-pass", 4, "--out", tmp_path / "o", *BRIEF])
    assert "26 pictures to train on, 6 held out" in said.err
    assert f"8 of the training pictures are synthetic, 4 in each pass, by generator {made[:12]}" in said.err
    assert "validation is not clean: 6 of its 6 pictures" in said.err
    source = read_weights(tmp_path / "o" / "best.safetensors")[1].synthetic[0]
    assert (source.generator, source.pictures, source.per_pass) == (made, 8, 4)
    refused(call_cli(["train", "--data", phantom, "--synth", phantom, "--out", tmp_path / "p", *BRIEF]), "no manifest")


def test_a_finished_training_goes_on_and_an_overwritten_one_starts_anew(
    generated: tuple[Path, Said], phantom: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generated[0], tmp_path / "run")
    command = ["synth", "train", "--data", phantom, "--out", run, *TRAIN]
    refused(call_cli(command), f"{run} exists. Add --resume")
    assert "5 steps" in done([*command, "--steps", 5, "--resume"]).out
    (run / "notes.txt").write_text("mine")
    assert "2 steps" in done([*command, "--steps", 2, "--overwrite"]).out
    assert (run / "notes.txt").read_text() == "mine"


def test_the_command_line_stands_above_the_recipe_file(phantom: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('arm = "ratio"\nwidths = [8, 8]\nsteps = 1\nsnapshots = [0]\n')
    done([
        "synth", "train", "--config", recipe, "--data", phantom, "--out", tmp_path / "run", "--size", 32, "--batch", 2,
        "--arm", "regions", "--cpu",
    ])  # fmt: skip
    config = load_generator(tmp_path / "run" / "step-000000.safetensors").record.config
    assert (config.arm, config.widths, config.size) == ("regions", (8, 8), 32)
    recipe.write_text("widths = [8.5]\n")
    refused(call_cli(["synth", "train", "--config", recipe, "--data", phantom]), "recipe.toml", "widths is [8.5]")


def test_an_arm_starts_from_another_generator(generator: Path, phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done(["synth", "train", "--data", phantom, "--out", out, *TRAIN, "--init", generator, "--arm", "ratio"])
    assert load_generator(out / "generator.safetensors").record.start == load_generator(generator).sha256


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (("--masks", "procedural"), "procedural"),
        (("--masks", "augmented", "--data", "ph"), "augmented ph/phantom_0_"),
        (("--masks", "ph"), "ph/phantom_0_0000"),
        (("--masks", "ph/masks"), "masks/phantom_0_0000"),
    ],
    ids=["procedural", "augmented", "dataset", "mask files"],
)
def test_masks_come_from_each_source(
    options: tuple[str, ...], source: str, generator: Path, phantom: Path, tmp_path: Path
) -> None:
    words = [str(phantom.parent / word) if word.startswith("ph") else word for word in options]
    said = done(["synth", "sample", "--model", generator, "-n", 1, "--out", tmp_path / "out", *words, *DRAW])
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.images[0].mask.startswith(source)
    assert ("masks of another size brought to 32x32: 24 of 128x96" in said.err) == (source != "procedural")


def test_a_stopped_drawing_goes_on(generator: Path, tmp_path: Path) -> None:
    command = ["synth", "sample", "--model", generator, "--out", tmp_path / "out", *DRAW]
    done([*command, "-n", 2])
    refused(call_cli([*command, "-n", 4]), "holds all of 2 synthetic pictures", "--resume", "--overwrite")
    before = _everything_below(tmp_path / "out" / "images")
    done([*command, "-n", 4, "--resume"])
    after = _everything_below(tmp_path / "out" / "images")
    assert len(after) == 4
    assert before.items() <= after.items()


def test_pictures_are_drawn_at_once_from_the_generator_that_the_package_carries(tmp_path: Path) -> None:
    command = ["synth", "sample", "-n", 3, "--out", tmp_path / "out", *DRAW, "--sheet", tmp_path / "sheets" / "s.png"]
    said = done(command)
    assert f"{tmp_path / 'out'}: 3 synthetic pictures" in said.out
    pictures = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "out" / "images").iterdir())]
    sheet = np.asarray(Image.open(tmp_path / "sheets" / "s.png"))
    assert sheet.shape == (256, 3 * 128, 3)
    assert np.array_equal(sheet[128:], np.concatenate(pictures, 1))
    assert set(np.unique(sheet[:128])) == {0, 255}
    refused(call_cli([*command[:5], tmp_path / "other", *command[6:]]), "s.png exists")
    inside = tmp_path / "other" / "s.png"
    refused(call_cli([*command[:5], tmp_path / "other", *DRAW, "--sheet", inside]), "lies in --out")
    assert not (tmp_path / "other").exists()


def test_pictures_lie_in_a_folder_of_that_name_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done(["synth", "sample", "-n", 1, *DRAW])
    assert [file.parent.name for file in sorted((tmp_path / "synthetic").glob("*/*.png"))] == ["images", "masks"]
    refused(call_cli(["synth", "sample", "-n", 1, "--seed", 1, *DRAW]), "synthetic")


class TestBadInput:
    """One line, exit code 2, and nothing lost."""

    def test_images_without_masks(self, pairs: Path, tmp_path: Path) -> None:
        shutil.rmtree(pairs / "masks")
        refused(call_cli(["synth", "train", "--data", pairs, "--out", tmp_path / "run", *TRAIN]), "but no masks")
        assert not (tmp_path / "run").exists()

    def test_a_mask_of_another_size_than_its_image(self, pairs: Path, tmp_path: Path) -> None:
        Image.fromarray(blob(height=50)).save(pairs / "masks" / "p3.png")
        command = ["synth", "train", "--data", pairs, "--out", tmp_path / "run", *TRAIN]
        refused(call_cli(command), "polyps/p3", "48x40", "48x50", "--skip-bad")
        assert "7 pictures of 32x32 px" in done([*command, "--skip-bad"]).err

    def test_masks_that_are_all_empty(self, pairs: Path, generator: Path, tmp_path: Path) -> None:
        for file in (pairs / "masks").iterdir():
            Image.fromarray(blob() * 0).save(file)
        refused(call_cli(["synth", "train", "--data", pairs, "--out", tmp_path / "run", *TRAIN]), "all 8 masks are")
        for masks in (("--masks", pairs), ("--masks", "augmented", "--data", pairs)):
            command = ["synth", "sample", "--model", generator, "--out", tmp_path / "out", *masks, *DRAW]
            refused(call_cli(command), "all 8 masks are empty at 32 px")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--arm", "focal"], "unknown arm 'focal'. Known: uniform, ratio, regions, law"),
            (["--size", 100], "multiple of"),
            (["--batch", 0], "batch is 0"),
            (["--batch", 3, "--accumulate", 2], "batch 3 does not divide"),
            (["--denoiser", "huge"], "unknown denoiser 'huge'"),
            (["--mixed-precision", "fp16"], "fp16 needs a GPU"),
            (["--config", "none.toml"], "none.toml"),
            (["--data", "nowhere"], "nowhere: no such folder"),
            (["--init", "nowhere.safetensors"], "nowhere.safetensors: no such file"),
        ],
    )
    def test_a_recipe_that_cannot_run_costs_nobody_an_earlier_run(
        self, options: list[object], told: str, pairs: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        run.mkdir()
        for name in ("generator.safetensors", "last.safetensors", "notes.txt"):
            (run / name).write_text("precious")
        before = _everything_below(run)
        refused(call_cli(["synth", "train", "--data", pairs, "--out", run, *TRAIN, *options, "--overwrite"]), told)
        assert _everything_below(run) == before

    def test_a_start_of_another_size(self, generator: Path, pairs: Path, tmp_path: Path) -> None:
        command = ["synth", "train", "--data", pairs, "--out", tmp_path / "run", *TRAIN, "--init", generator]
        refused(call_cli([*command, "--size", 64]), str(generator), "size 32", "has 64", "--size 32")

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--masks", "augmented"], "needs --data"),
            (["--masks", "nowhere"], "nowhere: no such folder"),
            (["--data", "somewhere"], "reads no masks"),
            (["-n", 0], "n is 0"),
            (["--steps", 0], "steps is 0"),
            (["--guidance", "nan"], "guidance is nan"),
        ],
    )
    def test_words_that_make_no_sense(self, options: list[object], told: str, generator: Path, tmp_path: Path) -> None:
        command = ["synth", "sample", "--model", generator, "--out", tmp_path / "out", *DRAW, *options]
        refused(call_cli(command), told)
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_masks(self, generator: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        command = ["synth", "sample", "--model", generator, "--out", tmp_path / "out", "--masks", tmp_path / "empty"]
        refused(call_cli(command), "no masks in this folder")

    def test_an_output_folder_with_other_files(self, generator: Path, pairs: Path) -> None:
        before = _everything_below(pairs)
        for option in ([], ["--overwrite"], ["--resume"]):
            command = ["synth", "sample", "--model", generator, "--out", pairs, *DRAW, *option]
            refused(call_cli(command), str(pairs), "other files than synthetic pictures", "images/p0.png")
        assert _everything_below(pairs) == before

    @pytest.mark.parametrize("command", ["sample", "train"])
    def test_files_that_are_no_generator(
        self, command: str, generated: tuple[Path, Said], pairs: Path, tmp_path: Path
    ) -> None:
        segmenter = tmp_path / "segmenter.safetensors"
        save_weights(segmenter, create_model("mk_unet_t"), WeightsRecord("mk_unet_t"))
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes((generated[0] / "generator.safetensors").read_bytes()[:3000])
        for file, told in (
            (segmenter, "Give the generator.safetensors"),
            (generated[0] / "last.safetensors", "Give the generator.safetensors"),
            (cut, "not a complete safetensors file"),
            (tmp_path / "none.safetensors", "no such file"),
        ):
            words = {
                "sample": ["synth", "sample", "--model", file, "--out", tmp_path / "out", *DRAW],
                "train": ["synth", "train", "--init", file, "--data", pairs, "--out", tmp_path / "run", *TRAIN],
            }[command]
            refused(call_cli(words), str(file), told)
        assert not (tmp_path / "out").exists()

    def test_the_weights_of_another_width(self, generated: tuple[Path, Said], tmp_path: Path) -> None:
        tensors, header = read_tensors(generated[0] / "generator.safetensors")
        other = tmp_path / "other.safetensors"
        write_tensors(other, tensors, {**header, "record": header["record"].replace("[8, 16]", "[16, 16]")})
        refused(
            call_cli(["synth", "sample", "--model", other, "--out", tmp_path / "out"]), str(other), "of another model"
        )


def test_a_score_chooses_what_a_segmenter_is_trained_on(of_sixteen: Path, phantom: Path, tmp_path: Path) -> None:
    fakes = tmp_path / "fakes"
    done(["synth", "sample", "--model", of_sixteen, "-n", 4, "--out", fakes, *DRAW])
    names = [f"ph/{p.stem}" for p in sorted((phantom / "images").iterdir())]
    for name, ids in {"train": names[:16], "held": names[16:]}.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    command = [
        "synth", "score", fakes, "--data", phantom, "--threads", 1, "--train", tmp_path / "train.txt", "--held-out",
        tmp_path / "held.txt",
    ]  # fmt: skip
    before = _everything_below(fakes)
    refused(call_cli([*command, "--keep", "75%"]), "give --judge")
    refused(call_cli([*command, "--overwrite"]), "add --keep, --reject-memorised or both")
    refused(call_cli([*command, "--judge", "order", "--keep", "75"]), "--keep 75: wanted a share", "75%", "0.75")
    assert _everything_below(fakes) == before
    said = done([*command, "--judge", "order", "--keep", "75%", "--reject-memorised", "--format", "json"])
    report = json.loads(said.out)
    kept = read_kept(fakes)
    assert kept is not None
    assert kept.rule.startswith("best 75% by mask Dice of order (")
    assert kept.rule.endswith("), no memorised ones by EfficientNet-Lite0 and by pixels")
    assert f"{fakes / 'kept.json'}: {len(kept.names)} of 4 pictures kept ({kept.rule})" in said.err
    assert [row.dice for row in kept.pictures] == [p["dice"] for p in report["fidelity"]["pictures"]]
    flagged = {p["id"].rsplit("/", 1)[-1] for p in report["memorised"]["flagged"]}
    assert {row.name.removesuffix(".png") for row in kept.pictures if row.memorised} == flagged
    assert 1 <= len(kept.names) <= 3
    again = [*command, "--reject-memorised"]
    refused(call_cli(again), "kept.json says already which pictures are kept", "--overwrite")
    done([*again, "--overwrite"])
    kept = read_kept(fakes)
    assert kept is not None
    assert kept.rule == "no memorised ones by EfficientNet-Lite0 and by pixels"
    assert len(kept.names) == 4 - len(flagged)
    done(["train", "--data", phantom, "--synth", fakes, "--out", tmp_path / "o", *BRIEF])
    source = read_weights(tmp_path / "o" / "best.safetensors")[1].synthetic[0]
    assert (source.pictures, source.drawn, source.chosen) == (len(kept.names), 4, kept.rule)


def test_synthetic_pictures_are_scored_against_real_ones(of_sixteen: Path, phantom: Path, tmp_path: Path) -> None:
    done(["synth", "sample", "--model", of_sixteen, "-n", 4, "--out", tmp_path / "fakes", *DRAW])
    names = [f"ph/{p.stem}" for p in sorted((phantom / "images").iterdir())]
    lists = {"train": names[:16], "held": names[16:]}
    for name, ids in lists.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    command = ["synth", "score", tmp_path / "fakes", "--data", phantom, "--threads", 1]
    sides = ["--train", tmp_path / "train.txt", "--held-out", tmp_path / "held.txt"]
    sheet = tmp_path / "sheet.png"
    said = done([*command, *sides, "--judge", "order", "--contact-sheet", sheet])
    assert f"{sheet}: written; it shows training pictures" in said.err
    with Image.open(sheet) as picture:
        assert picture.width > 2 * 3 * 256
    refused(call_cli([*command, *sides, "--contact-sheet", sheet]), "there is such a file already")
    assert "4 synthetic, 16 training and 8 held-out pictures" in said.out
    for word in ("EfficientNet-Lite0", "frame", "lesion crop", "mask fidelity: Dice of order", "memorised: "):
        assert word in said.out
    assert "FID" not in said.out
    assert not (tmp_path / "fakes" / "kept.json").exists()
    report = json.loads(done([*command, *sides, "--format", "json"]).out)
    assert [d["view"] for d in report["distances"]] == ["frame", "lesion crop"]
    # Three steps of training leave coloured noise, which no measure may take for endoscopy.
    assert report["distances"][0]["to_held"]["mean"] > 10 * abs(report["distances"][0]["floor"]["mean"])
    refused(call_cli(command), "give --train", "--held-out")
    inception = ("--features", "inception", "--features-file", tmp_path / "none.pth")
    refused(call_cli([*command, *sides, *inception]), "none.pth: no such file. Wanted is pt_inception-2015-12-05")
    refused(call_cli([*command, *sides, *inception[2:]]), "--features-file is for --features inception")
    refused(
        call_cli([*command, "--train", tmp_path / "train.txt", "--held-out", tmp_path / "train.txt"]), "16 pictures"
    )
    manifest = tmp_path / "fakes" / "manifest.json"
    listed = manifest.read_bytes()
    first = next((tmp_path / "fakes" / "images").iterdir())
    Image.new("RGB", (32, 32)).save(first)
    refused(call_cli([*command, *sides]), f"1 files are not as they were written: images/{first.name}")
    manifest.unlink()
    assert "nothing says that these pictures are synthetic" in done([*command, *sides]).err
    manifest.write_bytes(listed[:40])
    refused(call_cli([*command, *sides]), "not the manifest of synthetic pictures", "Copy the folder again")


def test_a_student_learns_from_a_teacher_that_is_shown_more_of_the_picture(phantom: Path, tmp_path: Path) -> None:
    command = ["synth", "train", "--data", phantom, *TRAIN]
    teacher = tmp_path / "teacher" / "generator.safetensors"
    said = done([*command, "--out", teacher.parent, "--condition", "lowpass"])
    assert f"next: lawder-edge synth train ... --teacher {teacher}" in said.err
    refused(call_cli(["synth", "sample", "--model", teacher, "--out", tmp_path / "out", *DRAW]), "is a teacher")
    student = tmp_path / "student"
    refused(call_cli([*command, "--out", student, "--teacher-weight", 0.3]), "give --teacher")
    refused(call_cli([*command, "--out", student, "--teacher", teacher, "--teacher-weight", 2]), "teacher weight is 2")
    refused(call_cli([*command, "--out", student, "--condition", "highpass"]), "unknown condition 'highpass'")
    assert not student.exists()
    done([*command, "--out", student, "--teacher", teacher, "--teacher-weight", 0.3])
    record = load_generator(student / "generator.safetensors").record
    assert (record.teacher, record.teacher_weight) == (load_generator(teacher).sha256, 0.3)
    # A run of before there was a condition says nothing of it, and goes on.
    header = read_tensors(student / "last.safetensors")[1]["config"]
    assert "condition" not in header
