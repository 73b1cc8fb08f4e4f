"""The bundle: the directory that holds a whole linker. Only this file knows the names of the files in it.

A bundle is written under a neighbouring name and renamed when it is whole, and never changed afterwards (see
`cielo.bundle.writing`). What a machine finds out about a bundle is kept by `cielo.bundle.state`, so that a bundle can
be read-only and shared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cielo import schema
from cielo.bundle.calibration import Calibrations
from cielo.bundle.manifest import REMEDY, Execution, GeneratorModel, Manifest, read_manifest, to_document
from cielo.errors import BundleError, remedy_for
from cielo.files import read_bounded, sha256_of

MANIFEST = "manifest.json"
GENERATOR = "generator"
ENCODER = "encoder"
KNOWLEDGE_BASE = "knowledge_base.sqlite"
INDEX = "index"
TRIE = "trie"
PARITY = "parity"
CALIBRATION = "calibration.json"
# Inside the folders of the generator (the tokenizer alone), the encoder and parity.
TOKENIZER = "tokenizer.json"
ENCODER_MODEL = "model.onnx"
REFERENCES = "references.json"
REFERENCE_VECTORS = "vectors.npz"

_MOST_BYTES = 4_000_000  # of the manifest and of the calibrations; they hold some thousands
# Where names begin under which cielo or a library looks for parts of a bundle.
_READ = (f"{GENERATOR}/", f"{ENCODER}/", f"{INDEX}/", f"{TRIE}/", f"{PARITY}/", CALIBRATION, KNOWLEDGE_BASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each part of a bundle is, in a directory that is one or becomes one."""

    path: Path

    @property
    def manifest_file(self) -> Path:
        """The manifest."""
        return self.path / MANIFEST

    @property
    def generator(self) -> Path:
        """The directory of the generator: its tokenizer, and a directory for each backend's model."""
        return self.path / GENERATOR

    def generator_model(self, backend: str) -> Path:
        """Return the directory of the model that a backend runs."""
        return self.path / GENERATOR / backend

    @property
    def generator_tokenizer(self) -> Path:
        """The generator's `tokenizer.json`, the same for every backend."""
        return self.path / GENERATOR / TOKENIZER

    @property
    def encoder(self) -> Path:
        """The ONNX model."""
        return self.path / ENCODER / ENCODER_MODEL

    @property
    def encoder_tokenizer(self) -> Path:
        """The encoder's `tokenizer.json`."""
        return self.path / ENCODER / TOKENIZER

    @property
    def knowledge_base(self) -> Path:
        """The SQLite file."""
        return self.path / KNOWLEDGE_BASE

    @property
    def index(self) -> Path:
        """The directory of the indexes."""
        return self.path / INDEX

    @property
    def trie(self) -> Path:
        """The directory of the trie of the descriptions; there is none in a bundle from before it."""
        return self.path / TRIE

    @property
    def calibration(self) -> Path:
        """The calibrations of the confidence, by decoding; there is no such file where none was made."""
        return self.path / CALIBRATION

    @property
    def references(self) -> Path:
        """The float32 references: prompts, ids, hypotheses, scores."""
        return self.path / PARITY / REFERENCES

    @property
    def reference_vectors(self) -> Path:
        """The float32 reference vectors of the encoder."""
        return self.path / PARITY / REFERENCE_VECTORS


@dataclass(frozen=True, slots=True)
class Bundle(Layout):
    """An opened bundle: where it is, its manifest, and its identity (the SHA-256 of the manifest)."""

    manifest: Manifest
    sha256: str

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open the bundle in the directory `path`: its schema and the sizes of its files are checked.

        It may hold regular files and folders, and links to those inside of it; `path` itself may be a link.

        Raises:
            BundleError: naming every problem found.
        """
        content = _read(path)
        bundle = cls(path, read_manifest(content, str(path / MANIFEST)), hashlib.sha256(content).hexdigest())
        _refuse(path, [*_foreign(path, Path(os.path.realpath(path))), *bundle._wrong_sizes()])
        return bundle

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.manifest.name

    def model(self, backend: str) -> GeneratorModel:
        """Return what the manifest says of a backend's model.

        Raises:
            BundleError: where the bundle holds none for it.
        """
        known = self.manifest.generator.backends
        if backend not in known:
            raise BundleError(
                f"the bundle {self.name} holds no generator for the backend {backend!r}; expected one of "
                f"{', '.join(known)}, or convert the recipe for it"
            )
        return known[backend]

    def execution(self, device: str, *, backend: str | None = None, compute_type: str | None = None) -> Execution:
        """Return how the generator runs on a device; backend and compute type are the bundle's own where None.

        Raises:
            BundleError: where the bundle holds no generator for the backend.
        """
        name = backend or self.manifest.generator.backend
        return Execution(name, device, compute_type or self.model(name).compute_type)

    def calibrations(self) -> Calibrations:
        """Return the calibrations by decoding, each with what it is worth; none where none was made.

        Raises:
            BundleError: where the file is damaged.
        """
        try:
            content = read_bounded(self.calibration, _MOST_BYTES)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BundleError(f"{self.calibration} cannot be read ({error.strerror}); {REMEDY}") from error
        return schema.decode(Calibrations, content, str(self.calibration), error=BundleError, remedy=REMEDY, shown=True)

    def _wrong_sizes(self) -> Iterator[str]:
        for name, entry in self.manifest.files.items():
            file = self.path / name
            if not file.is_file():
                yield f"{name} is missing"
            elif file.stat().st_size != entry.size:
                yield f"{name} has {file.stat().st_size} bytes, expected {entry.size}"

    def check_hashes(self) -> None:
        """Compare the SHA-256 of each file with the manifest.

        Raises:
            BundleError: naming every file that was altered.
        """
        self.compare_hashes({name: _hash_or_error(self.path / name) for name in self.manifest.files})

    def compare_hashes(self, found: Mapping[str, str | OSError]) -> None:
        """Compare the SHA-256 of some files, or the error of reading them, with the manifest.

        Raises:
            BundleError: naming every file that was altered or cannot be read.
        """
        _refuse(self.path, [problem for name, taken in found.items() for problem in self._wrong_content(name, taken)])

    def _wrong_content(self, name: str, taken: str | OSError) -> Iterator[str]:
        if isinstance(taken, OSError):
            yield f"{name} cannot be read ({taken.strerror})"
        elif taken != self.manifest.files[name].sha256:
            yield f"{name} does not have the content that the manifest names"

    def real(self, name: str) -> Path:
        """Return where a file of the bundle lies once links are followed.

        Raises:
            BundleError: where that is no regular file inside of the bundle.
        """
        place = Path(os.path.realpath(self.path / name))
        if not place.is_file() or not place.is_relative_to(os.path.realpath(self.path)):
            _refuse(self.path, [f"{name} is not a regular file inside of it"])
        return place

    def refuse_strays(self) -> None:
        """Refuse files that the manifest does not list where cielo or a library would read them as part of the bundle.

        Raises:
            BundleError: naming them.
        """
        strays = [name for name in self.unlisted_files() if name.startswith(_READ) and "/." not in name]
        _refuse(self.path, [f"{name} is not listed in its manifest" for name in strays])

    def unlisted_files(self) -> list[str]:
        """Return the names of files in the bundle that its manifest does not list."""
        present = {file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()}
        return sorted(present - set(self.manifest.files) - {MANIFEST})

    @property
    def models_sha256(self) -> str:
        """A hash of everything but the calibrations and parity figures: what a machine finds out depends on it."""
        files = {name: entry for name, entry in self.manifest.files.items() if name != CALIBRATION}
        models = replace(self.manifest, files=files, parity={})
        return hashlib.sha256(schema.canonical(to_document(models))).hexdigest()


def _foreign(folder: Path, root: Path) -> Iterator[str]:
    """Name what is no file of the bundle `root`: links that leave it, and whatever is neither file nor folder."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield f"{folder.name} cannot be read ({error.strerror})"
        return
    for entry in found:
        place = Path(entry.path)
        if entry.is_symlink():
            if not Path(os.path.realpath(place)).is_relative_to(root):
                yield f"{entry.name} is a link to something outside of it"
        elif entry.is_dir():
            yield from _foreign(place, root)
        elif not entry.is_file():
            yield f"{entry.name} is not a regular file"


def _hash_or_error(file: Path) -> str | OSError:
    try:
        return sha256_of(file)
    except OSError as error:
        return error


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        found = "; ".join(problems)
        lacking = remedy_for(BundleError(found), "")  # which says nothing of the bundle
        what = f"cannot be read: {found}; {lacking}" if lacking else f"is damaged: {found}; copy or build it again"
        raise BundleError(f"the bundle {path} {what}")


def _read(path: Path) -> bytes:
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}: expected a directory with a {MANIFEST}; `cielo convert` makes one")
    try:
        return read_bounded(path / MANIFEST, _MOST_BYTES)
    except OSError as error:
        raise BundleError(f"{path} is not a bundle: {MANIFEST} cannot be read ({error.strerror})") from error


def default_bundle() -> Path:
    """Return the bundle that is used where none is named: ``CIELO_BUNDLE``, else the mini that comes with cielo."""
    named = os.environ.get("CIELO_BUNDLE")
    if named:
        return Path(named)
    installed = Path(__file__).parents[1] / "mini"
    checkout = Path(__file__).parents[3] / "models" / "mini" / "bundle"
    return installed if installed.is_dir() else checkout
