"""Writing a bundle: whole or not at all, or a copy of an opened one with some files changed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cielo import schema
from cielo.bundle.layout import MANIFEST, Bundle, Layout
from cielo.bundle.manifest import FileEntry, Manifest, to_document
from cielo.errors import BundleError
from cielo.files import replace_folder, sha256_of, temporary_folder
from cielo.machine import library_versions


@contextlib.contextmanager
def writing(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a new directory beside `output`; rename it to `output` when the block ends well, else remove it.

    Raises:
        BundleError: where something stands at `output` and `overwrite` is False, or it is a directory of other things,
            or it cannot be written.
    """
    output = output.absolute()
    if output.exists() and not overwrite:
        raise BundleError(f"{output} exists; name another output, or ask to overwrite it")
    if output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file():
        raise BundleError(f"{output} is a directory of other things, not a bundle: it is not overwritten; name another")
    with contextlib.ExitStack() as made:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            temporary = made.enter_context(temporary_folder(output.parent))
        except OSError as error:
            message = f"{output.parent} cannot be written to ({error.strerror}); name another output"
            raise BundleError(message) from error
        yield temporary
        temporary.chmod(0o755)
        replace_folder(temporary, output)


def write_manifest(directory: Path, manifest: Manifest) -> Bundle:
    """Write the manifest of a bundle whose other files are in place, and return the bundle.

    Args:
        directory: of the bundle.
        manifest: its `files` and `built_with` are replaced by what stands there, and by the libraries of this process.
    """
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file != directory / MANIFEST)
    entries = {file.relative_to(directory).as_posix(): _entry(file) for file in files}
    return _write(directory, replace(manifest, built_with=library_versions(), files=entries))


def _entry(file: Path) -> FileEntry:
    return FileEntry(file.stat().st_size, sha256_of(file))


def _write(directory: Path, manifest: Manifest) -> Bundle:
    Layout(directory).manifest_file.write_bytes(schema.encode(to_document(manifest)))
    return Bundle.open(directory)


def amend(bundle: Bundle, output: Path, files: Mapping[str, bytes], *, overwrite: bool = False) -> Bundle:
    """Write a copy of a bundle with some files added or replaced; whatever else it holds stays, its manifest too.

    What is unchanged is linked, not copied, where the file system allows. `output` may be the bundle itself, if it
    may be overwritten.

    Raises:
        BundleError: where `output` stands already or cannot be written, or a file of the bundle lies outside of it.
    """
    with writing(output, overwrite=overwrite) as directory:
        try:
            for name in bundle.manifest.files:
                if name not in files:
                    link_or_copy(bundle.real(name), directory / name)
            for name, content in files.items():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_bytes(content)
            # Of what was not touched the old hashes stay: what is damaged there stays found.
            entries = {**bundle.manifest.files, **{name: _entry(directory / name) for name in files}}
            _write(directory, replace(bundle.manifest, files=dict(sorted(entries.items()))))
        except OSError as error:
            raise BundleError(f"{output} cannot be written ({error.strerror}); name another output") from error
    return Bundle.open(output)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file of a bundle into another one, whose folder is made: linked where the file system allows.

    Raises:
        OSError: where it cannot be copied.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or none that has links
        shutil.copy2(source, target)
