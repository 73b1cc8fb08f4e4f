"""The recipes that come with cielo, by their names."""

from __future__ import annotations

from pathlib import Path

from cielo.errors import RecipeError


def shipped() -> dict[str, Path]:
    """Return the recipes that come with cielo, by name."""
    installed = Path(__file__).parent / "recipes"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "models"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def find_recipe(named: Path) -> Path:
    """Return the file of a recipe: the one at that path, else the one that comes with cielo under that name.

    Raises:
        RecipeError: where it is a name that none of them has.
    """
    known = shipped()
    if named.exists() or named.suffix == ".toml" or len(named.parts) != 1:
        return named
    if named.name not in known:
        names = ", ".join(known) or "none"
        raise RecipeError(f"got the recipe {named}, which is no file; cielo knows {names}, or name a TOML file")
    return known[named.name]
