"""The modules of the source roots, and what each imports, wherever in the module that stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {"cielo": ROOT / "engine", "cielo_convert": ROOT / "convert"}


@dataclass(frozen=True)
class Module:
    """A module: its name, its file and its tree."""

    name: str
    file: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The part of the package that it belongs to: ``link`` for ``cielo.link.linker``, ``files`` for itself."""
        return self.name.split(".")[1] if "." in self.name else ""


def _modules(package: str) -> Iterator[Module]:
    for file in sorted((SOURCES[package] / package).rglob("*.py")):
        name = ".".join(file.relative_to(SOURCES[package]).with_suffix("").parts).removesuffix(".__init__")
        yield Module(name, file, ast.parse(file.read_text(encoding="utf-8")))


MODULES = {module.name: module for package in SOURCES for module in _modules(package)}
RUNTIME = [module for module in MODULES.values() if module.name.partition(".")[0] == "cielo"]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported: for a name of a module the module, for a module itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def graph() -> dict[str, set[str]]:
    """Return for each module those of ours that it imports, in functions and for types too."""
    return {
        module.name: {name for name in imports_of(module.tree) if name in MODULES and name != module.name}
        for module in MODULES.values()
    }
