"""Recipes: what is read, and that everything wrong is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from cielo.errors import RecipeError
from cielo.generation.backends import BACKENDS
from cielo_convert.generator import STEPS
from cielo_convert.recipe import QUANTIZATIONS, Recipe, RecipeDecoding


def _edit(recipe: Path, *changes: tuple[str, str]) -> Path:
    text = recipe.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text, encoding="utf-8")
    return recipe


def _problems(recipe: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(recipe)
    return str(caught.value)


def test_a_whole_recipe(recipe: Path, generator: Path) -> None:
    loaded = Recipe.load(recipe)
    assert (loaded.name, loaded.licence) == ("tiny", "CC0-1.0")
    assert loaded.generator.checkpoint == str(generator)
    assert loaded.generator.revision is None
    assert loaded.prompt.window == 60
    assert [table.kind for table in loaded.knowledge_base.tables] == ["diagnosis", "procedure"]
    assert loaded.knowledge_base.tables[0].path == recipe.parent / "diagnoses.tsv"
    assert loaded.parity.mentions is None


def test_optional_sections_and_keys_have_defaults(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    kept = [part for part in text.split("\n[") if not part.startswith(("prompt]", "parity]"))]
    recipe.write_text("\n[".join(kept), encoding="utf-8")
    loaded = Recipe.load(recipe)
    assert loaded.prompt.prepare_sentence and loaded.prompt.window is None
    assert loaded.parity.prompts == 300


@pytest.mark.parametrize(("line", "expected"), [("", None), ("dimension = 256", 256)])
def test_the_index_can_be_of_fewer_dimensions(recipe: Path, line: str, expected: int | None) -> None:
    loaded = Recipe.load(_edit(recipe, ("max_distance = 0.8", f"max_distance = 0.8\n{line}")))
    assert loaded.index.dimension == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0", "got 0, expected 2 to 65536"),
        ("1", "got 1, expected 2 to 65536"),
        ("100_000", "got 100000, expected 2 to 65536"),
        ("256.5", "got float, expected a whole number"),
        ("true", "got bool, expected a whole number"),
        ('"256"', "got str, expected a whole number"),
    ],
)
def test_a_wrong_dimension_of_the_index_is_told(recipe: Path, value: str, problem: str) -> None:
    broken = _edit(recipe, ("max_distance = 0.8", f"max_distance = 0.8\ndimension = {value}"))
    assert f"index.dimension: {problem}" in _problems(broken)


def test_every_problem_is_told_at_once(recipe: Path) -> None:
    broken = _edit(
        recipe,
        ('quantization = "float32"', 'quantization = "int4"'),
        ("max_tokens = 32", "max_tokens = true"),
        ('pooling = "cls"', 'pooling = "cls"\npoling = "cls"'),
        ('edition = "tiny 2026"', ""),
        ('path = "procedures.tsv"', "path = 3"),
        ("max_distance = 0.8", "max_distance = 5"),
    )
    problems = _problems(broken)
    for expected in (
        "generator.quantization: got 'int4', expected one of float32",
        "encoder.max_tokens: got bool, expected a whole number",
        "encoder.poling is not known here; expected",
        "knowledge_base.edition is missing",
        "knowledge_base.tables[1].path: got int, expected the path of a file",
        "index.max_distance: got 5, expected 0 to 4",
    ):
        assert expected in problems


def test_an_empty_recipe_names_all_sections(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("", encoding="utf-8")
    problems = _problems(path)
    for expected in ("name", "licence", "generator", "encoder", "knowledge_base"):
        assert f"{expected} is missing" in problems


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", None])
def test_unreadable_recipes(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in _problems(path)


def test_tolerances(recipe: Path) -> None:
    with recipe.open("a", encoding="utf-8") as file:
        file.write('[parity.tolerances]\n"index.recall" = 1\n')
    assert Recipe.load(recipe).parity.tolerances == {"index.recall": 1.0}
    with recipe.open("a", encoding="utf-8") as file:
        file.write('"generator.spelling" = 0.5\n')
    assert "parity.tolerances.generator.spelling is not known" in _problems(recipe)


def test_missing_files_are_named_together(recipe: Path) -> None:
    loaded = Recipe.load(_edit(recipe, ("procedures.tsv", "no.tsv"), ("prompts = 12", 'mentions = "none.tsv"')))
    with pytest.raises(RecipeError) as caught:
        loaded.check_files()
    assert "no.tsv" in str(caught.value) and "none.tsv" in str(caught.value)
    Recipe.load(_edit(recipe, ("no.tsv", "procedures.tsv"), ('mentions = "none.tsv"', ""))).check_files()


class TestConstrained:
    """The decoding that not every backend runs: as the bundle's own, and as one that is calibrated."""

    BOTH = 'backends = ["ctranslate2", "onnx"]'

    def test_it_needs_a_backend_that_runs_it(self, recipe: Path) -> None:
        line = 'quantization = "float32"'
        _edit(recipe, (line, f"{line}\n{self.BOTH}"), ('decoding = "probable"', 'decoding = "constrained"'))
        assert Recipe.load(recipe).generator.decoding == "constrained"
        _edit(recipe, (self.BOTH, 'backends = ["ctranslate2"]'), ("max_tokens = 32", "max_tokens = 1"))
        problems = _problems(recipe)
        assert "decoding: constrained needs onnx among backends, got ctranslate2" in problems
        assert "encoder.max_tokens: got 1" in problems

    def test_the_backends_that_run_it_are_known(self, recipe: Path) -> None:
        line = 'quantization = "float32"'
        for name, known in BACKENDS.items():
            generator = Recipe.load(_edit(recipe, (line, f'{line}\nbackends = ["{name}"]'))).generator
            for decoding in get_args(RecipeDecoding):
                assert generator.runs(decoding) == (decoding in known.decodings)
            _edit(recipe, (f'\nbackends = ["{name}"]', ""))

    def test_calibrations(self, recipe: Path) -> None:
        with recipe.open("a", encoding="utf-8") as file:
            file.write(
                '[calibration]\nmentions = "a.tsv"\noutside = "b.tsv"\ndecodings = ["constrained", "probable"]\n'
            )
        problems = _problems(recipe)
        assert "calibration.decodings: constrained needs onnx among backends, got ctranslate2" in problems
        line = 'quantization = "float32"'
        loaded = Recipe.load(_edit(recipe, (line, f"{line}\n{self.BOTH}")))
        assert loaded.calibration.decodings == ("constrained", "probable")
        assert loaded.calibration.outside == recipe.parent / "b.tsv"
        with pytest.raises(RecipeError, match=r"a\.tsv(.|\n)*b\.tsv"):
            loaded.check_files()
        twice = _edit(recipe, ('["constrained", "probable"]', '["probable", "probable"]'), ('mentions = "a.tsv"\n', ""))
        problems = _problems(twice)
        assert "decodings: got 'probable' more than once" in problems
        assert "mentions is missing" in problems
        assert "expected at least 1" in _problems(_edit(recipe, ('["probable", "probable"]', "[]")))
        assert "greedy" in _problems(_edit(recipe, ("decodings = []", 'decodings = ["greedy"]')))


class TestBackends:
    def test_one_unless_told_otherwise(self, recipe: Path) -> None:
        generator = Recipe.load(recipe).generator
        assert generator.backends == ("ctranslate2",)
        assert generator.compute_types == {"ctranslate2": "float32"}

    def test_either_or_both_the_first_before_the_other(self, recipe: Path) -> None:
        line = 'quantization = "float32"'
        for backends in (["onnx"], ["onnx", "ctranslate2"], ["ctranslate2", "onnx"]):
            _edit(recipe, (line, f"backends = {backends}\n{line}"))
            generator = Recipe.load(recipe).generator
            assert list(generator.compute_types.items()) == [(name, "float32") for name in backends]
            _edit(recipe, (f"backends = {backends}\n", ""))

    def test_a_compute_type_for_each(self, recipe: Path) -> None:
        table = '{ ctranslate2 = "int8_bfloat16", onnx = "int8" }\nbackends = ["onnx", "ctranslate2"]'
        generator = Recipe.load(_edit(recipe, ('quantization = "float32"', f"quantization = {table}"))).generator
        assert list(generator.compute_types.items()) == [("onnx", "int8"), ("ctranslate2", "int8_bfloat16")]

    @pytest.mark.parametrize(
        ("lines", "problems"),
        [
            ("backends = []", ["generator.backends: got 0 entries, expected at least 1"]),
            ('backends = "onnx"', ["generator.backends: got str, expected a list"]),
            ('backends = ["torch"]', ["generator.backends[0]: got 'torch', expected one of ctranslate2, onnx"]),
            ('backends = ["onnx", "onnx"]', ["generator: backends: got 'onnx' more than once, expected each once"]),
            (
                'quantization = "bfloat16"\nbackends = ["ctranslate2", "onnx"]',
                ["generator: quantization: got 'bfloat16' for onnx, expected one of float32, int8"],
            ),
            (
                'quantization = { onnx = "int4", torch = "int8" }',
                [
                    "generator.quantization.onnx: got 'int4', expected one of float32, float16",
                    "generator.quantization.torch is not known here; expected ctranslate2, onnx",
                ],
            ),
            ("quantization = 8", ["generator.quantization: got 8, expected one of float32"]),
            (
                'quantization = { onnx = "int16" }\nbackends = ["ctranslate2", "ctranslate2", "onnx"]',
                [
                    "backends: got 'ctranslate2' more than once",
                    "quantization: names no compute type for ctranslate2, expected one of float32, float16",
                    "quantization: got 'int16' for onnx, expected one of float32, int8",
                ],
            ),
            (
                'quantization = { ctranslate2 = "int8", onnx = "int8" }',
                ["quantization: names onnx, which is none of backends (ctranslate2)"],
            ),
        ],
    )
    def test_every_problem_is_told_with_what_is_allowed(self, recipe: Path, lines: str, problems: list[str]) -> None:
        if "quantization" not in lines:
            lines += '\nquantization = "float32"'
        broken = _edit(recipe, ('quantization = "float32"', lines), ("max_distance = 0.8", "max_distance = 5"))
        told = _problems(broken)
        for expected in [*problems, "index.max_distance: got 5, expected 0 to 4"]:
            assert expected in told

    def test_the_compute_types_are_those_of_the_engine_s_backends(self) -> None:
        for name, backend in BACKENDS.items():
            assert QUANTIZATIONS[name] == backend.compute_types  # type: ignore[index]

    def test_each_backend_has_a_step_of_the_conversion(self) -> None:
        assert set(STEPS) == set(QUANTIZATIONS)
