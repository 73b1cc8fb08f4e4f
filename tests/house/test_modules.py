"""What every module keeps to: its length, and what stands in its public signatures."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from graph import MODULES, ROOT, Module

LONGEST = 350
_MAPPINGS = ("dict", "Dict", "Mapping", "MutableMapping", "MappingProxyType")
# None is to be added.
LONG: set[str] = set()
UNTYPED: set[str] = set()


def lines_of(module: Module) -> list[str]:
    return module.file.read_text(encoding="utf-8").splitlines()


def has_reason(module: Module) -> bool:
    return any("Long because" in line for line in lines_of(module)[:30])


def test_no_module_is_long_without_a_reason() -> None:
    long = {module.name for module in MODULES.values() if len(lines_of(module)) > LONGEST and not has_reason(module)}
    assert long - LONG == set(), f"over {LONGEST} lines: part it, or say at its head why not ('Long because …')"
    assert LONG - long == set(), "mended: take it from the list"


def is_loose(annotation: ast.expr | None) -> bool:
    """Tell whether an annotation holds a mapping to `Any`, or one that says nothing of what it holds."""
    if annotation is None:
        return False
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    typed = set()
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and _name(node.value) in _MAPPINGS:
            typed.add(node.value)
            values = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
            if any(_name(part) == "Any" for part in ast.walk(values)):
                return True
    return any(_name(node) in _MAPPINGS and node not in typed for node in ast.walk(annotation))


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def loose(tree: ast.AST, place: str) -> Iterator[str]:
    """Yield the public functions, methods and fields whose annotations say nothing of what a mapping holds."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            given = node.args
            parts = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            if is_loose(node.returns) or any(is_loose(part.annotation) for part in parts if part):
                yield f"{place}.{node.name}"
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from loose(node, f"{place}.{node.name}")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if not node.target.id.startswith("_") and is_loose(node.annotation):
                yield f"{place}.{node.target.id}"
        elif isinstance(node, ast.If):
            yield from loose(node, place)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("dict[str, Any]", True), ("Mapping[str, Any] | None", True), ("list[dict[str, list[Any]]]", True),
        ("dict", True), ("list[dict]", True), ("'dict[str, Any]'", True), ("collections.abc.Mapping[str, Any]", True),
        ("dict[str, int]", False), ("Any", False), ("Iterable[Any]", False), ("Mapping[str, Sequence[int]]", False),
    ],
)  # fmt: skip
def test_a_mapping_to_anything_is_seen(annotation: str, expected: bool) -> None:
    assert is_loose(ast.parse(annotation, mode="eval").body) is expected


def test_no_mapping_to_anything_crosses_a_module_s_border() -> None:
    found = {name for module in MODULES.values() for name in loose(module.tree, module.name)}
    assert found - UNTYPED == set(), "give what crosses a module's border a type of its own"
    assert UNTYPED - found == set(), "mended: take it from the list"


def test_test_files_have_names_of_their_own() -> None:
    # pytest imports them by their names alone: of two files with one name the second is an error.
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
