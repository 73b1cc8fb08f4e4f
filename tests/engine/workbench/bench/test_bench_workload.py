from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from cielo.errors import MentionError, TableError
from cielo.records import Mention
from cielo.text.prompt import build_prompt
from cielo.workbench.bench.statistics import percentile
from cielo.workbench.bench.workload import DEFAULT_WORKLOAD, PUBLISHED_CHARACTERS, load_workload

MARKER = "Zutanito"
SCRIPT = Path(__file__).parents[4] / "benchmarks" / "make_workload.py"


def prompts() -> list[str]:
    return [build_prompt(mention.text, mention.sentence) for mention in load_workload().mentions]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_workload", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_workload", module)
    spec.loader.exec_module(module)
    return module


class TestDefault:
    def test_prompts_are_as_long_as_the_published_ones(self) -> None:
        lengths = [len(prompt) for prompt in prompts()]
        assert statistics.mean(lengths) == pytest.approx(268, rel=0.02)
        assert percentile(lengths, 50) == pytest.approx(249, rel=0.02)
        assert percentile(lengths, 95) == pytest.approx(458, rel=0.02)
        assert percentile(lengths, 99) == pytest.approx(548, rel=0.02)
        assert max(lengths) == pytest.approx(856, rel=0.02)
        assert PUBLISHED_CHARACTERS == {"median": 249, "p95": 458, "p99": 548}

    def test_descriptions_are_as_long_as_the_published_outputs(self, script: ModuleType) -> None:
        described = {row.text: row.described for row in script.read_mentions()}
        lengths = [described[mention.text] for mention in load_workload().mentions]
        assert statistics.mean(lengths) == pytest.approx(39, rel=0.05)

    def test_prompts_are_distinct_and_of_both_kinds(self) -> None:
        assert len(set(prompts())) == len(prompts()) == 512
        kinds = [mention.kind for mention in load_workload().mentions]
        assert set(kinds) == {"diagnosis", "procedure"}
        assert kinds.count("procedure") > 50

    def test_the_first_of_them_stand_for_all(self) -> None:
        lengths = [len(prompt) for prompt in prompts()]
        for part in (lengths[:128], lengths[-128:]):
            assert statistics.mean(part) == pytest.approx(268, rel=0.1)

    def test_sentences_are_whole(self) -> None:
        ends = {mention.sentence[-1] for mention in load_workload().mentions if mention.sentence}
        assert ends == {"."}

    def test_the_file_is_small_and_is_what_the_script_makes(self, script: ModuleType) -> None:
        assert DEFAULT_WORKLOAD.resolve() == script.TARGET
        assert script.render(script.make()) == DEFAULT_WORKLOAD.read_text(encoding="utf-8")
        assert DEFAULT_WORKLOAD.stat().st_size < 250_000

    def test_it_says_what_it_is(self) -> None:
        workload = load_workload()
        assert (workload.name, workload.left_out) == ("default", 0)
        assert workload.sha256 == hashlib.sha256(DEFAULT_WORKLOAD.read_bytes()).hexdigest()
        assert workload.characters() == [len(prompt) for prompt in prompts()]


def refuse_procedures(mention: Mention) -> None:
    if mention.kind == "procedure":
        raise MentionError("no")


class TestOwn:
    def test_rows_with_errors_are_counted_and_left_out(self, tmp_path: Path) -> None:
        file = tmp_path / f"{MARKER}.jsonl"
        rows = [{"text": "fiebre", "sentence": "Tiene fiebre."}, {"text": ""}, {"text": 5}, {"text": "tos"}]
        file.write_text("\n".join(json.dumps(row) for row in rows) + "\nno JSON\n")
        workload = load_workload(file)
        assert workload.mentions == (Mention("fiebre", "Tiene fiebre."), Mention("tos"))
        assert (workload.name, workload.left_out) == ("own", 3)
        assert workload.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()

    def test_what_the_linker_cannot_link_is_left_out_too(self, tmp_path: Path) -> None:
        file = tmp_path / "m.csv"
        file.write_text("text,kind\nfiebre,diagnosis\nTC,procedure\n")
        assert len(load_workload(file).mentions) == 2
        workload = load_workload(file, check=refuse_procedures)
        assert [mention.text for mention in workload.mentions] == ["fiebre"]
        assert workload.left_out == 1

    @pytest.mark.parametrize("name", ["m.tsv", "m.csv", "m.jsonl"])
    def test_a_file_s_name_tells_its_format(self, tmp_path: Path, name: str) -> None:
        content = {"m.tsv": "text\tkind\nfiebre\t\n", "m.csv": "text,kind\nfiebre,\n", "m.jsonl": '{"text": "fiebre"}'}
        (tmp_path / name).write_text(content[name])
        assert load_workload(tmp_path / name).mentions == (Mention("fiebre"),)

    def test_a_format_can_be_named(self, tmp_path: Path) -> None:
        (tmp_path / "m").write_text("text,kind\nfiebre,\n")
        for form in ("csv", None):  # without a name that tells, what it holds does
            assert load_workload(tmp_path / "m", form).mentions == (Mention("fiebre"),)
        with pytest.raises(TableError, match="none of its 2 row"):
            load_workload(tmp_path / "m", "json")

    def test_standard_input_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\nfiebre\n")))
        assert load_workload("-", "csv").mentions == (Mention("fiebre"),)

    @pytest.mark.parametrize(
        ("content", "check", "message"),
        [
            ("text\n", None, "none of its 0 row"),
            (f"text\tsentence\n\t{MARKER}\n\t{MARKER}\n", None, "none of its 2 row"),
            (f"text\tkind\n{MARKER}\tprocedure\n", refuse_procedures, "none of its 1 row"),
            (f"nota\n{MARKER}\n", None, "no column"),
        ],
    )
    def test_a_file_without_a_mention_is_refused_without_its_text(
        self, tmp_path: Path, content: str, check: Callable[[Mention], None] | None, message: str
    ) -> None:
        file = tmp_path / "m.tsv"
        file.write_text(content)
        with pytest.raises(TableError, match=message) as caught:
            load_workload(file, check=check)
        assert MARKER not in str(caught.value)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match=r"missing\.csv: cannot be read"):
            load_workload(tmp_path / "missing.csv")
