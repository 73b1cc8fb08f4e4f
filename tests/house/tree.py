"""The trees of the pages, made of the first lines of the modules: `python tests/house/tree.py` writes them again."""

from __future__ import annotations

import ast
from pathlib import Path

from graph import MODULES, ROOT, SOURCES

PAGES = {"cielo": ROOT / "engine" / "README.md", "cielo_convert": ROOT / "convert" / "README.md"}
_BEGIN, _END = "<!-- tree: python tests/house/tree.py -->\n", "<!-- end of the tree -->\n"


def tree_of(package: str) -> str:
    """Return the files of a package, each with the first sentence of its docstring, as a block of a page."""
    lines = [f"{package}/"]
    shown: set[Path] = set()
    files = [module for module in MODULES.values() if module.name.partition(".")[0] == package]
    for module in sorted(files, key=lambda found: _place(found.file)):
        place = module.file.relative_to(SOURCES[package] / package)
        for folder in reversed(place.parents[:-1]):
            if folder not in shown:
                shown.add(folder)
                head = MODULES.get(".".join((package, *folder.parts)))
                lines.append(_line(folder, f"{folder.name}/", _sentence(head.tree) if head else ""))
        if place.name not in ("__init__.py", "__main__.py"):
            lines.append(_line(place, place.name, _sentence(module.tree)))
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _place(file: Path) -> tuple[tuple[bool, str], ...]:
    # The files of a folder come before its folders.
    return tuple((number < len(file.parts) - 1, part) for number, part in enumerate(file.parts))


def _line(place: Path, name: str, about: str) -> str:
    indent = "  " * len(place.parts)
    return f"{indent + name:<28} {about}".rstrip()


def _sentence(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ").rstrip(".")


def parts(text: str) -> tuple[str, str, str]:
    """Return a page's text before its tree, the tree, and the text after it."""
    before, _, rest = text.partition(_BEGIN)
    tree, found, after = rest.partition(_END)
    assert found, f"a page with a tree has the lines {_BEGIN.strip()} and {_END.strip()}"
    return before + _BEGIN, tree, _END + after


def main() -> None:
    """Write the trees again."""
    for package, page in PAGES.items():
        before, _, after = parts(page.read_text(encoding="utf-8"))
        page.write_text(before + tree_of(package) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
