"""Runs in this process: what is read, cut, linked and written, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import bulk_made
import pytest
from bulk_made import final_bytes, run, table, texts, write_csv
from cielo import Linker, LinkOptions
from cielo.bulk.layout import RunFolder
from cielo.bulk.records import BulkOptions
from cielo.bulk.running import Run
from cielo.errors import OptionError, TableError


@pytest.fixture(scope="module")
def linker() -> Iterator[Linker]:
    with Linker.open(cache=False) as opened:
        yield opened


def rows_of(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for part in sorted(output.glob("part-*.jsonl")) for line in part.open(encoding="utf-8")]


def test_rows_come_out_in_their_order_with_their_columns_and_the_linker_s_codes(linker: Linker, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", 100, 20)
    summary = run(linker, [source], tmp_path / "out", rows=16)
    found = rows_of(tmp_path / "out")
    assert [row["id"] for row in found] == [str(number) for number in range(100)]
    from cielo import Mention

    expected = linker.link([Mention(str(row["text"])) for row in found])
    assert [row["code"] for row in found] == [link.code for link in expected]
    for row, link in zip(found, expected, strict=True):
        assert row["log_prob"] == pytest.approx(link.log_prob, abs=1e-3)
    assert (summary.rows, summary.distinct, summary.linked, summary.errors) == (100, 20, 100, 0)
    assert sum(summary.methods.values()) == 100


def test_each_distinct_mention_is_linked_once_in_the_run(
    linker: Linker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked: list[str] = []
    before = linker.link
    monkeypatch.setattr(
        linker,
        "link",
        lambda mentions, options, **given: (linked.extend(m.text for m in mentions), before(mentions, options))[1],
    )
    run(linker, [table(tmp_path / "in.csv", 90, 15)], tmp_path / "out", rows=8)
    assert sorted(linked) == sorted(texts(15))


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_two_runs_give_the_same_bytes_and_nothing_of_the_input_stays(linker: Linker, tmp_path: Path, form: str) -> None:
    source = table(tmp_path / "in.csv", 60, 20)
    for name in ("one", "two"):
        run(linker, [source], tmp_path / name, rows=16, form=form)
    assert final_bytes(tmp_path / "one") == final_bytes(tmp_path / "two")
    kept = [path for path in (tmp_path / "one" / ".bulk").rglob("*") if path.is_file()]
    assert not [path for path in kept if path.parent.name in ("rows", "links", "scratch", "leases")]
    assert not any(b"texto" in path.read_bytes() or texts(1)[0].encode() in path.read_bytes() for path in kept)


def test_codes_are_text_and_parts_of_a_table_have_the_same_columns(linker: Linker, tmp_path: Path) -> None:
    from pyarrow import parquet

    write_csv(tmp_path / "a.csv", [["HTA", "x"], ["", "y"]], ("text", "one"))
    write_csv(tmp_path / "b.csv", [["tos", "007"]], ("text", "two"))
    run(linker, [tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out", form="parquet")
    schemas = [parquet.read_schema(part) for part in sorted((tmp_path / "out").glob("part-*"))]
    assert schemas[0].equals(schemas[1])
    assert {str(entry.type) for entry in schemas[0]} == {"string"}
    second = parquet.read_table(tmp_path / "out" / "part-000001.parquet").to_pylist()
    assert second[0]["two"] == "007" and second[0]["one"] is None


def test_rows_that_cannot_be_linked_are_kept_beside_their_neighbours_and_listed(linker: Linker, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b'text,kind,n\nHTA,,1\n,,2\ntos,nonsense,3\ntos,,4\nHTA,,5,6,7\n"open,,8\n')
    summary = run(linker, [source], tmp_path / "out", rows=2)
    found = rows_of(tmp_path / "out")
    assert len(found) == summary.rows == 6
    assert [("error" in row) for row in found] == [False, True, True, False, True, True]
    with (tmp_path / "out" / "errors.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [entry["row"] for entry in listed] == ["3", "4", "6", "7"]
    assert not any("nonsense" in entry["error"] for entry in listed)


def test_only_errors_links_nothing_and_writes_the_rows_to_mend(
    linker: Linker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linker, "link", lambda *_: pytest.fail("linked"))
    source = write_csv(tmp_path / "in.csv", [["HTA", "1"], ["", "2"]], ("text", "n"))
    summary = run(linker, [source], tmp_path / "out", only_errors=True)
    assert [row["n"] for row in rows_of(tmp_path / "out")] == ["2"]
    assert summary.errors == 1


def test_folders_patterns_gzip_zstd_and_encodings_are_read(linker: Linker, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"text\nHTA\n"))
    (folder / "b.csv.zst").write_bytes(zstandard.compress(b"text\ntos\n"))
    (folder / "c.tsv").write_bytes("text\nneumonía\n".encode("cp1252"))
    (folder / "d.jsonl").write_text('{"text": "fiebre"}\n')
    (folder / "e.csv").write_bytes("text\nneumonía\n".encode("utf-16"))
    expected = ["HTA", "tos", "neumonía", "fiebre", "neumonía"]
    run(linker, [folder], tmp_path / "one")
    run(linker, [f"{folder}/*"], tmp_path / "two")
    for name in ("one", "two"):
        assert [row["text"] for row in rows_of(tmp_path / name)] == expected
    (folder / "b.csv.zst").write_bytes(zstandard.compress(b"text\n" + b"tos\n" * 9)[:-6])
    with pytest.raises(TableError, match=r"b\.csv"):
        run(linker, [folder], tmp_path / "three")


def test_annotated_folders_are_read(linker: Linker, tmp_path: Path) -> None:
    folder = tmp_path / "brat"
    folder.mkdir()
    (folder / "n1.txt").write_text("Paciente con HTA.\n", encoding="utf-8")
    (folder / "n1.ann").write_text("T1\tDIAGNOSTICO 13 16\tHTA\n#1\tAnnotatorNotes T1\tI10\n", encoding="utf-8")
    with (folder / "n1.ann").open("a", encoding="utf-8") as file:
        file.write("T2\tDIAGNOSTICO 0 3\totro\nT3\tDIAGNOSTICO x y\ttos\n")
    run(linker, [folder], tmp_path / "out")
    row, other, bad = rows_of(tmp_path / "out")
    assert (row["text"], row["document"], row["spans"], row["code"]) == ("HTA", "n1", "13-16", "I10")
    assert "error" in bad and "error" in other


def test_an_empty_table_gives_a_finished_run_without_parts(linker: Linker, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", [], ("text",))
    assert run(linker, [source], tmp_path / "out").rows == 0
    assert (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "text"), (b"a,b\n1,2\n", "text"), (b"text,text\nHTA,tos\n", "name each column once")]
)
def test_files_without_their_column_or_with_it_twice_are_refused(
    linker: Linker, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(TableError, match=told):
        run(linker, [tmp_path / "in.csv"], tmp_path / "out")


def test_what_differs_from_the_run_that_is_there_is_named(linker: Linker, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", 20, 5)
    run(linker, [source], tmp_path / "out")
    with pytest.raises(TableError, match=r"option rows: 2048, now 7"):
        run(linker, [source], tmp_path / "out", rows=7)
    with pytest.raises(TableError, match="option top_k: 5, now 2"):
        Run([str(source)], tmp_path / "out", linker, LinkOptions(top_k=2), BulkOptions()).prepare()
    before = final_bytes(tmp_path / "out")
    table(source, 21, 5)
    with pytest.raises(TableError, match=r"input 1: .*in\.csv"):
        run(linker, [source], tmp_path / "out")
    assert final_bytes(tmp_path / "out") == before


def test_a_folder_of_something_else_and_one_of_the_input_are_refused(linker: Linker, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", 4, 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(TableError, match="empty directory"):
        run(linker, [source], tmp_path / "out")
    with pytest.raises(OptionError, match="holds files of the input"):
        run(linker, [source], tmp_path)


def test_a_finished_run_is_left_as_it_is(linker: Linker, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", 20, 5)
    run(linker, [source], tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert run(linker, [source], tmp_path / "out").rows_written == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_part_that_was_altered_before_the_end_is_written_again(
    linker: Linker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = table(tmp_path / "in.csv", 20, 5)
    run(linker, [source], tmp_path / "one", rows=8)
    made = Run([str(source)], tmp_path / "two", linker, LinkOptions(), BulkOptions(rows=8))
    finish = made._finish
    altered: list[int] = []

    def spoil(plan: object) -> None:
        if not altered:
            altered.append(1)
            (tmp_path / "two" / "part-000001.jsonl").write_bytes(b"spoiled")
        finish(plan)  # type: ignore[arg-type]

    monkeypatch.setattr(made, "_finish", spoil)
    made.work(made.prepare())
    assert final_bytes(tmp_path / "two") == final_bytes(tmp_path / "one")


def test_a_limit_takes_the_first_rows_of_the_whole_input(linker: Linker, tmp_path: Path) -> None:
    sources = [table(tmp_path / f"{name}.csv", 10, 5) for name in "ab"]
    assert run(linker, sources, tmp_path / "out", limit=13).rows == 13


def test_an_estimate_writes_nothing(linker: Linker, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", 40, 10)
    found = Run([str(source)], tmp_path / "out", linker, LinkOptions(), BulkOptions()).estimate()
    assert (found.rows, found.distinct, found.sample) == (40, 10, 10)
    assert found.seconds > 0
    assert not (tmp_path / "out").exists()


def test_damaged_work_is_refused(linker: Linker, tmp_path: Path) -> None:
    made = Run([str(table(tmp_path / "in.csv", 20, 5))], tmp_path / "out", linker)
    plan = made.prepare()
    path = RunFolder(tmp_path / "out").rows(0)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TableError, match="damaged"):
        made.work(plan)


def test_options_outside_their_range_are_refused() -> None:
    for wrong in ({"rows": 0}, {"limit": 0}, {"form": "xlsx"}, {"takeover": 0.0}):
        with pytest.raises(OptionError):
            BulkOptions(**wrong)  # type: ignore[arg-type]


def test_made_inputs_repeat_mentions(tmp_path: Path) -> None:
    assert len(set(bulk_made.texts(30))) == 30


class Watching:
    """Counts what it is told; after so many mentions it stops the run."""

    def __init__(self, most: int | None = None) -> None:
        self.linked = self.skipped = 0
        self._most = most

    def advance(self, count: int = 1) -> None:
        self.linked += count
        if self._most is not None and self.linked >= self._most:
            raise KeyboardInterrupt

    def skip(self, count: int) -> None:
        self.skipped += count


def test_a_watcher_is_told_of_every_mention_whoever_linked_it(linker: Linker, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", 90, 40)

    def work(watcher: Watching) -> None:
        made = Run([str(source)], tmp_path / "out", linker, LinkOptions(), BulkOptions(rows=16))
        made.work(made.prepare(), watcher=watcher)

    stopped, going_on, finished = Watching(30), Watching(), Watching()
    with pytest.raises(KeyboardInterrupt):
        work(stopped)
    work(going_on)
    assert going_on.skipped > 0 and going_on.linked > 0
    assert going_on.skipped + going_on.linked == 40
    work(finished)
    assert (finished.skipped, finished.linked) == (0, 0)
