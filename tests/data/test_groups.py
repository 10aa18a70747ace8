"""Whose picture is whose, wherever the dataset's folder is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lawder_edge.data.check import check_folder
from lawder_edge.data.datasets import find_samples
from lawder_edge.errors import BadDataset

Builder = Callable[..., Path]

SEQUENCES = ["clinicdb-sequence-01", "clinicdb-sequence-02"]


@pytest.fixture
def clinicdb_png(build_folder: Builder) -> Path:
    """`CVC-ClinicDB/PNG` with two frames of two sequences."""
    return build_folder("root/CVC-ClinicDB/PNG", ["1", "26"], images="Original", masks="Ground Truth")


def groups(root: Path) -> list[str | None]:
    return [sample.group for sample in find_samples(root)]


@pytest.mark.parametrize("form", ["PNG", "TIF"])
def test_some_of_clinicdbs_frames_below_png_or_tif_have_sequences(form: str, build_folder: Builder) -> None:
    half = build_folder(f"root/CVC-ClinicDB/{form}", ["1", "26"], images="Original", masks="Ground Truth")
    for root in (half.parent, half.parent.parent, half):
        assert groups(root) == SEQUENCES


def test_a_dataset_opened_from_inside_its_folder_has_its_sequences(
    clinicdb_png: Path, build_folder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = build_folder("TrainDataset", ["1", "26", "cju0qkwl35piu0993l0dewei2"])
    for inside, expected in ((clinicdb_png.parent, SEQUENCES), (clinicdb_png, SEQUENCES), (train, [*SEQUENCES, None])):
        monkeypatch.chdir(inside)
        assert groups(Path()) == expected


def test_a_dataset_behind_a_link_is_known_by_both_names(build_folder: Builder, tmp_path: Path) -> None:
    names = ["1", "26", "ck2bxiswtxuw80838qkisqjwz"]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "TrainDataset").symlink_to(build_folder("stored", names))
    (tmp_path / "b").symlink_to(build_folder("TrainDataset", names))
    assert groups(tmp_path / "a" / "TrainDataset") == groups(tmp_path / "b") == [*SEQUENCES, None]


def test_numbered_frames_among_names_that_are_not_kvasir_segs_get_no_sequences(build_folder: Builder) -> None:
    assert groups(build_folder("TrainDataset", ["1", "26", "cju0"])) == [None, None, None]


def test_a_list_of_patients_is_read_beside_png_and_in_it(clinicdb_png: Path) -> None:
    (clinicdb_png / "groups.tsv").write_text("1\tinner\n26\tinner\n")
    assert groups(clinicdb_png.parent) == ["inner", "inner"]
    (clinicdb_png.parent / "groups.tsv").write_text("26\touter\n")
    assert groups(clinicdb_png.parent) == ["inner", "outer"]


def test_a_number_sign_within_a_name_is_no_comment_in_a_list_of_patients(build_folder: Builder) -> None:
    folder = build_folder("ours", ["a", "a#1"])
    (folder / "groups.tsv").write_text("# stem\tpatient\na\tp#1\t# seen twice\na#1\tp#2 # once\n")
    assert groups(folder) == ["p#1", "p#2"]


def test_a_name_that_a_list_of_patients_takes_for_a_comment_is_refused(build_folder: Builder) -> None:
    folder = build_folder("ours", ["#1", "a"])
    assert groups(folder) == [None, None]
    (folder / "groups.tsv").write_text("#1\tp1\na\tp1\n")
    with pytest.raises(BadDataset, match=r"groups\.tsv: cannot name 1 images, since # starts a comment: #1\. Rename"):
        find_samples(folder)


def test_a_list_of_patients_that_does_not_read_is_one_finding_among_others(build_folder: Builder) -> None:
    folder = build_folder("ours", ["a", "b"])
    (folder / "groups.tsv").write_text("z\tp1\n")
    (folder / "images" / "b.png").write_bytes(b"")
    report = check_folder(folder)
    assert [finding.severity for finding in report.findings] == ["error", "error"]
    assert "no image 'z'" in report.findings[0].message
    assert "0 bytes" in report.findings[1].message


def test_a_list_of_patients_for_volumes_is_read_for_all_of_them(build_case: Builder, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    for number in (0, 1):
        build_case(root, number)
    (root / "groups.tsv").write_text("case_00000\tp\ncase_00001\tp\n")
    report = check_folder(root, num_classes=3, near_duplicates=False)
    assert report.datasets[0].groups == 1
    assert not [finding for finding in report.findings if finding.severity == "error"]
