"""Finding samples in the layouts that datasets come in, and picking them by split files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lawder_edge.data import clinicdb
from lawder_edge.data.datasets import (
    Sample,
    find_samples,
    listed_samples,
    pick_evenly,
    read_split,
    select,
    select_listed,
)
from lawder_edge.errors import BadDataset

Builder = Callable[..., Path]


def test_images_and_masks_are_paired_by_name(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["b", "a"], suffix=".jpg")
    samples = find_samples(folder)
    assert [sample.id for sample in samples] == ["polyps/a", "polyps/b"]
    first = samples[0]
    assert (first.image, first.mask) == (folder / "images" / "a.jpg", folder / "masks" / "a.png")
    assert (first.dataset, first.group, first.slice_index) == ("polyps", None, None)


def test_jpeg_masks_are_paired_as_kvasir_seg_hands_them_out(build_folder: Builder) -> None:
    folder = build_folder("Kvasir-SEG", ["cju0"], suffix=".jpg", mask_suffix=".jpg")
    assert find_samples(folder)[0].mask == folder / "masks" / "cju0.jpg"


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_the_original_clinicdb_layout_is_read(build_folder: Builder, suffix: str) -> None:
    folder = build_folder(
        "CVC-ClinicDB", ["1", "26"], images="Original", masks="Ground Truth", suffix=suffix, mask_suffix=suffix
    )
    samples = find_samples(folder)
    assert [(sample.id, sample.group) for sample in samples] == [
        ("CVC-ClinicDB/1", "clinicdb-sequence-01"),
        ("CVC-ClinicDB/26", "clinicdb-sequence-02"),
    ]
    assert samples[0].mask == folder / "Ground Truth" / f"1{suffix}"


def test_clinicdb_below_png_and_tif_is_read_once(build_folder: Builder) -> None:
    for form in ("PNG", "TIF"):
        build_folder(f"CVC-ClinicDB/{form}", ["1"], images="Original", masks="Ground Truth", suffix=f".{form.lower()}")
    root = build_folder("CVC-ClinicDB/PNG", ["1"], images="Original", masks="Ground Truth").parent
    assert [(sample.id, sample.image.suffix) for sample in find_samples(root)] == [("CVC-ClinicDB/1", ".png")]


def test_a_folder_of_datasets_is_read_and_what_is_no_dataset_is_ignored(build_folder: Builder, tmp_path: Path) -> None:
    build_folder("root/second", ["x"])
    build_folder("root/first", ["x"])
    (tmp_path / "root" / "splits").mkdir()
    (tmp_path / "root" / "splits" / "train.txt").write_text("first/x\n")
    (tmp_path / "root" / "README.md").write_text("about")
    (tmp_path / "root" / "first" / "images" / "._x.png").write_text("left by a Mac")
    assert [sample.id for sample in find_samples(tmp_path / "root")] == ["first/x", "second/x"]


def test_the_pranet_bundle_is_read_with_sequences_of_its_clinicdb_frames(build_folder: Builder, tmp_path: Path) -> None:
    # The four beginnings of Kvasir-SEG's names.
    polyps = [f"{begin}{'0' * 22}" for begin in ("cju", "cjy", "cjz", "ck2")]
    build_folder("bundle/TrainDataset", [*polyps, "30", "612"])
    build_folder("bundle/TestDataset/Kvasir", ["cju0bb"])
    build_folder("bundle/TestDataset/CVC-ClinicDB", ["31"])
    build_folder("bundle/TestDataset/ETIS-LaribPolypDB", ["1"])
    assert {sample.id: sample.group for sample in find_samples(tmp_path / "bundle")} == {
        "CVC-ClinicDB/31": "clinicdb-sequence-02",
        "ETIS-LaribPolypDB/1": None,
        "Kvasir/cju0bb": None,
        "TrainDataset/30": "clinicdb-sequence-02",
        "TrainDataset/612": "clinicdb-sequence-29",
        **{f"TrainDataset/{stem}": None for stem in polyps},
    }


def test_a_folder_says_whose_its_pictures_are(build_folder: Builder) -> None:
    folder = build_folder("ours", ["a", "b", "c"])
    (folder / "groups.tsv").write_text("# stem\tpatient\na\tp 1\nb\tp 1\n")
    assert [sample.group for sample in find_samples(folder)] == ["p 1", "p 1", None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a p1", "line 1: 'a p1'; wanted a stem, a tab"),
        ("z\tp1", "no image 'z'"),
        ("a\tp1\na\tp2", "line 2: 'a' stands"),
    ],
)
def test_a_list_of_patients_that_does_not_read_is_told(text: str, told: str, build_folder: Builder) -> None:
    folder = build_folder("ours", ["a", "b"])
    (folder / "groups.tsv").write_text(text)
    with pytest.raises(BadDataset, match=told):
        find_samples(folder)


def test_another_clinics_numbered_frames_get_no_sequences(build_folder: Builder) -> None:
    assert [sample.group for sample in find_samples(build_folder("clinic_oslo", ["1", "26"]))] == [None, None]


def test_all_612_numbers_are_recognised_as_clinicdb_under_any_name(build_folder: Builder) -> None:
    folder = build_folder("frames", [])
    for number in range(1, 613):
        (folder / "images" / f"{number:03d}.png").touch()
        (folder / "masks" / f"{number:03d}.png").touch()
    groups = [sample.group for sample in find_samples(folder)]
    assert len(set(groups)) == 29
    assert groups[24:26] == ["clinicdb-sequence-01", "clinicdb-sequence-02"]


def test_a_frame_outside_clinicdb_has_no_sequence() -> None:
    assert clinicdb.frame_number("613") is None
    assert clinicdb.frame_number("0") is None
    assert clinicdb.frame_number("x1") is None
    with pytest.raises(ValueError, match="1 to 612"):
        clinicdb.sequence_of(613)


def test_slices_of_one_case_are_one_patient(build_folder: Builder) -> None:
    folder = build_folder("kits19-slices", ["case_00030_slice025", "case_00030_slice031", "case_00031_slice001"])
    assert [sample.group for sample in find_samples(folder)] == ["case_00030", "case_00030", "case_00031"]


def test_datasets_of_one_name_keep_their_path_in_the_id(build_folder: Builder, tmp_path: Path) -> None:
    build_folder("root/a/polyps", ["x"])
    build_folder("root/b/polyps", ["x"])
    build_folder("root/c", ["x"])
    assert [sample.id for sample in find_samples(tmp_path / "root")] == ["a/polyps/x", "b/polyps/x", "c/x"]


def test_a_folder_that_no_list_names_may_lack_its_masks(build_folder: Builder, tmp_path: Path) -> None:
    build_folder("root/polyps", ["x", "y"])
    shutil.rmtree(build_folder("root/healthy", ["z"]) / "masks")
    split = tmp_path / "train.txt"
    split.write_text("polyps/y\n")
    assert [sample.id for sample in listed_samples(tmp_path / "root", [split])] == ["polyps/y"]
    for lists in ([], [tmp_path / "both.txt"]):
        (tmp_path / "both.txt").write_text("polyps/y\nhealthy/z\n")
        with pytest.raises(BadDataset, match="healthy: 1 images but no masks"):
            listed_samples(tmp_path / "root", lists)
    split.write_text("elsewhere/y\n")
    with pytest.raises(BadDataset, match="no masks"):
        listed_samples(tmp_path / "root", [split])


def test_images_without_masks_are_an_error_that_names_the_layouts(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a", "b"], masks=None)
    with pytest.raises(BadDataset, match=r"polyps: 2 images but no masks; wanted .*images/ and masks/.*PraNet"):
        find_samples(folder)
    with pytest.raises(BadDataset, match=r"images: 2 images but no masks"):
        find_samples(folder / "images")


def test_images_without_masks_are_samples_when_masks_are_not_needed(build_folder: Builder) -> None:
    folder = build_folder("polyps", ["a"], masks=None)
    for root in (folder, folder / "images"):
        (sample,) = find_samples(root, require_masks=False)
        assert (sample.image.name, sample.mask) == ("a.png", None)


def test_images_that_lack_their_mask_are_counted_and_named(build_folder: Builder) -> None:
    folder = build_folder("polyps", [f"i{number}" for number in range(9)])
    for number in range(7):
        (folder / "masks" / f"i{number}.png").unlink()
    with pytest.raises(BadDataset, match=r"7 of 9 images have no mask of the same name: i0, i1, i2, i3, i4 and 2 more"):
        find_samples(folder)
    assert sum(sample.mask is None for sample in find_samples(folder, require_masks=False)) == 7


def test_two_images_of_one_name_are_an_error(build_folder: Builder) -> None:
    build_folder("polyps", ["a"])
    folder = build_folder("polyps", ["a"], suffix=".jpg")
    with pytest.raises(BadDataset, match=r"share their name .*images/a\.png"):
        find_samples(folder)


@pytest.mark.parametrize("contents", [None, "", "images"])
def test_a_folder_without_a_dataset_is_an_error(tmp_path: Path, contents: str | None) -> None:
    root = tmp_path / "root"
    if contents is not None:
        (root / contents).mkdir(parents=True)
    with pytest.raises(BadDataset, match=r"root: no .*wanted a folder with images/ and masks/"):
        find_samples(root)


def test_empty_image_and_mask_folders_are_an_error(build_folder: Builder) -> None:
    with pytest.raises(BadDataset, match="hold no images"):
        find_samples(build_folder("polyps", []))


def test_kits19_slices_with_kidney_become_samples(build_case: Builder, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    build_case(root, 0)
    build_case(root, 210, segmentation=False)
    samples = find_samples(root)
    assert [sample.id for sample in samples] == [f"kits19/case_00000_slice00{index}" for index in (2, 3, 4)]
    assert {(sample.group, sample.image.name) for sample in samples} == {("case_00000", "imaging.nii.gz")}
    assert [sample.slice_index for sample in samples] == [2, 3, 4]
    assert len(find_samples(root, require_masks=False)) == 3 + 6


def test_kits19_without_its_imaging_says_to_download_it(build_case: Builder, tmp_path: Path) -> None:
    build_case(tmp_path / "kits19", 0, imaging=False)
    with pytest.raises(BadDataset, match="1 cases have a segmentation but no imaging"):
        find_samples(tmp_path / "kits19")


def test_a_split_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_bytes(b"\xef\xbb\xbf# frames to train on\r\nb/2\r\n\r\na/1  # the first\r\nc/d/3\r\n")
    assert read_split(path) == ("b/2", "a/1", "c/d/3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the split is empty"),
        ("# nothing\n\n", "the split is empty"),
        ("a/1\nframe2\n", "line 2: 'frame2' is no id; wanted folder/stem"),
        ("a/1\na/2\na/1\n", "line 3: 'a/1' stands already in line 1"),
    ],
)
def test_a_bad_split_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.txt"
    path.write_text(text)
    with pytest.raises(BadDataset, match=rf"split\.txt.*{message}"):
        read_split(path)


def test_a_missing_or_binary_split_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="cannot be read"):
        read_split(tmp_path / "none.txt")
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(BadDataset, match="not a text file"):
        read_split(tmp_path / "image.txt")


def test_samples_are_selected_in_the_order_of_the_ids(build_folder: Builder) -> None:
    samples = find_samples(build_folder("polyps", ["a", "b", "c"]))
    assert [sample.id for sample in select(samples, ["polyps/c", "polyps/a"])] == ["polyps/c", "polyps/a"]


def test_ids_that_are_not_in_the_data_are_counted_and_named(build_folder: Builder) -> None:
    samples = find_samples(build_folder("polyps", ["a"]))
    with pytest.raises(BadDataset, match=r"2 of 3 ids .*: polyps/x, other/a\. Folders found: polyps"):
        select(samples, ["polyps/a", "polyps/x", "other/a"])


def test_a_folder_that_cannot_be_read_is_named(build_folder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_folder("polyps", ["a"])

    def locked(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", locked)
    with pytest.raises(BadDataset, match=r"polyps: this folder cannot be read \(Permission denied\)"):
        find_samples(folder)


def test_an_image_that_two_lists_hold_is_refused(tmp_path: Path) -> None:
    samples = [Sample(f"a/{n}", tmp_path / f"{n}.png", None, "a", None) for n in range(3)]
    for name, ids in (("one.txt", "a/0\na/1\n"), ("two.txt", "a/1\na/2\n")):
        (tmp_path / name).write_text(ids)
    assert [s.id for s in select_listed(samples, [tmp_path / "two.txt"])] == ["a/1", "a/2"]
    assert select_listed(samples, []) == samples
    with pytest.raises(BadDataset, match=r"1 images stand in more than one of one.txt, two.txt: a/1"):
        select_listed(samples, [tmp_path / "one.txt", tmp_path / "two.txt"])


def test_samples_are_picked_in_even_steps_and_all_where_there_are_no_more(build_folder: Builder) -> None:
    samples = find_samples(build_folder("polyps", [f"i{number}" for number in range(7)]))
    assert [sample.id for sample in pick_evenly(samples, 3)] == ["polyps/i0", "polyps/i2", "polyps/i4"]
    assert pick_evenly(samples, 0) == pick_evenly(samples, 9) == samples
