"""The bundle: the directory that holds a whole linker. Only this file knows the names of the files in it.

A bundle is written under a neighbouring name and renamed when it is whole, and never changed afterwards. What a
machine finds out about a bundle (parity of a compute type on its own processor) is kept in that machine's state
directory, so that a bundle can be read-only and shared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cielo.errors import BundleError
from cielo.files import atomic_write, sha256_of
from cielo.machine import library_versions, machine_key, state_directory

SCHEMA = 1
MANIFEST = "manifest.json"
GENERATOR = "generator"
ENCODER = "encoder"
KNOWLEDGE_BASE = "knowledge_base.sqlite"
INDEX = "index"
PARITY = "parity"
CALIBRATION = "calibration.json"

# What a manifest must hold, and of which type; a dot steps into an inner dictionary.
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "name": str, "licence": str, "sources": dict, "built_with": dict,
    "prompt.prepare_sentence": bool, "generator.compute_type": str, "generator.decoding": str,
    "generator.vocabulary": str, "generator.max_source_tokens": int, "encoder.precision": str, "encoder.pooling": str,
    "encoder.max_tokens": int, "encoder.dimension": int, "knowledge_base.edition": str,
    "knowledge_base.concepts": dict, "knowledge_base.descriptions": int, "index.m": int, "index.ef": int,
    "index.recall_at_1": (int, float), "index.max_distance": (int, float), "parity": dict, "files": dict,
}  # fmt: skip
# What it may hold: an index of reduced dimension, and what older bundles do not tell.
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "index.dimension": int, "index.rescored": int, "generator.shape": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: where it is, its manifest, and its identity (the SHA-256 of the manifest)."""

    path: Path
    manifest: dict[str, Any]
    sha256: str

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open the bundle in the directory `path`: its schema and the sizes of its files are checked.

        Raises:
            BundleError: naming every problem found.
        """
        content = _read_manifest(path)
        bundle = cls(path, _parse_manifest(path, content), hashlib.sha256(content).hexdigest())
        _refuse(path, list(bundle._wrong_sizes()))
        return bundle

    @property
    def name(self) -> str:
        """The bundle's name."""
        return str(self.manifest["name"])

    @property
    def generator(self) -> Path:
        """The directory of the generator's model."""
        return self.path / GENERATOR

    @property
    def generator_tokenizer(self) -> Path:
        """The generator's `tokenizer.json`."""
        return self.path / GENERATOR / "tokenizer.json"

    @property
    def encoder(self) -> Path:
        """The ONNX model."""
        return self.path / ENCODER / "model.onnx"

    @property
    def encoder_tokenizer(self) -> Path:
        """The encoder's `tokenizer.json`."""
        return self.path / ENCODER / "tokenizer.json"

    @property
    def knowledge_base(self) -> Path:
        """The SQLite file."""
        return self.path / KNOWLEDGE_BASE

    @property
    def index(self) -> Path:
        """The directory of the indexes."""
        return self.path / INDEX

    @property
    def calibration(self) -> Path:
        """The calibrations of the confidence, by decoding; there is no such file where none was made."""
        return self.path / CALIBRATION

    def calibrations(self) -> dict[str, dict[str, Any]]:
        """Return the calibrations by decoding: ``model`` and ``reliability`` of each; none where none was made.

        Raises:
            BundleError: where the file is damaged.
        """
        try:
            content = json.loads(self.calibration.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(f"{self.path}: {CALIBRATION} cannot be read; copy or build the bundle anew") from error
        entries = content.values() if isinstance(content, dict) else [content]
        if not all(isinstance(entry, dict) and {"model", "reliability"} <= set(entry) for entry in entries):
            raise BundleError(f"{self.path}: {CALIBRATION} is in a form that is not read; build the bundle anew")
        return dict(content)

    @property
    def references(self) -> Path:
        """The float32 references: prompts, ids, hypotheses, scores."""
        return self.path / PARITY / "references.json"

    @property
    def reference_vectors(self) -> Path:
        """The float32 reference vectors of the encoder."""
        return self.path / PARITY / "vectors.npz"

    def _wrong_sizes(self) -> Iterator[str]:
        for name, entry in self.manifest["files"].items():
            file = self.path / name
            if not file.is_file():
                yield f"{name} is missing"
            elif file.stat().st_size != entry["size"]:
                yield f"{name} has {file.stat().st_size} bytes, expected {entry['size']}"

    def check_hashes(self, under: str = "", *, but: str = "") -> None:
        """Compare the SHA-256 of each file whose name begins with `under` with the manifest.

        Args:
            under: the beginning of the names.
            but: leave out the files whose names end like this; default: none.

        Raises:
            BundleError: naming every file that was altered.
        """
        names = [name for name in self.manifest["files"] if name.startswith(under)]
        names = [name for name in names if not but or not name.endswith(but)]
        _refuse(self.path, [problem for name in names for problem in self._wrong_content(name)])

    def _wrong_content(self, name: str) -> Iterator[str]:
        try:
            if sha256_of(self.path / name) != self.manifest["files"][name]["sha256"]:
                yield f"{name} does not have the content that the manifest names"
        except OSError as error:
            yield f"{name} cannot be read ({error.strerror})"

    def unlisted_files(self) -> list[str]:
        """Return the names of files in the bundle that its manifest does not list."""
        present = {file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()}
        return sorted(present - set(self.manifest["files"]) - {MANIFEST})

    def parity(self) -> dict[str, dict[str, Any]]:
        """Return what is known here of parity, by ``device/compute type``.

        The figures of the machine that built the bundle are in its manifest; those of this machine replace them.
        """
        return {**self.manifest["parity"], **_read_state(self._state_file())}

    def record_parity(self, key: str, figures: dict[str, Any]) -> Path:
        """Keep this machine's parity figures for a ``device/compute type``; return the file they are in.

        Raises:
            BundleError: where the state directory cannot be written to.
        """
        file = self._state_file()
        known = {**_read_state(file), key: figures}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as temporary:
                temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
        except OSError as error:
            raise BundleError(
                f"parity figures cannot be kept in {file.parent} ({error.strerror}); "
                "name another directory in CIELO_STATE"
            ) from error
        return file

    @property
    def models_sha256(self) -> str:
        """A hash of everything but the calibrations and parity figures: what a machine finds out depends on it."""
        files = {name: entry for name, entry in self.manifest["files"].items() if name != CALIBRATION}
        content = {**self.manifest, "files": files, "parity": None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _state_file(self) -> Path:
        return state_directory() / "parity" / f"{self.models_sha256[:32]}-{machine_key()}.json"


def _read_state(file: Path) -> dict[str, dict[str, Any]]:
    """Return what a state file holds; a damaged one holds nothing."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {key: figures for key, figures in entries if isinstance(figures, dict)}


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise BundleError(f"the bundle {path} is damaged: {'; '.join(problems)}; copy or build it anew")


def _read_manifest(path: Path) -> bytes:
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}: expected a directory with a {MANIFEST}; `cielo convert` makes one")
    try:
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleError(f"{path} is not a bundle: {MANIFEST} cannot be read ({error.strerror})") from error


def _parse_manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {MANIFEST} is not JSON; copy or build the bundle anew") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise BundleError(
            f"{path}: got a bundle of schema {schema!r}, expected {SCHEMA}; "
            "use the cielo that wrote it, or convert again"
        )
    wrong = list(dict.fromkeys(_wrong_keys(manifest)))
    if wrong:
        raise BundleError(f"{path}: {MANIFEST} lacks or has in another type: {', '.join(wrong)}; build the bundle anew")
    _check_names(path, manifest["files"])
    return dict(manifest)


def _wrong_keys(manifest: dict[str, Any]) -> Iterator[str]:
    """Name each required key that is missing, each key of another type, and each section that is missing whole."""
    for dotted, kind in (_REQUIRED | _OPTIONAL).items():
        section, _, key = dotted.rpartition(".")
        inner = manifest.get(section) if section else manifest
        if not isinstance(inner, dict):
            yield section
        elif not isinstance(inner.get(key), kind) and (dotted in _REQUIRED or key in inner):
            yield dotted


def _check_names(path: Path, files: dict[str, Any]) -> None:
    for name, entry in files.items():
        parts = Path(name).parts
        if (
            Path(name).is_absolute()
            or ".." in parts
            or not isinstance(entry, dict)
            or not {"size", "sha256"} <= set(entry)
        ):
            raise BundleError(f"{path}: {MANIFEST} lists a file in a form that is not read; build the bundle anew")


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
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    except OSError as error:
        raise BundleError(f"{output.parent} cannot be written to ({error.strerror}); name another output") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        _replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, output: Path) -> None:
    if not output.exists():
        temporary.rename(output)
        return
    old = temporary.with_suffix(".old")
    output.rename(old)
    try:
        temporary.rename(output)
    except OSError:
        old.rename(output)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


def write_manifest(directory: Path, manifest: dict[str, Any]) -> Bundle:
    """Write the manifest of a bundle whose other files are in place: it lists each one's size and SHA-256."""
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file != directory / MANIFEST)
    entries = {file.relative_to(directory).as_posix(): _entry(file) for file in files}
    whole = {"schema": SCHEMA, **manifest, "built_with": library_versions(), "files": entries}
    return _write_manifest(directory, whole)


def _entry(file: Path) -> dict[str, Any]:
    return {"size": file.stat().st_size, "sha256": sha256_of(file)}


def _write_manifest(directory: Path, whole: dict[str, Any]) -> Bundle:
    (directory / MANIFEST).write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return Bundle.open(directory)


def amend(bundle: Bundle, output: Path, files: dict[str, bytes], *, overwrite: bool = False) -> Bundle:
    """Write a bundle anew with some files added or replaced; whatever else it holds stays, its manifest too.

    What is unchanged is linked, not copied, where the file system allows. `output` may be the bundle itself, if it
    may be overwritten.

    Raises:
        BundleError: where `output` stands already, or cannot be written.
    """
    with writing(output, overwrite=overwrite) as directory:
        try:
            for name in bundle.manifest["files"]:
                if name not in files:
                    _link_or_copy(bundle.path / name, directory / name)
            for name, content in files.items():
                (directory / name).write_bytes(content)
            # Of what was not touched the old hashes stay: what is damaged there stays found.
            entries = {**bundle.manifest["files"], **{name: _entry(directory / name) for name in files}}
        except OSError as error:
            raise BundleError(f"{output} cannot be written ({error.strerror}); name another output") from error
        _write_manifest(directory, {**bundle.manifest, "files": dict(sorted(entries.items()))})
    return Bundle.open(output)


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())  # of a link, what it stands for
    except OSError:  # another file system, or none that has links
        shutil.copy2(source, target)


def default_bundle() -> Path:
    """Return the bundle that is used where none is named: ``CIELO_BUNDLE``, else the mini that comes with cielo."""
    named = os.environ.get("CIELO_BUNDLE")
    if named:
        return Path(named)
    installed = Path(__file__).parents[1] / "mini"
    checkout = Path(__file__).parents[3] / "models" / "mini" / "bundle"
    return installed if installed.is_dir() else checkout
