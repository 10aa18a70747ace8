"""Bundles on disk: written whole or not at all, opened only when every hash holds."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lawder_edge.bundle.certificate import CERTIFICATE_NAME, Certificate
from lawder_edge.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest
from lawder_edge.errors import BadBundle, GateFailed, OutputExists
from lawder_edge.files import write_file

REJECTED_SUFFIX = ".rejected"
# What a bundle's build.sh makes of it on the device. Its run.py uses it; nothing here does.
BUILT_IN_PLACE = ("model.engine", "model.rtx.engine")


@dataclass(frozen=True)
class Bundle:
    """A folder whose files are those that its manifest lists. path: the folder."""

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.path / self.manifest.model_file


def file_entry(folder: Path, path: Path) -> FileEntry:
    """Name inside `folder`, sha256 and size of one file."""
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    return FileEntry(path.relative_to(folder).as_posix(), digest, path.stat().st_size)


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """Entries of all files below `folder` in order of name, without manifest and certificate."""
    own = {MANIFEST_NAME, CERTIFICATE_NAME}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).as_posix() not in own)
    return tuple(file_entry(folder, p) for p in paths)


def write_certificate(bundle: Bundle, certificate: Certificate) -> None:
    """Put the certificate into its bundle. Raises BadBundle if it was made for another model file."""
    _check_subject(bundle, certificate)
    write_file(bundle.path / CERTIFICATE_NAME, certificate.to_json().encode())


def has_certificate(bundle: Bundle) -> bool:
    """Whether the bundle holds a certificate, good or not."""
    return (bundle.path / CERTIFICATE_NAME).is_file()


def read_certificate(bundle: Bundle) -> Certificate | None:
    """The bundle's certificate, None where it was never verified. Raises BadBundle if it is not of this model file."""
    path = bundle.path / CERTIFICATE_NAME
    if not path.is_file():
        return None
    certificate = Certificate.from_json(path.read_bytes(), source=str(path))
    _check_subject(bundle, certificate)
    return certificate


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raises OutputExists where a bundle cannot be written to `out`: before any work is done for it.

    With `overwrite` an earlier bundle or an empty folder may stand there, and nothing else: no other folder is deleted,
    and no bundle with files in it that its manifest does not list.
    """
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise OutputExists(f"{out}: exists already. Choose another folder, or give --overwrite to replace that bundle.")
    keep = _worth_keeping(out)
    if keep:
        raise OutputExists(f"{out}: exists and {keep}, so it is not replaced. Choose another folder.")


def write_bundle(
    out: Path,
    build: Callable[[Path], Manifest],
    *,
    overwrite: bool = False,
    check: Callable[[Bundle], Certificate] | None = None,
) -> Bundle:
    """Make a bundle beside its place, then rename it there.

    `build` fills the folder that it is given and returns the manifest (its `files` from `list_files`). `check` verifies
    the finished folder before it is handed out; what it returns becomes the certificate. Whatever fails, and a crash at
    any moment, leaves what stood at `out`: whole at its name, or, in the instant between two renames, whole under
    `.NAME.*.old`. What appears at `out` while the bundle is built is judged like what stood there before.

    Raises OutputExists as `check_free`; GateFailed when the certificate rejects: the folder then stands at
    `OUT.rejected` and `out` is untouched.
    """
    check_free(out, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    try:
        folder.chmod(0o755)
        manifest = build(folder)
        write_file(folder / MANIFEST_NAME, manifest.to_json().encode())
        bundle = open_bundle(folder)
        certificate = check(bundle) if check else None
        if certificate:
            write_certificate(bundle, certificate)
        _flush(folder)
        if certificate and certificate.status == "rejected":
            raise _set_aside(folder, out, certificate)
        _rename(folder, out, overwrite=overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Bundle(out, manifest)


def reject(bundle: Bundle, certificate: Certificate) -> GateFailed:
    """Rename a bundle that failed its gates to `NAME.rejected`. Returns: the error to raise, naming gates and place.

    Raises OutputExists if something other than an earlier bundle stands there.
    """
    return _set_aside(bundle.path, bundle.path, certificate)


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder after comparing every file with the manifest.

    Raises BadBundle naming the file, what was expected and what was got: no folder, no manifest, a manifest that does
    not hold, a file that is missing or changed, a model file that the manifest does not list.
    """
    if not (path / MANIFEST_NAME).is_file():
        what = f"no {MANIFEST_NAME} in this folder" if path.is_dir() else "no such folder"
        raise BadBundle(f"{path}: {what}. Wanted a bundle made by `lawder-edge export`.")
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_bytes(), source=str(path / MANIFEST_NAME))
    for entry in manifest.files:
        file = path / entry.name
        if not file.is_file():
            raise BadBundle(f"{file}: missing; the manifest lists it with sha256 {entry.sha256}. {_REMEDY}")
        got = file_entry(path, file)
        if got != entry:
            raise BadBundle(
                f"{file}: changed since the export: expected sha256 {entry.sha256} ({entry.size_bytes} bytes), got "
                f"{got.sha256} ({got.size_bytes} bytes). {_REMEDY}"
            )
    listed = {*(entry.name for entry in manifest.files), *BUILT_IN_PLACE}
    for file in sorted(path.glob(f"*{Path(manifest.model_file).suffix}")):
        if file.name not in listed:
            raise BadBundle(
                f"{file}: a model file that the manifest does not list. Remove it, or export the bundle again."
            )
    return Bundle(path, manifest)


_REMEDY = "Copy the bundle again from where it was made, or export it again."


def _check_subject(bundle: Bundle, certificate: Certificate) -> None:
    entry = bundle.manifest.model_entry
    if certificate.artifact_sha256 != entry.sha256:
        raise BadBundle(
            f"{bundle.path / CERTIFICATE_NAME}: made for a model file with sha256 {certificate.artifact_sha256}, but "
            f"{entry.name} has {entry.sha256}. Run `lawder-edge verify` on the bundle again."
        )


def _set_aside(folder: Path, out: Path, certificate: Certificate) -> GateFailed:
    place = out.with_name(out.name + REJECTED_SUFFIX)
    _rename(folder, place, overwrite=True)
    return GateFailed(
        f"{certificate.reason}, on {certificate.source}. The artifact is not handed out; it stands at {place} with its "
        "certificate."
    )


def _worth_keeping(out: Path) -> str:
    """What at `out` would be lost with it and is no part of a bundle, "" for a bundle or an empty folder."""
    if out.is_symlink() or not out.is_dir():
        return "is no bundle (no folder)"
    if not any(out.iterdir()):
        return ""
    if not (out / MANIFEST_NAME).is_file():
        return f"is no bundle (no {MANIFEST_NAME} inside)"
    try:
        manifest = Manifest.from_json((out / MANIFEST_NAME).read_bytes())
    except BadBundle as error:
        return f"is no bundle ({str(error).split('. ')[0]})"
    own = {MANIFEST_NAME, CERTIFICATE_NAME, *(entry.name for entry in manifest.files)}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        # Importing a bundle's processing.py leaves byte code beside it.
        compiled = path.parent.name == "__pycache__" and path.suffix == ".pyc"
        if name not in own and not compiled and (path.is_symlink() or not path.is_dir()):
            return f"holds {name}, which is no part of that bundle"
    return ""


def _rename(folder: Path, out: Path, *, overwrite: bool) -> None:
    """Give `folder` the name `out`; what stands there is removed only after that. Raises OutputExists."""
    check_free(out, overwrite=overwrite)
    if not out.exists():
        folder.rename(out)
    else:
        holder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
        old = holder / out.name
        out.rename(old)
        try:
            folder.rename(out)
        except BaseException:
            old.rename(out)
            holder.rmdir()
            raise
        shutil.rmtree(holder, ignore_errors=True)
    _flush_folder(out.parent)


def _flush(folder: Path) -> None:
    """Flush files and folders to disk, so that the rename cannot be kept by the file system without them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as f:
                os.fsync(f.fileno())
        else:
            _flush_folder(path)
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    # Windows opens no folders, and some network file systems refuse to flush them.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
