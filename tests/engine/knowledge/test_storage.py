from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cielo.errors import BundleError, TableError
from cielo.knowledge.reading import KnowledgeBase
from cielo.knowledge.records import DescriptionRow, KnowledgeSummary, TableSource
from cielo.knowledge.writing import write_knowledge_base
from knowledge_fakes import ICD, codes, make, named


class TestFile:
    def test_building_counts_concepts_and_descriptions(self, tmp_path: Path) -> None:
        rows = [
            DescriptionRow("A", "uno", "x"),
            DescriptionRow("A", "one", "x"),
            DescriptionRow("A", "uno", "x"),
            DescriptionRow("A", "uno", "y"),
        ]
        assert write_knowledge_base(tmp_path / "b", rows) == KnowledgeSummary({"x": 1, "y": 1}, 3)

    def test_kinds_and_descriptions_keep_the_order_of_the_tables(self, base: KnowledgeBase, tmp_path: Path) -> None:
        assert base.kinds == ("diagnosis", "procedure")
        assert base.descriptions("diagnosis") == ["Hipotermia", "Fiebre, no especificada", "fiebre", "Fiebre"]
        assert base.descriptions("oncology") == []
        other = make(
            tmp_path / "b",
            [
                DescriptionRow("A", "b", "z"),
                DescriptionRow("B", "a", "z"),
                DescriptionRow("C", "b", "z"),
                DescriptionRow("D", "b", "a"),
            ],
        )
        assert other.kinds == ("z", "a")
        assert other.descriptions("z") == ["b", "a"]

    def test_a_code_s_parent_is_the_longest_shorter_code_of_its_kind(self, tmp_path: Path) -> None:
        names = ["R50", "R50.9", "R50.91", "R51", "0210", "02100Z9", "R"]
        path = tmp_path / "b"
        rows = [
            *(DescriptionRow(name, name, "x") for name in names),
            DescriptionRow("R50.911", "otra", "y"),
            DescriptionRow("R50.91", "otra", "z"),
        ]
        rows.append(DescriptionRow("R50.9112", "otra", "z"))
        write_knowledge_base(path, rows, systems={"x": "icd-10-cm", "y": "icd-10-cm"})
        parents = dict(sqlite3.connect(path).execute("SELECT code, parent FROM concept ORDER BY id DESC"))
        assert parents == {
            "R": None, "R50": "R", "R50.9": "R50", "R50.91": "R50.9", "R51": "R", "0210": None, "02100Z9": "0210",
            "R50.911": None, "R50.9112": None,
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["con espacio.sqlite", "tilde-ñ-ü.sqlite", "a?mode=rw&b#c%20.sqlite"])
    def test_a_path_may_hold_any_character(self, tmp_path: Path, name: str) -> None:
        base = make(tmp_path / name, [DescriptionRow("A", "uno", "x")])
        assert codes(base.match("uno")) == ["A"]

    def test_opening_does_not_write(self, tmp_path: Path) -> None:
        path = tmp_path / "b"
        base = make(path, [DescriptionRow("A", "uno", "x")])
        content = path.read_bytes()
        base.match("uno")
        base.close()
        assert path.read_bytes() == content
        assert [entry.name for entry in tmp_path.iterdir()] == ["b"]

    def test_without_any_row_there_is_no_knowledge_base(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="hold no row"):
            write_knowledge_base(tmp_path / "b", [])

    @pytest.mark.parametrize("content", [None, b"", b"not a database, but long enough to look like one" * 50])
    def test_what_is_no_knowledge_base_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "knowledge_base.sqlite"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BundleError, match=r"knowledge_base\.sqlite cannot be opened"):
            KnowledgeBase(path)
        assert path.exists() == (content is not None)

    def test_another_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.sqlite"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (a)")
        with pytest.raises(BundleError, match="got schema 0, expected 3"):
            KnowledgeBase(path)

    def test_a_file_that_lost_its_end_is_refused_where_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "b"
        make(path, [DescriptionRow(f"A{number}", f"descripción {number}", "x") for number in range(2000)]).close()
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(BundleError, match=r"cannot be (opened|read)"):
            base = KnowledgeBase(path)
            for number in range(2000):
                base.match(f"descripción {number}")
                base.search(f"{number}")

    def test_edition_sources_and_systems_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "b"
        sources = [
            TableSource("diag.tsv", "diagnosis", "ab" * 32, 2, 1),
            TableSource("índice ñ.csv", "diagnosis", "c", 0, 0),
        ]
        rows = [*named("A00", "A01"), *named("0210", kind="procedure"), *named("x", kind="other kind")]
        write_knowledge_base(path, rows, systems=ICD, edition="CIE-10-ES 2024 «ñ»", sources=sources)
        base = KnowledgeBase(path)
        assert base.edition == "CIE-10-ES 2024 «ñ»"
        assert base.sources == tuple(sources)
        assert base.systems == {**ICD, "other kind": "other"}
        assert base.concepts == {"diagnosis": 2, "procedure": 1, "other kind": 1}

    def test_building_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            make(
                tmp_path / name,
                [*named("A00", "A00.1", "B00"), DescriptionRow("A00", "cólera", "diagnosis", preferred=False)],
            )
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
