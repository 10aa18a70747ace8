from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_samples import MODEL_FILE, fill, sample_manifest, verdict

from lawder_edge.bundle.manifest import Manifest
from lawder_edge.bundle.store import (
    Bundle,
    list_files,
    open_bundle,
    read_certificate,
    reject,
    write_bundle,
    write_certificate,
)
from lawder_edge.errors import BadBundle, GateFailed, OutputExists
from lawder_edge.files import write_file


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made" / "net-onnx"


def second(folder: Path) -> Manifest:
    return fill(folder, b"another model")


def full_disk(folder: Path) -> Manifest:
    fill(folder)
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(folder: Path) -> Manifest:
    fill(folder)
    raise KeyboardInterrupt


def test_a_written_bundle_opens_with_the_same_manifest_and_leaves_nothing_else(out: Path) -> None:
    written = write_bundle(out, fill)
    opened = open_bundle(out)
    assert opened == written
    assert opened.model_path.read_bytes() == b"model"
    assert names(out.parent) == ["net-onnx"]
    assert names(out) == ["golden", "manifest.json", MODEL_FILE]


@pytest.mark.parametrize("build", [full_disk, interrupted])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_build_that_fails_leaves_what_stood_there_and_no_debris(out: Path, build: object, overwrite: bool) -> None:
    if overwrite:
        write_bundle(out, fill)
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_bundle(out, build, overwrite=overwrite)  # type: ignore[arg-type]
    assert names(out.parent) == (["net-onnx"] if overwrite else [])
    if overwrite:
        assert open_bundle(out).model_path.read_bytes() == b"model"


def test_an_existing_bundle_is_replaced_only_on_request(out: Path) -> None:
    write_bundle(out, fill)
    with pytest.raises(OutputExists, match="--overwrite"):
        write_bundle(out, second)
    assert open_bundle(out).model_path.read_bytes() == b"model"
    write_bundle(out, second, overwrite=True)
    assert open_bundle(out).model_path.read_bytes() == b"another model"
    assert names(out.parent) == ["net-onnx"]


def test_overwriting_never_deletes_a_folder_that_is_no_bundle(out: Path) -> None:
    out.mkdir(parents=True)
    (out / "thesis.tex").write_text("three years")
    with pytest.raises(OutputExists, match="no bundle"):
        write_bundle(out, fill, overwrite=True)
    assert names(out) == ["thesis.tex"]


@pytest.mark.parametrize("text", ["{}", '{"schema_version": 1, "name": "a web app"}', "", "[1]"])
def test_another_programs_manifest_makes_no_bundle(out: Path, text: str) -> None:
    out.mkdir(parents=True)
    (out / "manifest.json").write_text(text)
    with pytest.raises(OutputExists, match="no bundle"):
        write_bundle(out, fill, overwrite=True)
    assert (out / "manifest.json").read_text() == text


def test_an_engine_that_was_built_in_the_bundle_leaves_it_valid(out: Path) -> None:
    def engine(folder: Path) -> Manifest:
        (folder / "net.engine").write_bytes(b"exported")
        return replace(sample_manifest(), model_file="net.engine", files=list_files(folder))

    write_bundle(out, engine)
    for name in ("model.engine", "model.rtx.engine"):
        (out / name).write_bytes(b"built")
    assert open_bundle(out).model_path.read_bytes() == b"exported"
    (out / "other.engine").write_bytes(b"from anywhere")
    with pytest.raises(BadBundle, match=r"other\.engine: a model file that the manifest does not list"):
        open_bundle(out)


@pytest.mark.parametrize("stray", ["notes.txt", "masks/a_mask.png", "__pycache__/notes.txt"])
def test_a_bundle_with_a_file_of_the_users_in_it_is_not_replaced(out: Path, stray: str) -> None:
    write_bundle(out, fill)
    (out / stray).parent.mkdir(exist_ok=True)
    (out / stray).write_text("three years")
    with pytest.raises(OutputExists, match=stray):
        write_bundle(out, second, overwrite=True)
    assert (out / stray).read_text() == "three years"
    assert open_bundle(out).model_path.read_bytes() == b"model"


def test_certificate_and_byte_code_do_not_keep_a_bundle_from_being_replaced(out: Path) -> None:
    bundle = write_bundle(out, fill)
    write_certificate(bundle, verdict(bundle, "unverified-here"))
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "processing.cpython-311.pyc").write_bytes(b"")
    write_bundle(out, second, overwrite=True)
    assert names(out) == ["golden", "manifest.json", MODEL_FILE]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_appears_while_the_bundle_is_built_is_kept(out: Path, overwrite: bool) -> None:
    def slow(folder: Path) -> Manifest:
        out.mkdir()
        (out / "thesis.tex").write_text("three years")
        return fill(folder)

    with pytest.raises(OutputExists):
        write_bundle(out, slow, overwrite=overwrite)
    assert (out / "thesis.tex").read_text() == "three years"
    assert names(out.parent) == ["net-onnx"]


def test_another_bundle_that_is_finished_first_is_kept_unless_told_otherwise(out: Path) -> None:
    def slow(folder: Path) -> Manifest:
        write_bundle(out, second)
        return fill(folder)

    with pytest.raises(OutputExists, match="--overwrite"):
        write_bundle(out, slow)
    assert open_bundle(out).model_path.read_bytes() == b"another model"


def test_a_failed_rename_puts_the_old_bundle_back(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(out, fill)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        write_bundle(out, second, overwrite=True)
    assert names(out.parent) == ["net-onnx"]
    assert open_bundle(out).model_path.read_bytes() == b"model"


def test_a_changed_file_is_refused_with_both_hashes(out: Path) -> None:
    manifest = write_bundle(out, fill).manifest
    (out / MODEL_FILE).write_bytes(b"modeL")
    with pytest.raises(BadBundle) as caught:
        open_bundle(out)
    assert MODEL_FILE in str(caught.value)
    assert manifest.model_entry.sha256 in str(caught.value)
    assert "export it again" in str(caught.value)


def test_a_missing_file_is_named(out: Path) -> None:
    write_bundle(out, fill)
    (out / "golden" / "00.frame.png").unlink()
    with pytest.raises(BadBundle, match=r"00\.frame\.png: missing"):
        open_bundle(out)


def test_a_second_model_file_that_nobody_lists_is_refused(out: Path) -> None:
    write_bundle(out, fill)
    (out / "zzz.onnx").write_bytes(b"stray")
    with pytest.raises(BadBundle, match=r"zzz\.onnx: a model file"):
        open_bundle(out)


def test_results_that_a_user_writes_beside_the_model_do_not_spoil_it(out: Path) -> None:
    write_bundle(out, fill)
    (out / "masks").mkdir()
    (out / "masks" / "a_mask.png").write_bytes(b"")
    assert open_bundle(out).path == out


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path, exists: bool) -> None:
    place = tmp_path if exists else tmp_path / "nowhere"
    with pytest.raises(BadBundle, match=r"no manifest\.json" if exists else "no such folder"):
        open_bundle(place)


def test_a_certificate_does_not_change_what_the_manifest_holds(out: Path) -> None:
    bundle = write_bundle(out, fill)
    certificate = verdict(bundle, "unverified-here")
    write_certificate(bundle, certificate)
    assert read_certificate(open_bundle(out)) == certificate


def test_a_bundle_that_was_never_verified_has_no_certificate(out: Path) -> None:
    assert read_certificate(write_bundle(out, fill)) is None


def test_a_certificate_of_another_file_is_refused(out: Path, tmp_path: Path) -> None:
    bundle, other = write_bundle(out, fill), write_bundle(tmp_path / "other", second)
    with pytest.raises(BadBundle, match=r"made for a model file"):
        write_certificate(bundle, verdict(other))
    write_certificate(other, verdict(other))
    (out / "certificate.json").write_bytes((other.path / "certificate.json").read_bytes())
    with pytest.raises(BadBundle, match="verify"):
        read_certificate(bundle)


def test_a_rejected_bundle_is_set_aside_and_the_old_one_stays(out: Path) -> None:
    write_bundle(out, fill)
    with pytest.raises(GateFailed, match=r"mask Dice is 0\.5, on 2 frames.*net-onnx\.rejected") as caught:
        write_bundle(out, second, overwrite=True, check=verdict)
    assert caught.value.exit_code == 3
    assert open_bundle(out).model_path.read_bytes() == b"model"
    aside = open_bundle(out.with_name("net-onnx.rejected"))
    assert aside.model_path.read_bytes() == b"another model"
    certificate = read_certificate(aside)
    assert certificate is not None
    assert certificate.status == "rejected"


def test_a_bundle_that_fails_later_is_renamed_over_an_earlier_rejected_one(out: Path) -> None:
    for build in (fill, second):
        bundle = write_bundle(out, build)
        error = reject(bundle, verdict(bundle))
        assert isinstance(error, GateFailed)
        assert not out.exists()
    assert open_bundle(out.with_name("net-onnx.rejected")).model_path.read_bytes() == b"another model"


def test_check_sees_the_finished_bundle_before_it_has_its_name(out: Path) -> None:
    seen: list[Bundle] = []

    def check(bundle: Bundle) -> object:
        seen.append(open_bundle(bundle.path))
        assert not out.exists()
        return verdict(bundle, "unverified-here")

    write_bundle(out, fill, check=check)  # type: ignore[arg-type]
    assert seen[0].manifest == open_bundle(out).manifest
    assert read_certificate(open_bundle(out)) is not None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a.json"
    place.write_bytes(b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_file(place, b"new")
    assert place.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]
