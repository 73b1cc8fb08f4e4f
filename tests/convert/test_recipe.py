"""Recipes: what is read, and that everything wrong is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import RecipeError
from cielo_convert.recipe import Recipe


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
    for expected in ("name", "licence", "generator", "encoder", "knowledge_base", "index"):
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
