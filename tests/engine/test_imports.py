"""What may import what, and what an import may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine

ROOT = Path(engine.__file__).parents[1]
FILES = sorted((ROOT / "engine").rglob("*.py"))
HEAVY = ("torch", "transformers", "optimum", "convert")
NATIVE = ("ctranslate2", "onnxruntime", "hnswlib", "tokenizers", "numpy", "sqlite3", "click", "rich")
# Imports run downwards only: a module may import those of lower layers.
LAYERS = {
    "engine.errors": 0, "engine.records": 1, "engine.stages": 2, "engine.bundle": 3, "engine.code_tables": 3,
    "engine.calibration": 3, "engine.documents": 3, "engine.knowledge": 4, "engine.lexicon": 4, "engine.cache": 4,
    "engine.plan": 4, "engine.assembly": 5, "engine.memory": 6, "engine.resolver": 6, "engine.linker": 7,
    "engine.parity": 7, "engine.tables": 7, "engine.evaluation": 8, "engine.bench": 8, "engine.tuning": 9,
    "engine.cli": 10, "engine.page": 4,
}  # fmt: skip
# Rooms of their own: the files of each may import each other.
TOGETHER = ("engine.bench", "engine.cli", "engine.code_tables", "engine.evaluation", "engine.page")
# Within the stages: text is for all, tokens are what the two models take.
STAGES = {"text": 0, "codes": 0, "tokenizer": 1, "knowledge_base": 1, "index": 1, "generator": 2, "embedder": 2}

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def module_of(file: Path) -> str:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def layer_of(module: str) -> int | None:
    return next((layer for name, layer in LAYERS.items() if module == name or module.startswith(f"{name}.")), None)


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            # `from engine import tables` names a module, `from engine.tables import FORMATS` does not.
            yield from (
                (f"{node.module}.{alias.name}" for alias in node.names)
                if node.module == "engine"
                else [str(node.module)]
            )


def test_every_module_has_a_layer() -> None:
    assert len(FILES) > 10
    assert [
        module_of(file) for file in FILES if module_of(file) != "engine" and layer_of(module_of(file)) is None
    ] == []
    named = {file.stem for file in FILES if file.parent.name == "stages" and file.stem != "__init__"}
    assert named == set(STAGES)


# The package itself hands out names of its modules, when they are asked for.
@pytest.mark.parametrize("file", [file for file in FILES if module_of(file) != "engine"], ids=module_of)
def test_imports_run_downwards_only(file: Path) -> None:
    module = module_of(file)
    own = layer_of(module)
    for imported in imports_of(ast.parse(file.read_text(encoding="utf-8"))):
        if imported.partition(".")[0] != "engine":
            continue
        theirs = layer_of(imported)
        assert own is not None
        assert theirs is not None, f"{module} imports {imported}, which has no layer"
        if any(module.startswith(room) and imported.startswith(room) for room in TOGETHER):
            continue
        if own == theirs == LAYERS["engine.stages"]:
            assert STAGES[imported.split(".")[2]] < STAGES[module.split(".")[2]], f"{module} imports {imported}"
        else:
            assert theirs < own, f"{module} imports {imported}"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_nothing_of_the_engine_needs_the_conversion(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lazy = [
        imported
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (module_of(file), node.name) == ("engine.cli.bundles", "convert")
        for imported in imports_of(node)
    ]
    heavy = [imported for imported in imports_of(tree) if imported.partition(".")[0] in HEAVY]
    assert sorted(heavy) == sorted(imported for imported in lazy if imported.partition(".")[0] in HEAVY)
    if module_of(file) == "engine.cli.bundles":
        assert heavy, "the command `convert` reaches the conversion"


@pytest.mark.parametrize("module", [module_of(file) for file in FILES])
def test_every_module_imports_without_the_conversion_s_libraries(module: str) -> None:
    run(f"{BLOCK.format(heavy=HEAVY)}\nimport {module}")


def test_the_blocker_blocks() -> None:
    code = "try:\n    import convert\nexcept ImportError as error:\n    print(error.name)"
    assert run(f"{BLOCK.format(heavy=HEAVY)}\n{code}") == "convert\n"


def test_names_are_handed_out_without_the_conversion_s_libraries() -> None:
    code = "from engine import *\nprint(Linker.__name__, Mention('a').text, bool(__version__))"
    assert run(f"{BLOCK.format(heavy=HEAVY)}\n{code}") == "Linker a True\n"


def test_importing_the_package_or_the_command_loads_no_native_library() -> None:
    for module, unwanted in (("engine", NATIVE), ("engine.cli", NATIVE[:5])):
        code = f"import sys, {module}\nprint([name for name in {unwanted!r} if name in sys.modules])"
        assert run(code) == "[]\n", module


def test_importing_the_package_takes_less_than_0_3_seconds() -> None:
    # Processor time: on a busy machine the clock on the wall measures the neighbours.
    code = "import time\nstart = time.process_time()\nimport engine\nprint(time.process_time() - start)"
    assert min(float(run(code)) for _ in range(5)) < 0.3


def test_the_package_hands_out_what_it_names() -> None:
    code = (
        "import json, engine\n"
        "print(json.dumps({name: getattr(getattr(engine, name), '__module__', '') for name in engine.__all__}))"
    )
    homes = json.loads(run(code))
    assert homes["Linker"] == "engine.linker"
    assert homes["Mention"] == "engine.records"
    assert set(homes) == set(engine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = engine.Missing  # type: ignore[attr-defined]
