"""Another knowledge base in the mini: next year's table of it, some codes added, some gone, some with another title."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cielo.bundle import indexing
from cielo.bundle.layout import Bundle, default_bundle
from cielo.cli import main, progress
from cielo.errors import BundleError, ParityError
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.subsets import Subset
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Mention
from cielo.retrieval.index import load_all
from cielo.workbench import replacing
from cielo.workbench.replacing import replace_knowledge_base, work_file
from click.testing import CliRunner, Result
from minis import mini_of_few_references

GONE, RETITLED = "BW21", "BW03"
NEW_TITLE = "imagen radiográfica sencilla del tórax entero"
ADDED = {"BW99": "retrato luminoso del abdomen con rayos fríos", "B0ZZ": "dibujo del cerebro por ecos lejanos"}


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIELO_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return mini_of_few_references(tmp_path_factory.mktemp("old") / "bundle")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Next year's tables, as options."""
    folder = tmp_path_factory.mktemp("tables")
    base = KnowledgeBase(Bundle.open(default_bundle()).knowledge_base)
    options = []
    for kind in base.kinds:
        rows = dict(base.titles(kind)[:300])
        if kind == "procedure":
            del rows[GONE]
            rows |= {RETITLED: NEW_TITLE, **ADDED}
        file = folder / f"{kind}.tsv"
        file.write_text("code\tdescription\n" + "".join(f"{c}\t{t}\n" for c, t in rows.items()), encoding="utf-8")
        options += ["--table", f"{kind}={file}"]
    base.close()
    return [*options, "--edition", "el año que viene"]


@pytest.fixture(scope="module")
def made(old: Bundle, tables: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Result]:
    output = tmp_path_factory.mktemp("made") / "bundle"
    result = run("kb", "replace", old.path, *tables, "--output", output)
    assert result.exit_code == 0, result.output
    assert [entry.name for entry in output.parent.iterdir()] == ["bundle"]
    return Bundle.open(output), result


class TestNextYear:
    def test_the_old_bundle_stays(self, old: Bundle, made: tuple[Bundle, Result]) -> None:
        again = Bundle.open(old.path)
        again.check_hashes()
        assert (again.sha256, again.unlisted_files()) == (old.sha256, [])
        assert made[0].sha256 != old.sha256

    def test_the_new_one_is_whole_and_has_parity(self, made: tuple[Bundle, Result]) -> None:
        bundle, _ = made
        bundle.check_hashes()
        assert bundle.unlisted_files() == []
        assert {key: figures.passed for key, figures in bundle.manifest.parity.items()} == {
            "ctranslate2/cpu/float32": True,
            "onnx/cpu/int8": True,
        }
        names = {check.name for check in bundle.manifest.parity["ctranslate2/cpu/float32"].checks}
        assert {"generator.head", "index.recall", "encoder.vectors", "trie.vocabulary"} <= names
        result = run("verify", bundle.path, "--parity")
        assert result.exit_code == 0, result.output
        assert "FAILED" not in result.output

    def test_what_no_longer_holds_is_left_out_and_told(self, old: Bundle, made: tuple[Bundle, Result]) -> None:
        bundle, result = made
        assert old.calibrations() and bundle.calibrations() == {}
        assert "no confidence" in result.stderr and "cielo calibrate" in result.stderr
        assert "parity onnx/cpu/int8: passed, 23 of 23 checks" in result.stdout

    def test_the_manifest_names_the_new_edition(self, made: tuple[Bundle, Result]) -> None:
        section = made[0].manifest.knowledge_base
        assert section.edition == "el año que viene"
        assert section.concepts == {"diagnosis": 300, "procedure": 172 + 1}
        assert [table.name for table in section.tables] == ["diagnosis.tsv", "procedure.tsv"]

    def test_it_links_to_the_new_codes(self, made: tuple[Bundle, Result]) -> None:
        mention = Mention("TC abdominal", "La TC abdominal es normal.")
        with Linker.open(made[0].path, cache=False) as linker:
            (link,) = linker.link([mention])
            assert (link.code, link.confidence, link.provenance.bundle.edition) == ("BW20", None, "el año que viene")
            assert linker.knowledge_base.find(GONE, "procedure") is None
            for decoding in ("constrained", "probable"):
                asked = LinkOptions(subset=Subset(codes=frozenset(ADDED)), decoding=decoding, max_distance=4.0)
                (link,) = linker.link([mention], asked)
                assert link.code in ADDED
            near = linker.link([mention], LinkOptions(decoding="probable", neighbours="always", top_k=20))[0]
            assert near.distance == pytest.approx(0, abs=1e-5)

    def test_each_description_has_its_vector(self, old: Bundle, made: tuple[Bundle, Result]) -> None:
        before, after = (load_all(bundle.index, 64)["procedure"] for bundle in (old, made[0]))
        own = {texts[0]: vector for texts, vector in zip(before.descriptions, before.vectors, strict=True)}
        new = {texts[0]: vector for texts, vector in zip(after.descriptions, after.vectors, strict=True)}
        assert {*ADDED.values(), NEW_TITLE} == set(new) - set(own)
        assert all(np.array_equal(vector, own[text]) for text, vector in new.items() if text in own)
        title = after.search(new[NEW_TITLE][None], 1)[0][0]
        assert (title.description, round(title.distance, 5)) == (NEW_TITLE, 0)

    def test_a_file_in_place_of_tables_gives_the_same(
        self,
        old: Bundle,
        tables: list[str],
        made: tuple[Bundle, Result],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(replacing, "pass_gate", lambda *given, **named: {})
        assert run("kb", "build", tmp_path / "kb", *tables).exit_code == 0
        result = run("kb", "replace", old.path, "--kb", tmp_path / "kb", "--output", tmp_path / "new")
        assert result.exit_code == 0, result.output
        other = Bundle.open(tmp_path / "new")
        assert other.manifest.files == made[0].manifest.files
        assert other.manifest.knowledge_base == made[0].manifest.knowledge_base


class _StoppedError(Exception):
    pass


class TestStopped:
    @pytest.fixture(autouse=True)
    def _small_blocks_and_no_gate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(indexing, "EMBEDDED_AT_ONCE", 4)
        monkeypatch.setattr(replacing, "pass_gate", lambda *given, **named: {})

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """A knowledge base of 22 descriptions that the mini lacks."""
        return self.base(tmp_path / "kb", [f"cosa inventada número {number}" for number in range(22)])

    @staticmethod
    def base(file: Path, titles: list[str]) -> Path:
        table = file.with_suffix(".tsv")
        rows = "".join(f"A{number:02}\t{title}\n" for number, title in enumerate(titles))
        table.write_text(f"code\tdescription\n{rows}", encoding="utf-8")
        assert run("kb", "build", file, "--table", f"diagnosis={table}", "--overwrite").exit_code == 0
        return file

    @staticmethod
    def replace(old: Bundle, file: Path, output: Path, stop: int | None = None) -> replacing.Replaced:
        def progress(step: str, done: int, total: int) -> None:
            if stop is not None and step.startswith("vectors") and done >= stop:
                raise _StoppedError

        return replace_knowledge_base(
            old, output, lambda path: path.write_bytes(file.read_bytes()) and None, progress=progress
        )

    def test_it_goes_on_where_it_was(self, old: Bundle, file: Path, tmp_path: Path) -> None:
        output, work = tmp_path / "new", work_file(tmp_path / "new")
        for stop in (8, 16):
            with pytest.raises(_StoppedError):
                self.replace(old, file, output, stop)
            assert not output.exists()
            assert stat.S_IMODE(work.stat().st_mode) == 0o600
        assert not list(tmp_path.glob(".cielo-*"))
        gone_on = self.replace(old, file, output)
        whole = self.replace(old, file, tmp_path / "whole")
        assert (gone_on.vectors_kept, whole.vectors_kept) == (16, 0)
        assert gone_on.bundle.manifest.files == whole.bundle.manifest.files
        assert not work.exists()

    def test_vectors_of_other_descriptions_are_not_used(self, old: Bundle, file: Path, tmp_path: Path) -> None:
        output = tmp_path / "new"
        with pytest.raises(_StoppedError):
            self.replace(old, file, output, 16)
        other = self.base(tmp_path / "other", [f"otra cosa {number}" for number in range(22)])
        made = self.replace(old, other, output)
        assert made.vectors_kept == 0
        (index,) = load_all(made.bundle.index, 64).values()
        assert sorted(text for texts in index.descriptions for text in texts) == sorted(
            f"otra cosa {number}" for number in range(22)
        )

    def test_a_full_disk_is_told_and_the_vectors_stay(
        self, old: Bundle, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch, pytest.raises(BundleError, match=r"make room on the disk.*goes on with"):
            patch.setattr(replacing, "write_manifest", full)
            self.replace(old, file, tmp_path / "new")
        assert sorted(path.name for path in tmp_path.glob("*new*")) == [".new.vectors"]
        assert self.replace(old, file, tmp_path / "new").vectors_kept == 22

    def test_it_tells_how_far_it_is_and_what_an_interrupt_leaves(
        self, old: Bundle, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(progress, "_SILENT", 0.0)
        monkeypatch.setattr(progress, "_EVERY", 0.0)
        command = ("kb", "replace", old.path, "--kb", file, "--output", tmp_path / "new")

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        for where, kept in (("_queries", "nothing was written"), ("write_manifest", "the vectors so far are kept")):
            with monkeypatch.context() as patch:
                patch.setattr(replacing, where, interrupted)
                result = run(*command)
            assert result.exit_code == 130
            assert f"cielo: interrupted; {kept}" in result.stderr
            assert work_file(tmp_path / "new").exists() == (where == "write_manifest")
        assert run(*command, "-q").stderr.splitlines()[0].startswith("  22 vectors were kept")
        result = run(*command, "--overwrite")
        assert result.exit_code == 0, result.output
        for line in ("cielo: vectors (diagnosis): 20 of 22, ", "cielo: index: ", "cielo: manifest: "):
            assert line in result.stderr

    def test_a_gate_that_fails_leaves_no_bundle(
        self, old: Bundle, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ParityError("1 check failed")

        monkeypatch.setattr(replacing, "pass_gate", fail)
        result = run("kb", "replace", old.path, "--kb", file, "--output", tmp_path / "new")
        assert (result.exit_code, (tmp_path / "new").exists()) == (4, False)

    def test_signs_that_the_model_does_not_know_are_told(self, old: Bundle, tmp_path: Path) -> None:
        file = self.base(tmp_path / "kb", ["tos", "tos \U00010330\U00010331", "cosa nueva"])
        result = run(
            "kb", "replace", old.path, "--kb", file, "--output", tmp_path / "new", "--unwritable", tmp_path / "no.tsv"
        )
        assert result.exit_code == 3, result.output
        assert "cannot be written: A01 (diagnosis): it has a sign" in result.stderr
        assert "cannot be written: 1 descriptions" in result.stderr
        header, line = (tmp_path / "no.tsv").read_text(encoding="utf-8").splitlines()
        assert header == "code\tkind\tdescription\treason"
        assert line.split("\t")[:3] == ["A01", "diagnosis", "tos \U00010330\U00010331"]
        assert "the old bundle has the kind procedure" in result.stderr


class TestRefused:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        (tmp_path / "d.tsv").write_text("code\tdescription\nR05\ttos\n", encoding="utf-8")
        return tmp_path / "d.tsv"

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            (["missing", "--output", "new"], 1, "no bundle at"),
            (["d.tsv", "--output", "new"], 1, "no bundle at"),
            (["{old}", "--output", "{old}", "--overwrite"], 2, "--output names"),
            (["{old}", "--output", "{old}/new"], 1, "lies in the old bundle"),
            (["{old}", "--output", "d.tsv/new"], 1, "cannot be written"),
            (["{old}", "--output", "here"], 1, "exists"),
            (["{old}", "--output", "new", "--kb", "d.tsv"], 2, "either --table KIND=FILE or --kb FILE"),
            (["{old}", "--output", "new", "--table", "diagnosis=missing.tsv"], 1, "cannot be read"),
        ],
    )
    def test_what_cannot_be_done_is_told_and_leaves_nothing(
        self, old: Bundle, table: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
    ) -> None:
        monkeypatch.chdir(table.parent)
        Path("here").mkdir()
        given = [argument.format(old=old.path) for argument in arguments]
        result = run("kb", "replace", *given, "--table", "diagnosis=d.tsv")
        assert result.exit_code == code, result.output
        assert told in result.stderr
        assert sorted(entry.name for entry in table.parent.iterdir()) == ["d.tsv", "here"]

    def test_a_file_that_is_no_knowledge_base(self, old: Bundle, table: Path) -> None:
        output = table.parent / "new"
        for extra, code, told in (([], 1, "cannot be opened"), (["--edition", "x"], 2, "as it is")):
            result = run("kb", "replace", old.path, "--kb", table, "--output", output, *extra)
            assert (result.exit_code, output.exists()) == (code, False)
            assert told in result.stderr

    def test_an_altered_bundle(self, table: Path) -> None:
        bundle = mini_of_few_references(table.parent / "bundle")
        content = bytearray(bundle.encoder.read_bytes())
        content[len(content) // 2] ^= 1
        bundle.encoder.write_bytes(content)
        output = table.parent / "new"
        result = run("kb", "replace", bundle.path, "--table", f"diagnosis={table}", "--output", output)
        assert (result.exit_code, output.exists()) == (1, False)
        assert re.search(r"encoder/model\.onnx does not have the content", result.stderr)


def test_a_table_of_other_descriptions_has_parity(old: Bundle, tmp_path: Path) -> None:
    """The references name descriptions of the old table alone: the search is compared with others."""
    titles = [f"cosa inventada número {number} del catálogo" for number in range(40)]
    file = TestStopped.base(tmp_path / "kb", titles)
    result = run("kb", "replace", old.path, "--kb", file, "--output", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "new" / "manifest.json").read_text(encoding="utf-8"))["trie"]["rows"] == 40
