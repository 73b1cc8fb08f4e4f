"""What may import what: downwards only, without circles, and no door through another."""

from __future__ import annotations

import ast
import re

import pytest
from graph import MODULES, RUNTIME, Module, graph

# A module may import those of lower layers, and of its own room. The longest name that fits a module counts.
LAYERS = (
    ("said",),
    ("errors",),
    ("arrays", "extras", "machine", "files", "children", "schema", "onnx_runtime"),
    ("origins", "licences"),
    ("downloads",),
    ("records", "knowledge.codes"),
    ("knowledge.subsets",),
    ("options", "text", "decisions"),
    ("wire",),
    ("tables",),
    ("generation", "retrieval", "knowledge"),
    ("bundle",),
    ("cache", "parity"),
    ("link",),
    ("workbench",),
    ("documents",),
    ("server", "bulk", "integrations", "client"),
    ("cli",),  # the shell starts the other doors
)
GRAPH = graph()


def layer_of(name: str) -> int:
    parts = name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        for number, rooms in enumerate(LAYERS):
            if prefix in rooms:
                return number
    raise KeyError(name)


@pytest.mark.parametrize("name", [module.name for module in RUNTIME if module.name != "cielo"])
def test_every_module_has_a_layer(name: str) -> None:
    layer_of(name)


def test_imports_run_downwards_only() -> None:
    found = {
        (module.name, imported)
        for module in RUNTIME
        for imported in GRAPH[module.name]
        # The package itself hands out names of its modules, when they are asked for.
        if module.name != "cielo"
        and not imported.startswith("cielo_convert")
        and MODULES[imported].room != module.room
        and (imported == "cielo" or layer_of(imported) >= layer_of(module.name))
    }
    assert found == set()


def circles() -> list[set[str]]:
    """Return the groups of modules that import each other, in one step or several."""
    reached = {name: set(names) for name, names in GRAPH.items() if name != "cielo"}
    changed = True
    while changed:
        changed = False
        for names in reached.values():
            more = set().union(*(reached.get(name, set()) for name in names)) - names
            names |= more
            changed = changed or bool(more)
    inside = [name for name in reached if name in reached[name]]
    return [{other for other in reached[name] if name in reached.get(other, set())} for name in inside]


def test_no_module_imports_itself_through_others() -> None:
    assert circles() == []


def test_a_circle_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRAPH, "cielo.errors", {"cielo.link.linker"})
    assert any("cielo.errors" in circle for circle in circles())


def test_a_package_s_head_does_not_hand_out_what_imports_it() -> None:
    # `from cielo.link import x` also runs `cielo/link/__init__.py`: heads are the first to become part of a circle.
    for module in RUNTIME:
        if module.file.name == "__init__.py" and module.name != "cielo":
            for imported in GRAPH[module.name]:
                assert module.name not in GRAPH[imported], f"{imported} and {module.name} import each other"


DOORS = ("cli", "server", "bulk", "integrations", "client")


def test_doors_do_not_import_each_other_but_the_shell_starts_the_others() -> None:
    for module in RUNTIME:
        if module.room in DOORS:
            others = {MODULES[name].room for name in GRAPH[module.name] if name in MODULES} & set(DOORS)
            assert others <= {module.room} or module.room == "cli", module.name


def has_a_command(module: Module) -> bool:
    """Tell whether a module of the command line holds a command, and not what commands share."""
    decorators = [
        ast.unparse(decorator)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    ]
    return any(re.match(r"(?!click\.)\w+\.(command|group)\(", decorator) for decorator in decorators)


def test_commands_do_not_import_each_other() -> None:
    commands = {module.name for module in RUNTIME if module.room == "cli" and has_a_command(module)}
    assert len(commands) >= 6
    assert {name: GRAPH[name] & commands for name in commands if GRAPH[name] & commands} == {}


def test_nothing_but_the_doors_imports_a_door() -> None:
    for module in RUNTIME:
        if module.room not in DOORS and module.name != "cielo":
            assert not {name for name in GRAPH[module.name] if name in MODULES and MODULES[name].room in DOORS}
