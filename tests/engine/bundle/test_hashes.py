"""Every file is hashed at opening, once for each machine while it stays as it is: a damaged one gives no answer."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cielo.bundle import hashes
from cielo.bundle.hashes import check_files
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Manifest
from cielo.bundle.writing import write_manifest
from cielo.cli import main
from cielo.errors import BundleError, OptionError
from cielo.link.linker import Linker
from cielo.machine import state_directory
from click.testing import CliRunner

WEIGHTS = "generator/ctranslate2/model.bin"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(hashes, "_SETTLED", -3600.0)  # what was written a moment ago is known too


@pytest.fixture
def bundle(bundle_files: Path, manifest: Manifest) -> Bundle:
    return write_manifest(bundle_files, manifest)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed from now on."""
    names: list[str] = []
    taken = hashes._hash

    def spy(bundle: Bundle, name: str) -> object:
        names.append(name)
        return taken(bundle, name)

    monkeypatch.setattr(hashes, "_hash", spy)
    return names


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_bundle(), tmp_path / "mini"))


def flip(file: Path) -> None:
    """Flip one bit of a file, and set its time back."""
    before = file.stat()
    with file.open("r+b") as stream:
        stream.seek(before.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


class TestOnce:
    def test_the_second_opening_hashes_nothing(self, bundle: Bundle, hashed: list[str]) -> None:
        check_files(bundle)
        assert sorted(hashed) == sorted(bundle.manifest.files)
        hashed.clear()
        check_files(Bundle.open(bundle.path))
        assert hashed == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda file: file.write_bytes(file.read_bytes()),
            lambda file: os.utime(file, (1, 1)),
            lambda file: shutil.copy(file, file.with_name("new")) and file.with_name("new").replace(file),
        ],
    )
    def test_a_file_that_was_touched_is_hashed_again(
        self, bundle: Bundle, hashed: list[str], change: Callable[[Path], object]
    ) -> None:
        check_files(bundle)
        hashed.clear()
        time.sleep(0.02)
        change(bundle.path / WEIGHTS)
        check_files(bundle)
        assert hashed == [WEIGHTS]

    def test_a_flipped_bit_is_found_whatever_its_times_say(self, bundle: Bundle) -> None:
        check_files(bundle)
        time.sleep(0.02)
        flip(bundle.path / WEIGHTS)
        for _ in range(2):  # what was found wrong is not taken for known
            with pytest.raises(BundleError, match=rf"{WEIGHTS} does not have the content that the manifest names"):
                check_files(bundle)

    def test_a_copy_elsewhere_is_hashed_for_itself(self, tmp_path: Path, bundle: Bundle, hashed: list[str]) -> None:
        check_files(bundle)
        hashed.clear()
        check_files(Bundle.open(Path(shutil.copytree(bundle.path, tmp_path / "copy"))))
        assert sorted(hashed) == sorted(bundle.manifest.files)

    def test_what_was_written_a_moment_ago_is_hashed_again(
        self, bundle: Bundle, hashed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hashes, "_SETTLED", 2.0)
        check_files(bundle)
        hashed.clear()
        check_files(bundle)
        assert sorted(hashed) == sorted(bundle.manifest.files)

    def test_a_part_is_hashed_alone_and_what_was_known_stays(self, bundle: Bundle, hashed: list[str]) -> None:
        check_files(bundle, parts=[bundle.generator])
        assert sorted(hashed) == [WEIGHTS, "generator/tokenizer.json"]
        check_files(bundle, parts=[bundle.knowledge_base])
        hashed.clear()
        check_files(bundle)
        assert not {WEIGHTS, "knowledge_base.sqlite"} & set(hashed)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"bundle": "/", "files": {}}', b"[" * 100_000])
    def test_a_damaged_state_file_knows_nothing(self, bundle: Bundle, hashed: list[str], content: bytes) -> None:
        check_files(bundle)
        (file,) = (state_directory() / "files").iterdir()
        file.write_bytes(content)
        hashed.clear()
        check_files(bundle)
        assert sorted(hashed) == sorted(bundle.manifest.files)

    def test_the_state_file_can_be_a_fifo(self, bundle: Bundle) -> None:
        check_files(bundle)
        (file,) = (state_directory() / "files").iterdir()
        file.unlink()
        os.mkfifo(file)
        check_files(bundle)


class TestWhereTheStateCannotBeKept:
    @pytest.fixture(autouse=True)
    def _no_state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("CIELO_STATE", str(tmp_path / "file" / "state"))

    def test_each_opening_hashes_and_says_nothing_of_a_short_time(self, bundle: Bundle, hashed: list[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_files(bundle)
            check_files(bundle)
        assert len(hashed) == 2 * len(bundle.manifest.files)

    def test_a_long_time_is_worth_a_word(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hashes, "_LONG", -1)
        with pytest.warns(RuntimeWarning, match=r"hashed at every opening \(0 s\): .*CIELO_STATE"):
            check_files(bundle)


class TestAlwaysAndNever:
    def test_always_hashes_each_time(self, bundle: Bundle, hashed: list[str]) -> None:
        for verify in ("once", "always", "always"):
            check_files(bundle, verify)  # type: ignore[arg-type]
        assert len(hashed) == 3 * len(bundle.manifest.files)

    def test_never_hashes_nothing(self, bundle: Bundle, hashed: list[str]) -> None:
        flip(bundle.path / WEIGHTS)
        check_files(bundle, "never")
        assert hashed == []

    def test_anything_else_is_refused(self, bundle: Bundle) -> None:
        with pytest.raises(OptionError, match="got 'sometimes', expected one of always, once, never"):
            check_files(bundle, "sometimes")  # type: ignore[arg-type]


class TestDamagedWeights:
    @pytest.mark.parametrize("name", [WEIGHTS, "encoder/model.onnx", "index/0/vectors.npy", "knowledge_base.sqlite"])
    def test_a_linker_is_not_opened(self, mini: Path, name: str) -> None:
        flip(mini / name)
        with pytest.raises(BundleError, match=rf"damaged: {name} does not have the content.*; copy or build it again"):
            Linker.open(mini, device="cpu", cache=False)

    def test_the_commands_end_with_one_error(self, mini: Path) -> None:
        flip(mini / WEIGHTS)
        for command in (["link", "asma", "--bundle"], ["bench"], ["tune"]):
            done = CliRunner().invoke(main, [*command, str(mini)])
            assert done.exit_code == 1
            assert done.stderr.splitlines()[-1].startswith(f"cielo: the bundle {mini} is damaged: {WEIGHTS}")
        flip(mini / WEIGHTS)
        assert CliRunner().invoke(main, ["link", "asma", "--bundle", str(mini)]).exit_code == 0

    def test_the_knowledge_base_is_looked_at_by_the_commands_that_read_it(self, mini: Path, tmp_path: Path) -> None:
        flip(mini / "knowledge_base.sqlite")
        (tmp_path / "lexicon.tsv").write_text("text\tcode\nasma\tJ45\n", encoding="utf-8")
        for command in (["kb", "info"], ["kb", "search", "asma"], ["lexicon", "check", str(tmp_path / "lexicon.tsv")]):
            done = CliRunner().invoke(main, [*command, "--bundle", str(mini)])
            assert done.exit_code == 1
            assert "knowledge_base.sqlite does not have the content" in done.stderr

    def test_never_opens_it(self, mini: Path) -> None:
        flip(mini / WEIGHTS)
        assert CliRunner().invoke(main, ["link", "asma", "--bundle", str(mini)]).exit_code == 1
        with Linker.open(mini, device="cpu", cache=False, verify_files="never"):
            pass
