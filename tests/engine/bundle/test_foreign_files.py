"""A bundle holds regular files inside of its own directory: no link leads out of it, and nothing unlisted is read."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from cielo.bundle.layout import Bundle, default_bundle
from cielo.bundle.manifest import Manifest
from cielo.bundle.writing import write_manifest
from cielo.cli import main
from cielo.errors import BundleError
from cielo.link.linker import Linker
from click.testing import CliRunner


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))


@pytest.fixture
def bundle(bundle_files: Path, manifest: Manifest) -> Bundle:
    return write_manifest(bundle_files, manifest)


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_bundle(), tmp_path / "mini"))


def move_out(bundle: Path, name: str) -> None:
    """Move a part of a bundle out of it, and leave a link in its place."""
    outside = bundle.parent / "outside"
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)


PARTS = ["knowledge_base.sqlite", "generator", "index/0", "encoder/model.onnx", "manifest.json"]


class TestLinks:
    @pytest.mark.parametrize("name", PARTS)
    def test_one_that_leaves_is_refused(self, bundle: Bundle, name: str) -> None:
        move_out(bundle.path, name)
        with pytest.raises(BundleError, match=rf"damaged: {Path(name).name} is a link to something outside of it"):
            Bundle.open(bundle.path)

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../bundle2", "/dev/zero", "nowhere/../../../x"])
    def test_one_beside_the_files_is_refused_too(self, bundle: Bundle, target: str) -> None:
        (bundle.path.parent / "bundle2").mkdir()  # its name begins as the bundle's does
        (bundle.path / "index" / "notes").symlink_to(target)
        with pytest.raises(BundleError, match="notes is a link to something outside of it"):
            Bundle.open(bundle.path)

    def test_one_that_leads_to_itself_is_no_endless_matter(self, bundle: Bundle) -> None:
        bundle.encoder.unlink()
        bundle.encoder.symlink_to(bundle.encoder.name)
        with pytest.raises(BundleError, match=r"encoder/model\.onnx is missing"):
            Bundle.open(bundle.path)

    def test_one_inside_is_followed(self, bundle: Bundle) -> None:
        (bundle.path / "index" / "up").symlink_to("..")
        bundle.encoder.rename(bundle.path / "weights")
        bundle.encoder.symlink_to("../weights")
        Bundle.open(bundle.path).check_hashes()

    def test_the_bundle_itself_may_be_reached_through_one(self, bundle: Bundle) -> None:
        (bundle.path.parent / "link").symlink_to(bundle.path)
        (bundle.path.parent / "folder").symlink_to(bundle.path.parent)
        Bundle.open(bundle.path.parent / "link").check_hashes()
        Bundle.open(bundle.path.parent / "folder" / "link").check_hashes()

    @pytest.mark.parametrize("name", PARTS)
    def test_the_commands_refuse_it(self, mini: Path, tmp_path: Path, name: str) -> None:
        move_out(mini, name)
        (tmp_path / "rows.tsv").write_text("text\tkind\tcode\nasma\tdiagnosis\tJ45\n", encoding="utf-8")
        out = str(tmp_path / "out")
        for command in (["verify", str(mini)], ["calibrate", str(mini), str(tmp_path / "rows.tsv"), "--output", out]):
            done = CliRunner().invoke(main, command)
            assert done.exit_code == 1
            assert "is a link to something outside of it" in done.stderr
        assert not (tmp_path / "out").exists()


class TestWhatIsNoFile:
    @pytest.mark.parametrize("name", ["encoder/model.onnx", "knowledge_base.sqlite", "notes"])
    def test_a_fifo_is_refused_and_not_waited_for(self, bundle: Bundle, name: str) -> None:
        (bundle.path / name).unlink(missing_ok=True)
        os.mkfifo(bundle.path / name)
        with pytest.raises(BundleError, match=rf"{Path(name).name} is not a regular file"):
            Bundle.open(bundle.path)

    def test_a_socket_is_refused(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(bundle.path)  # a socket's path may not be long
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("socket")
            with pytest.raises(BundleError, match="socket is not a regular file"):
                Bundle.open(bundle.path)


class TestStrays:
    @pytest.mark.parametrize(
        "name",
        ["calibration.json", "index/0/projection.npy", "encoder/weights", "knowledge_base.sqlite-wal", "parity/x"],
    )
    def test_an_unlisted_file_is_not_read(self, mini: Path, name: str) -> None:
        if name == "calibration.json":
            bundle = Bundle.open(mini)
            del bundle.manifest.files[name]  # type: ignore[attr-defined]
            (mini / "manifest.json").unlink()
            kept = (mini / name).rename(mini.parent / "kept")
            write_manifest(mini, bundle.manifest)
            kept.rename(mini / name)
        else:
            (mini / name).write_bytes(b"")
        with pytest.raises(BundleError, match=rf"{name} is not listed in its manifest"):
            Linker.open(mini, device="cpu", cache=False)

    def test_what_nobody_reads_may_lie_there(self, mini: Path) -> None:
        (mini / "notes.txt").touch()
        (mini / "index" / ".DS_Store").touch()
        with Linker.open(mini, device="cpu", cache=False):
            pass
