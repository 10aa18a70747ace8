"""The folder check reports all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lawder_edge.data.check import CheckReport, Finding, check_folder

Builder = Callable[..., Path]


def found(report: CheckReport, text: str) -> Finding:
    """The one finding whose message holds the text."""
    (finding,) = [finding for finding in report.findings if text in finding.message]
    return finding


def test_a_clean_folder_is_ok_and_summed_up(build_folder: Builder) -> None:
    done: list[tuple[int, int]] = []
    report = check_folder(build_folder("polyps", ["a", "b", "c"]), progress=lambda *step: done.append(step))
    assert (report.severity, report.findings) == ("ok", ())
    (summary,) = report.datasets
    assert (summary.name, summary.images, summary.pairs, summary.groups) == ("polyps", 3, 3, 0)
    assert summary.sizes == (((40, 48), 3),)
    assert summary.area_percent == pytest.approx((100 * 180 / 1920,) * 5)
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_all_problems_of_a_folder_are_collected(build_folder: Builder) -> None:
    folder = build_folder("polyps", [f"i{number}" for number in range(8)])
    images, masks = folder / "images", folder / "masks"
    (masks / "i0.png").unlink()
    (images / "i1.png").unlink()
    (images / "i2.png").write_bytes(b"")
    (masks / "i3.png").write_text("no mask")
    Image.new("L", (20, 10)).save(masks / "i4.png")
    Image.new("L", (48, 40)).save(masks / "i5.png")
    Image.new("RGB", (48, 40), (255, 0, 0)).save(masks / "i6.png")
    Image.new("RGB", (48, 40), (9, 9, 9)).save(images / "i7.png")
    report = check_folder(folder)
    assert report.severity == "error"
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert report.findings[: len(errors)] == tuple(errors)
    assert {item for finding in errors for item in finding.items} == {"i0", "polyps/i2", "polyps/i3", "polyps/i4"}
    assert found(report, "images without a mask").items == ("i0",)
    assert "0 bytes" in found(report, "i2.png").message
    assert "not an image" in found(report, "i3.png").message
    assert "the image is 48x40 and its mask 20x10" in found(report, "polyps/i4:").message
    assert found(report, "masks without an image").items == ("i1",)
    assert found(report, "empty masks").items == ("polyps/i4", "polyps/i5")
    assert found(report, "colours in 1920 pixels").items == ("polyps/i6",)
    assert found(report, "all foreground").items == ("polyps/i6",)
    assert found(report, "single colour").items == ("polyps/i7",)
    assert report.datasets[0].pairs == 3


def test_jpeg_masks_are_told_once_for_all(build_folder: Builder) -> None:
    report = check_folder(build_folder("polyps", ["a", "b"], mask_suffix=".jpg"))
    finding = found(report, "thresholded")
    assert (finding.severity, finding.items) == ("warn", ("polyps/a", "polyps/b"))
    assert finding.message.startswith("2 masks to interpret, such as polyps/a")


def test_a_folder_without_masks_or_without_a_dataset_is_an_error(build_folder: Builder, tmp_path: Path) -> None:
    report = check_folder(build_folder("polyps", ["a"], masks=None))
    assert [(finding.severity, finding.dataset) for finding in report.findings] == [("error", "polyps")]
    assert "1 images but no masks; wanted" in report.findings[0].message
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "none"):
        assert check_folder(root).severity == "error"
    assert "no image" in check_folder(build_folder("bare", [])).findings[0].message


def test_files_that_share_a_name_are_an_error(build_folder: Builder) -> None:
    build_folder("polyps", ["a"])
    report = check_folder(build_folder("polyps", ["a"], suffix=".jpg"))
    assert found(report, "share their name").items == ("images/a.png",)


def test_inverted_masks_are_suspected(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a", "b"])
    for mask in (folder / "masks").iterdir():
        Image.fromarray(255 - np.array(Image.open(mask))).save(mask)
    assert found(check_folder(folder), "inverted").severity == "warn"


def test_dark_16_bit_images_are_told(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a", "b"])
    for stem, top in (("a", 4095), ("b", 65535)):
        Image.fromarray(np.linspace(0, top, 1920).reshape(40, 48).astype(np.uint16)).save(
            folder / "images" / f"{stem}.png"
        )
    assert found(check_folder(folder), "12 bits or fewer").items == ("polyps/a",)


def test_class_numbers_beyond_the_classes_are_errors(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a"])
    report = check_folder(folder, num_classes=3)
    assert found(report, "class number 255").severity == "error"


def test_exact_and_near_duplicates_are_told_apart(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a", "b"]) / "images"
    image = Image.open(folder / "a.png")
    for stem in ("exact", "near"):
        Image.open(folder.parent / "masks" / "a.png").save(folder.parent / "masks" / f"{stem}.png")
    image.save(folder / "exact.png")
    image.point(lambda value: min(255, value + 3)).save(folder / "near.png")
    report = check_folder(folder.parent)
    assert found(report, "pixel for pixel").items == ("polyps/a = polyps/exact",)
    assert [item.split(" (")[0] for item in found(report, "same scene").items] == [
        "polyps/a = polyps/near",
        "polyps/exact = polyps/near",
    ]
    assert not [
        finding
        for finding in check_folder(folder.parent, near_duplicates=False).findings
        if "same scene" in finding.message
    ]


def test_frames_of_one_sequence_may_be_alike_but_not_across_splits(build_folder: Builder, tmp_path: Path) -> None:
    folder = build_folder("CVC-ClinicDB", ["1", "30"])
    for stem, shift in (("2", 3), ("3", 5)):
        image = Image.open(folder / "images" / "1.png").point(lambda value, shift=shift: min(255, value + shift))
        image.save(folder / "images" / f"{stem}.png")
        Image.open(folder / "masks" / "1.png").save(folder / "masks" / f"{stem}.png")
    assert check_folder(folder).severity == "ok"
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("CVC-ClinicDB/1\nCVC-ClinicDB/2\nCVC-ClinicDB/30\n")
    test.write_text("CVC-ClinicDB/3\nCVC-ClinicDB/30\n")
    report = check_folder(folder, splits=[train, test])
    assert {finding.dataset for finding in report.findings} == {"train.txt, test.txt"}
    assert found(report, "stand in both splits: CVC-ClinicDB/30").severity == "error"
    assert found(report, "sequences or patients").items == ("clinicdb-sequence-01", "clinicdb-sequence-02")
    assert [item.split(" (")[0] for item in found(report, "same scene").items] == [
        "CVC-ClinicDB/1 = CVC-ClinicDB/3",
        "CVC-ClinicDB/2 = CVC-ClinicDB/3",
    ]


def test_bad_split_files_are_errors_beside_the_others(build_folder: Builder, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "other.txt").write_text("elsewhere/a\n")
    report = check_folder(
        build_folder("polyps", ["a"]), splits=[tmp_path / name for name in ("empty.txt", "other.txt", "none.txt")]
    )
    assert [(finding.severity, finding.dataset) for finding in report.findings] == [
        ("error", "empty.txt"),
        ("error", "none.txt"),
        ("error", "other.txt"),
    ]


def test_volumes_are_checked_case_by_case(build_case: Builder, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    root = tmp_path / "kits19"
    build_case(root, 0)
    build_case(root, 1, imaging=False)
    build_case(root, 2, segmentation=False)
    whole = (build_case(root, 3) / "segmentation.nii.gz").read_bytes()
    (root / "case_00003" / "segmentation.nii.gz").write_bytes(whole[: len(whole) // 2])
    imaging = build_case(root, 4) / "imaging.nii.gz"
    noise = np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), imaging)
    whole = imaging.read_bytes()
    imaging.write_bytes(whole[: len(whole) * 2 // 3])
    report = check_folder(root, num_classes=3)
    assert found(report, "cases without imaging").items == ("case_00001",)
    assert found(report, "cases without segmentation").items == ("case_00002",)
    assert found(report, "segmentation.nii.gz: truncated").items == ("case_00003",)
    assert len(found(report, "imaging.nii.gz: truncated").items) == 3
    assert (report.datasets[0].images, report.datasets[0].pairs, report.datasets[0].groups) == (6, 3, 2)
