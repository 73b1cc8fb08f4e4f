from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.knowledge.codes import chapter, comparison_key
from cielo.knowledge.records import DescriptionRow
from cielo.knowledge.subsets import Subset
from knowledge_fakes import ICD, codes, make, named

SUBSETS = (
    Subset(),
    Subset(kinds=frozenset({"procedure"})),
    Subset(kinds=frozenset()),
    Subset(kinds=frozenset({"oncology"})),
    Subset(chapters=frozenset({"XVIII"})),
    Subset(chapters=frozenset({"B", "I"})),
    Subset(chapters=frozenset({"procedure:B"})),
    Subset(chapters=frozenset({"diagnosis:B", "XIX"})),
    Subset(leaf=True),
    Subset(codes=frozenset({"r509", "T68.XXX", "bw-20"})),
    Subset(codes=frozenset()),
    Subset(kinds=frozenset({"diagnosis"}), chapters=frozenset({"XVIII", "XIX"}), leaf=True, codes=frozenset({"R50.9"})),
)


class TestSubset:
    ROWS = (
        *named("A00", "A00.1", "B02.0", "R50", "R50.8", "R50.81", "R50.9", "T68", "T68.XXX", "T68.XXXA"),
        *named("B020", "BW20", "BW20ZZZ", "0210", kind="procedure"),
        *named("8000/3", kind="morphology"),
        DescriptionRow("R50.81", "fiebre", "diagnosis", preferred=False),
        DescriptionRow("BW20", "fiebre", "procedure", preferred=False),
        DescriptionRow("T68", "Fiebre", "diagnosis", preferred=False),
    )
    LEAVES = frozenset({"A00.1", "B02.0", "R50.81", "R50.9", "T68.XXXA", "B020", "BW20ZZZ", "0210", "8000/3"})

    def held(self, subset: Subset) -> list[str]:
        """The codes of the rows that are in a subset, by a definition of its own."""
        codes_in = {comparison_key(code) for code in subset.codes or ()}
        found = []
        for code, kind in dict.fromkeys((row.code, row.kind) for row in self.ROWS):
            of = chapter(code, ICD.get(kind, "other"))
            if subset.kinds is not None and kind not in subset.kinds:
                continue
            if subset.chapters is not None and not {of, f"{kind}:{of}"} & subset.chapters:
                continue
            if (subset.leaf and code not in self.LEAVES) or (
                subset.codes is not None and comparison_key(code) not in codes_in
            ):
                continue
            found.append(code)
        return found

    @pytest.mark.parametrize("subset", SUBSETS)
    def test_at_build_nothing_else_is_kept(self, tmp_path: Path, subset: Subset) -> None:
        path, held = tmp_path / "b", self.held(subset)
        if not held:
            with pytest.raises(TableError, match="within what was asked for"):
                make(path, self.ROWS, ICD, subset)
            return
        base = make(path, self.ROWS, ICD, subset)
        assert [code for kind in base.kinds for code in base.codes(kind)] == held
        assert sum(base.concepts.values()) == len(held)
        for code in dict.fromkeys(row.code for row in self.ROWS):
            assert (code in codes(base.match(code))) == (code in codes(base.search(code).found)) == (code in held)
        assert codes(base.match("fiebre")) == [code for code in ("R50.81", "BW20", "T68") if code in held]

    @pytest.mark.parametrize("subset", SUBSETS)
    def test_per_call_nothing_else_is_found(self, tmp_path: Path, subset: Subset) -> None:
        base, held = make(tmp_path / "b", self.ROWS, ICD), self.held(subset)
        assert base.count(subset) == len(held)
        for row in self.ROWS:
            found = [code for code in codes(base.match(row.description)) if code in held]
            assert codes(base.match(row.description, subset=subset)) == found
        for kind in base.kinds:
            wanted = [row.description for row in self.ROWS if row.kind == kind and row.code in held]
            assert base.descriptions(kind, subset) == list(dict.fromkeys(wanted))
        assert len(base.match("fiebre")) == 3

    def test_left_out_parents_are_stepped_over_and_a_leaf_stays_what_it_was(self, tmp_path: Path) -> None:
        subset = Subset(codes=frozenset({"R50", "R50.81", "BW20"}))
        base = make(tmp_path / "b", self.ROWS, ICD, subset)
        top, below, alone = base.show("R50"), base.show("R50.81"), base.show("BW20")
        assert top is not None and below is not None and alone is not None
        assert [code for code, _ in top.children] == ["R50.81"]
        assert [code for code, _ in below.ancestors] == ["R50"]
        assert (below.leaf, alone.leaf, alone.children, alone.ancestors) == (True, False, (), ())

    def test_more_subsets_than_are_remembered_stay_apart(self, tmp_path: Path) -> None:
        base = make(tmp_path / "b", named(*(f"R{number:02}" for number in range(30))), ICD)
        for _ in range(2):
            for number in range(30):
                subset = Subset(codes=frozenset({f"r{number:02}"}))
                assert [base.count(subset), codes(base.match("R07", subset=subset))] == [1, ["R07"] * (number == 7)]

    @pytest.mark.parametrize("asked", ["I10", "i10x", "I10.X"])
    def test_placeholders_at_the_end_make_no_difference(self, tmp_path: Path, asked: str) -> None:
        for written in ("I10", "I10.X"):
            base = make(tmp_path / written, named(written, "I11"), ICD)
            assert base.count(Subset(codes=frozenset({asked}))) == 1
