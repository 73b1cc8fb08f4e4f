from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cielo.bundle import manifest as module
from cielo.bundle.hashes import check_files
from cielo.bundle.layout import Bundle, Layout, default_bundle
from cielo.bundle.manifest import FileEntry, Manifest, ParityFigures
from cielo.bundle.state import known_parity, record_parity
from cielo.bundle.writing import amend, write_manifest, writing
from cielo.errors import BundleError
from cielo.files import atomic_write, sha256_of
from cielo.machine import state_directory

Content = dict[str, Any]
# A bundle that a cielo of schema 1 wrote: its manifest.
OLD = Path(__file__).parent / "schema-1"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture
def bundle(bundle_files: Path, manifest: Manifest) -> Bundle:
    return write_manifest(bundle_files, manifest)


def rewrite(bundle: Bundle, change: Callable[[Content], object]) -> None:
    """Change the manifest that stands on disk."""
    file = bundle.path / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }


class TestOpening:
    def test_what_was_written_opens(self, bundle: Bundle) -> None:
        opened = Bundle.open(bundle.path)
        assert opened == bundle
        assert opened.name == "de prueba"
        assert opened.sha256 == hashlib.sha256((bundle.path / "manifest.json").read_bytes()).hexdigest()
        opened.check_hashes()

    def test_the_manifest_lists_every_file_with_its_size_and_hash(self, bundle: Bundle) -> None:
        files = files_of(bundle.path)
        del files["manifest.json"]
        assert bundle.manifest.files == {
            name: FileEntry(len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()
        }
        assert bundle.manifest.schema == module.SCHEMA
        assert {"python", "numpy", "tokenizers"} <= set(bundle.manifest.built_with)

    def test_a_file_named_manifest_in_a_folder_is_listed_too(self, bundle_files: Path, manifest: Manifest) -> None:
        (bundle_files / "generator" / "manifest.json").write_text("{}")
        bundle = write_manifest(bundle_files, manifest)
        assert "generator/manifest.json" in bundle.manifest.files
        assert bundle.unlisted_files() == []

    def test_every_part_has_its_place(self, bundle: Bundle) -> None:
        for part in (bundle.generator_model("ctranslate2"), bundle.index):
            assert part.is_dir()
        for part in (
            bundle.generator_tokenizer, bundle.encoder, bundle.encoder_tokenizer, bundle.knowledge_base,
            bundle.references,
        ):  # fmt: skip
            assert part.is_file()
        assert bundle.reference_vectors.parent == bundle.references.parent

    @pytest.mark.parametrize("name", ["con espacio", "camión-ñ", "a%20b#c?d", "-x"])
    def test_its_path_may_hold_any_character(self, tmp_path: Path, bundle: Bundle, name: str) -> None:
        moved = bundle.path.rename(tmp_path / name)
        opened = Bundle.open(moved)
        opened.check_hashes()
        assert opened.sha256 == bundle.sha256

    def test_a_missing_directory_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"no bundle at .*missing: expected a directory"):
            Bundle.open(tmp_path / "missing")

    def test_a_file_is_no_bundle(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(BundleError, match="expected a directory"):
            Bundle.open(tmp_path / "file")

    def test_a_directory_without_a_manifest_is_no_bundle(self, bundle_files: Path) -> None:
        with pytest.raises(BundleError, match=r"is not a bundle: manifest\.json cannot be read"):
            Bundle.open(bundle_files)

    def test_a_directory_in_the_place_of_the_manifest_is_no_bundle(self, bundle_files: Path) -> None:
        (bundle_files / "manifest.json").mkdir()
        with pytest.raises(BundleError, match="cannot be read"):
            Bundle.open(bundle_files)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b'{"schema": 1', b"[" * 100_000])
    def test_a_manifest_that_is_not_json_is_refused(self, bundle_files: Path, content: bytes) -> None:
        (bundle_files / "manifest.json").write_bytes(content)
        with pytest.raises(BundleError, match="is not JSON"):
            Bundle.open(bundle_files)

    def test_a_manifest_that_was_cut_is_refused(self, bundle: Bundle) -> None:
        file = bundle.path / "manifest.json"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(BundleError, match="is not JSON"):
            Bundle.open(bundle.path)

    @pytest.mark.parametrize(
        ("content", "way_out"),
        [
            ("{}", "build the bundle again"), ("[]", "build the bundle again"), ("null", "build the bundle again"),
            ('"1"', "build the bundle again"), ('{"schema": 3}', "pip install --upgrade cielo"),
            ('{"schema": "2"}', "build the bundle again"), ('{"schema": true}', "build the bundle again"),
            ('{"schema": 0}', "build the bundle again"), ('{"schema": 1}', "cielo convert RECIPE --output DIR"),
        ],
    )  # fmt: skip
    def test_another_schema_is_refused(self, bundle_files: Path, content: str, way_out: str) -> None:
        (bundle_files / "manifest.json").write_text(content)
        with pytest.raises(BundleError, match=rf"bundle of schema .*, expected 2; .*{way_out}"):
            Bundle.open(bundle_files)

    def test_a_bundle_of_the_old_form_is_refused_with_the_command_that_makes_a_new_one(self) -> None:
        with pytest.raises(BundleError, match=r"schema 1, expected 2; .*`cielo convert RECIPE --output DIR`"):
            Bundle.open(OLD)

    @pytest.mark.parametrize(
        "key",
        [
            "name", "licence", "sources", "built_with", "prompt", "generator", "encoder", "knowledge_base", "index",
            "parity", "files",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("wrong", [None, 5, []])
    def test_a_key_that_is_missing_or_of_another_type_is_named(self, bundle: Bundle, key: str, wrong: object) -> None:
        rewrite(bundle, lambda content: content.pop(key) if wrong is None else content.update({key: wrong}))
        problem = f"{key} is missing" if wrong is None else f"{key}: got {type(wrong).__name__}, expected"
        with pytest.raises(BundleError, match=f"manifest.json is not valid: {problem}"):
            Bundle.open(bundle.path)

    @pytest.mark.parametrize("section", ["", "generator", "encoder", "index", "prompt"])
    def test_a_key_that_is_not_known_is_named(self, bundle: Bundle, section: str) -> None:
        rewrite(bundle, lambda content: (content[section] if section else content).update({"sorpresa": 1}))
        place = f"{section}.sorpresa" if section else "sorpresa"
        with pytest.raises(BundleError, match=f"{place} is not known here; expected"):
            Bundle.open(bundle.path)

    def test_a_manifest_that_lists_no_file_is_refused(self, bundle: Bundle) -> None:
        rewrite(bundle, lambda content: content.update(files={}))
        with pytest.raises(BundleError, match="lists no file"):
            Bundle.open(bundle.path)

    def test_the_bundle_s_own_backend_is_one_that_it_holds(self, bundle: Bundle) -> None:
        rewrite(bundle, lambda content: content["generator"].update(backend="onnx"))
        with pytest.raises(BundleError, match="generator: got backend 'onnx', expected one of backends: ctranslate2"):
            Bundle.open(bundle.path)

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-0.1", "4.1", '"0.5"', "true", "null"])
    def test_a_distance_is_a_finite_number_in_its_range(self, bundle: Bundle, value: str) -> None:
        file = bundle.path / "manifest.json"
        content = file.read_text(encoding="utf-8")
        assert '"max_distance": 0.5' in content
        file.write_text(content.replace('"max_distance": 0.5', f'"max_distance": {value}'), encoding="utf-8")
        with pytest.raises(BundleError, match=r"index\.max_distance: got"):
            Bundle.open(bundle.path)

    def test_a_key_that_stands_twice_is_refused(self, bundle: Bundle) -> None:
        file = bundle.path / "manifest.json"
        content = file.read_text(encoding="utf-8")
        file.write_text(content.replace('"licence":', '"licence": "MIT", "licence":'), encoding="utf-8")
        with pytest.raises(BundleError, match="the key 'licence' stands twice"):
            Bundle.open(bundle.path)

    def test_every_missing_key_is_named_at_once(self, bundle: Bundle) -> None:
        rewrite(bundle, lambda content: [content.pop(key) for key in ("name", "index", "parity")])
        with pytest.raises(BundleError) as caught:
            Bundle.open(bundle.path)
        for key in ("name", "index", "parity"):
            assert f"\n  {key} is missing" in str(caught.value)

    @pytest.mark.parametrize(
        "name", ["../outside", "generator/../../outside", "/etc/passwd", "..", "a/..", "generator/.."]
    )
    def test_names_that_lead_out_of_the_bundle_are_refused(self, bundle: Bundle, name: str) -> None:
        (bundle.path.parent / "outside").write_bytes(b"x")
        entry = {"size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
        rewrite(bundle, lambda content: content["files"].update({name: entry}))
        with pytest.raises(BundleError, match="leads out of the bundle"):
            Bundle.open(bundle.path)

    @pytest.mark.parametrize("entry", [None, 5, [], {}, {"size": 5}, {"sha256": "0"}])
    def test_entries_of_another_form_are_refused(self, bundle: Bundle, entry: object) -> None:
        rewrite(bundle, lambda content: content["files"].update({"generator/ctranslate2/model.bin": entry}))
        with pytest.raises(BundleError, match=r"files\.generator/ctranslate2/model\.bin"):
            Bundle.open(bundle.path)

    @pytest.mark.parametrize("name", ["", "no\x00name", "generator"])
    def test_names_that_are_no_file_are_missing(self, bundle: Bundle, name: str) -> None:
        rewrite(bundle, lambda content: content["files"].update({name: {"size": 0, "sha256": "0" * 64}}))
        with pytest.raises(BundleError, match="is missing"):
            Bundle.open(bundle.path)


class TestDamage:
    def test_a_missing_file_is_named(self, bundle: Bundle) -> None:
        bundle.encoder.unlink()
        with pytest.raises(BundleError, match=r"encoder/model\.onnx is missing; copy or build it again"):
            Bundle.open(bundle.path)

    def test_a_truncated_file_is_named_with_both_sizes(self, bundle: Bundle) -> None:
        os.truncate(bundle.encoder, 300)
        with pytest.raises(BundleError, match=r"encoder/model\.onnx has 300 bytes, expected 700"):
            Bundle.open(bundle.path)

    def test_every_problem_is_named_at_once(self, bundle: Bundle) -> None:
        bundle.encoder.unlink()
        bundle.generator_tokenizer.write_bytes(b"longer than before")
        with pytest.raises(BundleError, match="is damaged") as caught:
            Bundle.open(bundle.path)
        assert "encoder/model.onnx is missing" in str(caught.value)
        assert "generator/tokenizer.json has 18 bytes, expected 2" in str(caught.value)

    def test_an_altered_file_of_equal_size_is_found_by_its_hash(self, bundle: Bundle) -> None:
        content = bytearray(bundle.encoder.read_bytes())
        content[350] ^= 1
        bundle.encoder.write_bytes(content)
        opened = Bundle.open(bundle.path)
        check_files(opened, parts=[opened.index])
        with pytest.raises(BundleError, match=r"encoder/model\.onnx does not have the content") as caught:
            opened.check_hashes()
        assert "generator" not in str(caught.value)

    def test_a_part_is_checked_by_itself(self, bundle_files: Path, manifest: Manifest) -> None:
        (bundle_files / "index" / "0" / "vectors.npy").write_bytes(b"vectors")
        bundle = write_manifest(bundle_files, manifest)
        (bundle.index / "0" / "vectors.npy").write_bytes(b"changed")
        check_files(bundle, parts=[bundle.generator, bundle.index / "kinds.json"])
        with pytest.raises(BundleError, match=r"index/0/vectors\.npy does not have the content") as caught:
            check_files(bundle, parts=[bundle.index])
        assert "kinds" not in str(caught.value)

    def test_a_file_that_vanishes_after_opening_is_found(self, bundle: Bundle) -> None:
        bundle.encoder.unlink()
        with pytest.raises(BundleError, match=r"encoder/model\.onnx cannot be read"):
            bundle.check_hashes()

    def test_files_that_the_manifest_does_not_list_are_named(self, bundle: Bundle) -> None:
        assert bundle.unlisted_files() == []
        (bundle.path / "notas.txt").touch()
        (bundle.index / "1").mkdir()
        (bundle.index / "1" / "graph.hnsw").touch()
        assert Bundle.open(bundle.path).unlisted_files() == ["index/1/graph.hnsw", "notas.txt"]

    def test_the_hash_of_a_file_is_that_of_its_content(self, tmp_path: Path) -> None:
        content = bytes(range(256)) * 10_000
        (tmp_path / "file").write_bytes(content)
        assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


class BuildError(Exception):
    pass


class TestWriting:
    def test_the_directory_appears_when_it_is_whole(self, tmp_path: Path, manifest: Manifest) -> None:
        output = tmp_path / "new" / "bündel con espacio"
        with writing(output) as directory:
            assert directory.parent == output.parent
            assert not output.exists()
            (directory / "file").write_bytes(b"x")
            write_manifest(directory, manifest)
        assert Bundle.open(output).manifest.files.keys() == {"file"}
        assert list(output.parent.iterdir()) == [output]
        assert stat.S_IMODE(output.stat().st_mode) == 0o755

    def test_an_error_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError), writing(tmp_path / "out") as directory:
            (directory / "sub").mkdir()
            (directory / "sub" / "file").touch()
            raise BuildError
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
    def test_an_interruption_leaves_nothing(self, tmp_path: Path, interruption: type[BaseException]) -> None:
        with pytest.raises(interruption), writing(tmp_path / "out") as directory:
            (directory / "file").touch()
            raise interruption
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("kind", ["directory", "empty", "file"])
    def test_what_stands_there_is_not_touched(self, tmp_path: Path, kind: str) -> None:
        output = tmp_path / "out"
        if kind == "file":
            output.write_text("old")
        else:
            output.mkdir()
        if kind == "directory":
            (output / "old").write_text("old")
        before = files_of(tmp_path)
        entered = False
        with pytest.raises(BundleError, match="exists; name another output"), writing(output):
            entered = True
        assert not entered
        assert files_of(tmp_path) == before

    def test_an_error_while_overwriting_leaves_the_old(self, tmp_path: Path, bundle: Bundle) -> None:
        before = files_of(tmp_path)
        with pytest.raises(BuildError), writing(bundle.path, overwrite=True) as directory:
            (directory / "file").touch()
            raise BuildError
        assert files_of(tmp_path) == before
        Bundle.open(bundle.path).check_hashes()

    def test_overwriting_replaces_the_whole_directory(self, tmp_path: Path, bundle: Bundle) -> None:
        with writing(bundle.path, overwrite=True) as directory:
            (directory / "new").write_text("new")
            assert Bundle.open(bundle.path) == bundle
        assert files_of(tmp_path) == {"bundle/new": b"new"}
        assert list(tmp_path.iterdir()) == [bundle.path]

    def test_a_directory_of_other_things_is_not_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.txt").write_text("years of work")
        with (
            pytest.raises(BundleError, match="a directory of other things"),
            writing(tmp_path / "home", overwrite=True),
        ):
            pass
        assert files_of(tmp_path) == {"home/thesis.txt": b"years of work"}
        (tmp_path / "empty").mkdir()
        with writing(tmp_path / "empty", overwrite=True) as directory:
            (directory / "new").touch()

    def test_overwriting_replaces_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("old")
        with writing(tmp_path / "out", overwrite=True) as directory:
            (directory / "new").write_text("new")
        assert files_of(tmp_path) == {"out/new": b"new"}

    def test_overwriting_replaces_a_link_and_not_what_it_leads_to(self, tmp_path: Path, bundle: Bundle) -> None:
        link = tmp_path / "link"
        link.symlink_to(bundle.path, target_is_directory=True)
        with writing(link, overwrite=True) as directory:
            (directory / "new").write_text("new")
        assert not link.is_symlink()
        assert files_of(link) == {"new": b"new"}
        Bundle.open(bundle.path).check_hashes()
        assert {entry.name for entry in tmp_path.iterdir()} == {"bundle", "link"}

    def test_the_old_comes_back_where_the_new_cannot_be_put_in_its_place(
        self, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename = Path.rename

        def fail(path: Path, target: Path) -> Path:
            if path.suffix == ".partial":
                raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr("cielo.files.exchange", lambda *paths: False)  # as on other systems
        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="Input/output"), writing(bundle.path, overwrite=True) as directory:
            (directory / "new").touch()
        assert list(tmp_path.iterdir()) == [bundle.path]
        Bundle.open(bundle.path).check_hashes()

    def test_a_file_in_the_place_of_a_parent_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(BundleError, match="cannot be written to"), writing(tmp_path / "file" / "out"):
            pass
        assert files_of(tmp_path) == {"file": b""}

    def test_a_relative_output_stays_where_it_was_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        with writing(Path("out")) as directory:
            (directory / "file").touch()
            monkeypatch.chdir(tmp_path / "elsewhere")
        assert files_of(tmp_path) == {"out/file": b""}


class TestAtomicWrite:
    def test_a_file_appears_when_it_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert files_of(tmp_path) == {"file": b"new"}

    def test_an_error_leaves_the_old(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with pytest.raises(BuildError), atomic_write(path) as temporary:
            temporary.write_text("half")
            raise BuildError
        assert files_of(tmp_path) == {"file": b"old"}


class TestPlaces:
    def test_the_environment_names_the_bundle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CIELO_BUNDLE", "/somewhere/else")
        assert default_bundle() == Path("/somewhere/else")

    @pytest.mark.parametrize("value", [None, ""])
    def test_without_it_the_mini_is_the_bundle(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        monkeypatch.delenv("CIELO_BUNDLE", raising=False)
        if value is not None:
            monkeypatch.setenv("CIELO_BUNDLE", value)
        assert "mini" in default_bundle().parts

    def test_the_state_directory_is_the_named_the_xdg_or_the_home_s(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CIELO_STATE", "/a")
        monkeypatch.setenv("XDG_STATE_HOME", "/b")
        monkeypatch.setenv("HOME", "/c")
        assert state_directory() == Path("/a")
        monkeypatch.delenv("CIELO_STATE")
        assert state_directory() == Path("/b/cielo")
        monkeypatch.delenv("XDG_STATE_HOME")
        assert state_directory() == Path("/c/.local/state/cielo")


CALIBRATED = {"calibration.json": (Layout(default_bundle()).calibration).read_bytes()}


class TestAmend:
    def test_files_are_added_and_all_else_stays(self, tmp_path: Path, bundle: Bundle) -> None:
        amended = amend(bundle, tmp_path / "out", CALIBRATED)
        amended.check_hashes()
        assert files_of(amended.path).keys() == files_of(bundle.path).keys() | {"calibration.json"}
        assert replace(amended.manifest, files=bundle.manifest.files) == bundle.manifest
        assert list(amended.calibrations()) == ["constrained", "probable"]
        bundle.check_hashes()

    def test_it_may_take_the_bundle_s_own_place(self, bundle: Bundle) -> None:
        assert amend(bundle, bundle.path, CALIBRATED, overwrite=True).path == bundle.path
        Bundle.open(bundle.path).check_hashes()

    def test_what_was_damaged_stays_found(self, tmp_path: Path, bundle: Bundle) -> None:
        name = max(bundle.manifest.files)
        content = (bundle.path / name).read_bytes()
        (bundle.path / name).write_bytes(bytes(len(content) - 1) + b"x")
        with pytest.raises(BundleError, match="does not have the content"):
            amend(bundle, tmp_path / "out", CALIBRATED).check_hashes()

    def test_a_linked_file_becomes_one(self, tmp_path: Path, bundle: Bundle) -> None:
        name = next(iter(bundle.manifest.files))
        (bundle.path / name).rename(bundle.path / "elsewhere")
        (bundle.path / name).symlink_to(os.path.relpath(bundle.path / "elsewhere", (bundle.path / name).parent))
        amended = amend(bundle, tmp_path / "deeper" / "out", CALIBRATED)
        assert not (amended.path / name).is_symlink()
        amended.check_hashes()

    @pytest.mark.parametrize("name", ["encoder", "knowledge_base.sqlite"])
    def test_what_lies_outside_is_never_taken(self, tmp_path: Path, bundle: Bundle, name: str) -> None:
        (bundle.path / name).rename(tmp_path / "foreign")
        (bundle.path / name).symlink_to(tmp_path / "foreign")
        with pytest.raises(BundleError, match="is not a regular file inside of it"):
            amend(bundle, tmp_path / "out", CALIBRATED)
        assert not (tmp_path / "out").exists()

    def test_what_a_machine_found_out_holds_after_calibrating(
        self, tmp_path: Path, bundle: Bundle, shown: ParityFigures
    ) -> None:
        record_parity(bundle, bundle.execution("cuda", compute_type="float16"), shown)
        amended = amend(bundle, tmp_path / "out", CALIBRATED)
        assert amended.sha256 != bundle.sha256
        assert amended.models_sha256 == bundle.models_sha256
        assert known_parity(amended)["ctranslate2/cuda/float16"].passed

    def test_other_models_are_another_matter(self, tmp_path: Path, bundle: Bundle) -> None:
        name = next(name for name in bundle.manifest.files if name.startswith("generator/"))
        assert amend(bundle, tmp_path / "out", {name: b"other"}).models_sha256 != bundle.models_sha256

    @pytest.mark.parametrize("content", [b"", b"[]", b"1", b"{", b'{"probable": {}}', b'{"probable": 3}', b"\xff"])
    def test_a_damaged_calibration_is_refused(self, tmp_path: Path, bundle: Bundle, content: bytes) -> None:
        with pytest.raises(BundleError, match=r"calibration\.json"):
            amend(bundle, tmp_path / "out", {"calibration.json": content}).calibrations()

    def test_a_full_disk_leaves_nothing(self, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(path: Path, content: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", fail)
        with pytest.raises(BundleError, match="No space left"):
            amend(bundle, tmp_path / "out", CALIBRATED)
        assert not (tmp_path / "out").exists()
