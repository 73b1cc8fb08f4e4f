"""Documents to records: whatever is valid comes back, and whatever is not is told at once, place by place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from cielo import schema
from cielo.errors import BundleError, CieloError, RecipeError
from cielo.schema import Text, canonical, decode, encode, to_builtins
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

REMEDY = "mend it"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: Text
    count: Annotated[int, Meta(ge=0, le=10)] = 1
    share: float | None = None
    kind: Literal["a", "b"] = "a"
    on: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    numbers: Mapping[Literal["x", "y"], float] = field(default_factory=dict)
    rows: list[list[int]] = field(default_factory=list)
    pair: tuple[int, str] = (1, "")
    path: Path | None = None
    anything: object = None

    def __post_init__(self) -> None:
        if self.leaf.name == "forbidden":
            raise ValueError("the leaf is the forbidden one")


def read(content: object, **changes: Any) -> Tree:
    return decode(Tree, content, "the tree", **{"error": RecipeError, "remedy": REMEDY, "shown": True, **changes})


def problems(content: object, **changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        read(content, **changes)
    return str(caught.value)


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = texts.filter(lambda text: any(not char.isspace() for char in text))
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.builds(
    Leaf, names, st.integers(0, 10), st.none() | finite, st.sampled_from(["a", "b"]), st.booleans()
).filter(lambda leaf: leaf.name != "forbidden")
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
trees = st.builds(
    Tree,
    leaves,
    st.lists(leaves, max_size=3).map(tuple),
    st.dictionaries(texts, leaves, max_size=3),
    st.dictionaries(st.sampled_from(["x", "y"]), finite, max_size=2),
    st.lists(st.lists(st.integers(), max_size=3), max_size=3),
    st.tuples(st.integers(), texts),
    st.none() | st.sampled_from([Path("a"), Path("/b/c d")]),
    plain,
)


class TestWhatIsValid:
    @given(trees)
    def test_what_is_encoded_is_decoded(self, tree: Tree) -> None:
        assert read(encode(tree)) == tree
        assert read(encode(tree, indent=0)) == tree
        assert read(to_builtins(tree)) == tree
        assert read(encode(tree), shown=False, unknown="ignore") == tree

    @given(trees, trees)
    def test_equal_records_alone_have_one_canonical_form(self, one: Tree, other: Tree) -> None:
        assert (canonical(one) == canonical(other)) == (to_builtins(one) == to_builtins(other))

    def test_the_order_of_keys_does_not_matter_to_the_canonical_form(self) -> None:
        leaf = Leaf("n")
        assert canonical(Tree(leaf, by_name={"a": leaf, "b": leaf})) == canonical(
            Tree(leaf, by_name={"b": leaf, "a": leaf})
        )

    def test_defaults_are_those_of_the_record(self) -> None:
        assert read({"leaf": {"name": "n"}}) == Tree(Leaf("n"))

    def test_a_whole_number_is_a_number(self) -> None:
        assert read({"leaf": {"name": "n", "share": 1}}).leaf.share == 1.0

    def test_paths_are_relative_to_the_folder(self, tmp_path: Path) -> None:
        assert read({"leaf": {"name": "n"}, "path": "a/b"}, folder=tmp_path).path == tmp_path / "a/b"
        assert read({"leaf": {"name": "n"}, "path": "/a"}, folder=tmp_path).path == Path("/a")

    def test_unknown_keys_can_be_passed_over(self) -> None:
        assert read({"leaf": {"name": "n", "more": 1}, "more": 2}, unknown="ignore") == Tree(Leaf("n"))

    def test_a_number_that_is_not_finite_is_written_as_null(self) -> None:
        assert json.loads(encode({"figure": math.nan, "other": math.inf})) == {"figure": None, "other": None}

    def test_a_document_may_be_a_container_of_records(self) -> None:
        found = decode(dict[str, Leaf], b'{"n": {"name": "n"}}', "the leaves", error=RecipeError, remedy=REMEDY)
        assert found == {"n": Leaf("n")}


class TestWhatIsNot:
    def test_every_problem_is_told_at_once_with_its_place(self) -> None:
        told = problems(
            {
                "leaf": {"count": 11, "share": "much", "kind": "c", "on": 1, "colour": "red"},
                "leaves": [{"name": "n"}, {"name": " "}, 5],
                "by_name": {"one": {"name": 3}},
                "numbers": {"x": True, "z": 1},
                "rows": [[1, "2"], 3],
                "pair": [1],
                "path": "",
                "shape": {},
            }
        )
        for expected in (
            "leaf.name is missing",
            "leaf.count: got 11, expected 0 to 10",
            "leaf.share: got str, expected a number",
            "leaf.kind: got 'c', expected one of a, b",
            "leaf.on: got int, expected true or false",
            "leaf.colour is not known here; expected count, kind, name, on, share",
            "leaves[1].name is empty, expected a text",
            "leaves[2]: got int, expected a section with keys",
            "by_name.one.name: got int, expected a text",
            "numbers.x: got bool, expected a number",
            "numbers.z is not known here; expected x, y",
            "rows[0][1]: got str, expected a whole number",
            "rows[1]: got int, expected a list",
            "pair: got 1 entries, expected 2",
            "path: got str, expected the path of a file",
            "shape is not known here; expected",
        ):
            assert expected in told
        assert told.startswith("the tree is not valid:\n  ")
        assert told.endswith(f"\n{REMEDY}")

    def test_one_problem_is_one_line(self) -> None:
        assert problems({"leaf": {}}) == f"the tree is not valid: leaf.name is missing; {REMEDY}"

    @pytest.mark.parametrize("content", [None, 5, "x", [], [1], True])
    def test_a_document_that_is_no_section_is_refused(self, content: object) -> None:
        assert "it: got" in problems(content)
        assert "it: got" in problems(json.dumps(content).encode())

    def test_what_a_record_as_a_whole_refuses_is_told_with_its_place(self) -> None:
        assert "the leaf is the forbidden one" in problems({"leaf": {"name": "forbidden"}})
        content = {"inner": {"leaf": {"name": "forbidden"}}}
        with pytest.raises(BundleError, match=r"is not valid: .*: the leaf is the forbidden one"):
            decode(dict[str, Tree], content, "the trees", error=BundleError, remedy=REMEDY, shown=True)

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    @pytest.mark.parametrize("place", ["leaf.share", "anything"])
    def test_a_number_that_is_not_finite_is_refused(self, number: str, place: str) -> None:
        share, anything = (number, "0") if place == "leaf.share" else ("0", f"[{number}]")
        told = problems(f'{{"leaf": {{"name": "n", "share": {share}}}, "anything": {anything}}}'.encode())
        assert f"{place}: got a number that is not finite" in told or f"{place}[0]: got a number" in told

    def test_a_number_that_is_not_finite_is_refused_in_toml_too(self) -> None:
        assert "leaf.share: got a number that is not finite" in problems({"leaf": {"name": "n", "share": math.nan}})

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"{", b"\xff", b'{"leaf": ', b"[" * 100_000, b"{'leaf': 1}", b'\xef\xbb\xbf{"leaf": {"name": "n"}}',
            '{"leaf": {"name": "n"}}'.encode("utf-16"), b'{"leaf": {"name": "n"}} more',
        ],
    )  # fmt: skip
    def test_what_is_no_json_in_utf_8_is_refused(self, content: bytes) -> None:
        assert problems(content) == f"the tree is not JSON in UTF-8; {REMEDY}"

    @pytest.mark.parametrize(
        "content", ['{"leaf": {"name": "n", "name": "m"}}', '{"leaf": {"name": "n"}, "leaf": {"name": "n"}}']
    )
    def test_a_key_that_stands_twice_is_refused(self, content: str) -> None:
        assert "stands twice in one object" in problems(content.encode())

    def test_half_of_a_surrogate_pair_is_refused(self) -> None:
        assert "leaf.name: got half of a surrogate pair" in problems(b'{"leaf": {"name": "\\ud800"}}')

    def test_only_the_first_of_very_many_problems_are_told(self) -> None:
        told = problems({"leaf": {"name": "n"}, "rows": [["x"] * 500]})
        assert told.count("\n  ") == 21
        assert "and 480 more" in told

    def test_the_error_is_the_one_that_was_asked_for(self) -> None:
        with pytest.raises(BundleError):
            read({}, error=BundleError)

    @given(plain)
    def test_nothing_but_the_error_comes_out(self, content: object) -> None:
        for changes in ({}, {"shown": False}, {"unknown": "ignore"}):
            for document in (content, {"leaf": content}, {"leaf": {"name": "n"}, "by_name": {"k": content}}):
                try:
                    tree = read(document, **changes)
                except CieloError as error:
                    assert str(error).startswith("the tree is not valid:")
                else:
                    assert isinstance(tree, Tree)

    @given(st.binary(max_size=80))
    def test_no_bytes_do_harm(self, content: bytes) -> None:
        with pytest.raises(RecipeError):
            read(content)

    @given(trees, st.data())
    def test_each_planted_fault_is_told(self, tree: Tree, data: st.DataObject) -> None:
        document = to_builtins(tree)
        faults = {
            "leaf.count": lambda: document["leaf"].update(count=11),
            "leaf.kind": lambda: document["leaf"].update(kind="ninguno"),
            "leaf.name": lambda: document["leaf"].pop("name"),
            "rows": lambda: document.update(rows={}),
            "pair": lambda: document.update(pair=[]),
            "more": lambda: document.update(more=1),
        }
        chosen = data.draw(st.sets(st.sampled_from(sorted(faults)), min_size=1))
        for name in chosen:
            faults[name]()
        told = problems(document)
        assert told.count("\n  ") == len(chosen) or len(chosen) == 1
        for name in chosen:
            assert name in told


class TestWhatIsNotShown:
    @given(names.filter(lambda text: len(text) > 12), st.sampled_from(["kind", "key", "unknown", "twice", "list"]))
    def test_nothing_of_the_document_is_in_the_error(self, secret: str, place: str) -> None:
        documents: dict[str, object] = {
            "kind": {"leaf": {"name": "n", "kind": secret}},
            "key": {"leaf": {"name": "n"}, "by_name": {secret: {"name": ""}}, "numbers": {secret: 1}},
            "unknown": {"leaf": {"name": "n", secret: 1}, secret: 1},
            "twice": f'{{"leaf": {{"name": "n"}}, {json.dumps(secret)}: 1, {json.dumps(secret)}: 2}}'.encode(),
            "list": {"leaf": secret, "rows": [secret], "pair": [secret, 1]},
        }
        assert secret not in problems(documents[place], shown=False)

    def test_its_places_are(self) -> None:
        told = problems({"leaf": {"name": "n", "kind": "asma"}, "by_name": {"asma": {"name": 3}}}, shown=False)
        assert "leaf.kind: got another text, expected one of a, b" in told
        assert "by_name[…].name: got int, expected a text" in told


def test_the_records_of_every_document_can_be_read() -> None:
    """A field whose annotation cannot be evaluated would be found out only by a user with a faulty file."""
    from cielo.bundle.calibration import KeptCalibration
    from cielo.bundle.manifest import Manifest
    from cielo.bundle.state import KeptPlans, MachineParity
    from cielo.parity.references import ReferenceOutputs

    for record in (Manifest, KeptCalibration, KeptPlans, MachineParity, ReferenceOutputs):
        walk = schema._Walk(True, refuse_unknown=True)
        missing = [problem for problem in walk.problems(record, {}, "") if problem.endswith("is missing")]
        assert missing
        assert {problem.removesuffix(" is missing") for problem in missing} <= {entry.name for entry in fields(record)}
