"""What may import what, and what an import may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cielo
import pytest

ROOT = Path(cielo.__file__).parents[1]
PACKAGES = {"cielo", "cielo.link", "cielo.cache", "cielo.bundle", "cielo.generation", "cielo.parity"}
FILES = [
    file
    for file in sorted((ROOT / "cielo").rglob("*.py"))
    if file.name != "__init__.py" or len(file.relative_to(ROOT).parts) != 3 or file.parent.name in ("cli", "tables")
]
HEAVY = ("torch", "transformers", "optimum", "cielo_convert")
NATIVE = ("ctranslate2", "onnxruntime", "hnswlib", "tokenizers", "numpy", "sqlite3", "click", "rich")
# Imports run downwards only: a module may import those of lower layers.
LAYERS = {
    "cielo.errors": 0, "cielo.machine": 1, "cielo.files": 1, "cielo.records": 1, "cielo.text": 2,
    "cielo.knowledge.codes": 2, "cielo.knowledge.subsets": 2, "cielo.retrieval": 3,
    "cielo.generation.searches": 3, "cielo.generation.batching": 3, "cielo.bundle.layout": 3, "cielo.generation": 4,
    "cielo.bundle.stages": 5, "cielo.bundle.budget": 6,
    "cielo.link.confidence": 4, "cielo.link.sentences": 3, "cielo.link.documents": 4, "cielo.link.lexicon": 4,
    "cielo.cache": 4, "cielo.link.resolver": 6, "cielo.link.linker": 7, "cielo.tables": 8,
    "cielo.knowledge.building": 9, "cielo.knowledge": 3,
    "cielo.parity": 7, "cielo.workbench": 10, "cielo.cli": 12,
}  # fmt: skip
# Rooms of their own: the files of each may import each other.
TOGETHER = (
    "cielo.workbench",
    "cielo.cli",
    "cielo.tables",
    "cielo.text",
    "cielo.generation",
    "cielo.retrieval",
    "cielo.knowledge",
)

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
            # `from cielo import records` names a module, `from cielo.tables.mentions import FORMATS` does not.
            yield from (
                (f"{node.module}.{alias.name}" for alias in node.names)
                if node.module in PACKAGES
                else [str(node.module)]
            )


def test_every_module_has_a_layer() -> None:
    assert len(FILES) > 10
    assert [module_of(file) for file in FILES if module_of(file) != "cielo" and layer_of(module_of(file)) is None] == []


# The package itself hands out names of its modules, when they are asked for.
@pytest.mark.parametrize("file", [file for file in FILES if module_of(file) != "cielo"], ids=module_of)
def test_imports_run_downwards_only(file: Path) -> None:
    module = module_of(file)
    own = layer_of(module)
    for imported in imports_of(ast.parse(file.read_text(encoding="utf-8"))):
        if imported.partition(".")[0] != "cielo":
            continue
        theirs = layer_of(imported)
        assert own is not None
        assert theirs is not None, f"{module} imports {imported}, which has no layer"
        if any(module.startswith(room) and imported.startswith(room) for room in TOGETHER):
            continue
        assert theirs < own, f"{module} imports {imported}"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_nothing_of_the_engine_needs_the_conversion(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lazy = [
        imported
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (module_of(file), node.name) == ("cielo.cli.bundles", "convert")
        for imported in imports_of(node)
    ]
    heavy = [imported for imported in imports_of(tree) if imported.partition(".")[0] in HEAVY]
    assert sorted(heavy) == sorted(imported for imported in lazy if imported.partition(".")[0] in HEAVY)
    if module_of(file) == "cielo.cli.bundles":
        assert heavy, "the command `convert` reaches the conversion"


@pytest.mark.parametrize("module", [module_of(file) for file in FILES])
def test_every_module_imports_without_the_conversion_s_libraries(module: str) -> None:
    run(f"{BLOCK.format(heavy=HEAVY)}\nimport {module}")


def test_the_blocker_blocks() -> None:
    code = "try:\n    import cielo_convert\nexcept ImportError as error:\n    print(error.name)"
    assert run(f"{BLOCK.format(heavy=HEAVY)}\n{code}") == "cielo_convert\n"


def test_names_are_handed_out_without_the_conversion_s_libraries() -> None:
    code = "from cielo import *\nprint(Linker.__name__, Mention('a').text, bool(__version__))"
    assert run(f"{BLOCK.format(heavy=HEAVY)}\n{code}") == "Linker a True\n"


def test_importing_the_package_or_the_command_loads_no_native_library() -> None:
    for module, unwanted in (("cielo", NATIVE), ("cielo.cli", NATIVE[:5])):
        code = f"import sys, {module}\nprint([name for name in {unwanted!r} if name in sys.modules])"
        assert run(code) == "[]\n", module


def test_importing_the_package_takes_less_than_0_3_seconds() -> None:
    # Processor time: on a busy machine the clock on the wall measures the neighbours.
    code = "import time\nstart = time.process_time()\nimport cielo\nprint(time.process_time() - start)"
    assert min(float(run(code)) for _ in range(5)) < 0.3


def test_the_package_hands_out_what_it_names() -> None:
    code = (
        "import json, cielo\n"
        "print(json.dumps({name: getattr(getattr(cielo, name), '__module__', '') for name in cielo.__all__}))"
    )
    homes = json.loads(run(code))
    assert homes["Linker"] == "cielo.link.linker"
    assert homes["Mention"] == "cielo.records"
    assert set(homes) == set(cielo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = cielo.Missing  # type: ignore[attr-defined]
