"""What an import may cost, and what may never be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cielo
import pytest
from graph import MODULES, RUNTIME, imports_of

HEAVY = ("torch", "transformers", "optimum", "cielo_convert")
NATIVE = ("ctranslate2", "onnxruntime", "hnswlib", "tokenizers", "numpy", "sqlite3", "click", "rich", "msgspec")
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runtime_imports_without_the_conversion_s_libraries() -> None:
    names = [module.name for module in RUNTIME if not module.name.endswith("__main__")]
    assert len(names) > 60
    code = f"""{BLOCK}
import importlib, traceback
for name in {names!r}:
    try:
        importlib.import_module(name)
    except Exception:
        print(name, traceback.format_exc())
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert run(code) == "[]\n"


def test_the_blocker_blocks() -> None:
    code = "try:\n    import cielo_convert\nexcept ImportError as error:\n    print(error.name)"
    assert run(f"{BLOCK}\n{code}") == "cielo_convert\n"


def test_the_command_convert_alone_names_the_conversion() -> None:
    named = {
        module.name
        for module in RUNTIME
        if any(imported.partition(".")[0] in HEAVY for imported in imports_of(module.tree))
    }
    assert named == {"cielo.cli.converting"}


def test_the_conversion_does_not_import_doors_or_the_workbench_s_bench() -> None:
    for module in MODULES.values():
        if module.name.startswith("cielo_convert"):
            assert not [name for name in imports_of(module.tree) if name.startswith(("cielo.cli", "cielo.server"))]


def test_importing_the_package_or_the_command_loads_no_native_library() -> None:
    for module, unwanted in (("cielo", NATIVE), ("cielo.cli", NATIVE[:5])):
        code = f"import sys, {module}\nprint([name for name in {unwanted!r} if name in sys.modules])"
        assert run(code) == "[]\n", module


def test_linking_one_text_loads_no_more_than_it_needs() -> None:
    # Each of these takes between 5 and 30 ms, of the 350 that the command takes.
    unwanted = (
        "importlib.metadata", "email", "syntok", "cielo.tables", "cielo.workbench", "cielo.link.lexicon",
        "cielo.cache.disk", "cielo.knowledge.code_list", "cielo.parity",
    )  # fmt: skip
    code = f"""
import sys
from cielo.cli import main
sys.stdout = sys.stderr
main(["link", "tos"], standalone_mode=False)
sys.stdout = sys.__stdout__
print([name for name in {unwanted!r} if name in sys.modules])
print(sorted(name for name in sys.modules if name.startswith("cielo.cli.")))"""
    loaded = [
        f"cielo.cli.{name}"
        for name in ("base", "link", "linkers", "options", "outputs", "showing", "tabular", "verbosity")
    ]
    assert run(code) == f"[]\n{loaded}\n"


def test_importing_the_package_takes_less_than_0_3_seconds() -> None:
    # Processor time: on a busy machine the clock on the wall measures the neighbours.
    code = "import time\nstart = time.process_time()\nimport cielo\nprint(time.process_time() - start)"
    assert min(float(run(code)) for _ in range(5)) < 0.3


def test_the_package_hands_out_what_it_names_without_the_conversion_s_libraries() -> None:
    code = f"""{BLOCK}
import json, cielo
from cielo import *
print(json.dumps({{name: getattr(getattr(cielo, name), "__module__", "") for name in cielo.__all__}}))"""
    homes = json.loads(run(code))
    assert homes["Linker"] == "cielo.link.linker"
    assert homes["Mention"] == "cielo.records"
    assert set(homes) == set(cielo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = cielo.Missing  # type: ignore[attr-defined]


def test_every_error_is_handed_out() -> None:
    from cielo import errors

    known = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert known <= set(cielo.__all__)


def test_every_error_has_one_home() -> None:
    code = f"""{BLOCK}
import importlib
for name in {[module.name for module in RUNTIME if not module.name.endswith("__main__")]!r}:
    importlib.import_module(name)
from cielo.errors import CieloError
def below(kind):
    for other in kind.__subclasses__():
        yield other
        yield from below(other)
print(sorted({{f"{{kind.__module__}}.{{kind.__name__}}" for kind in below(CieloError)
               if kind.__module__ != "cielo.errors" and not kind.__name__.startswith("_")}}))"""
    assert run(code) == "[]\n"


def test_what_is_typed_is_what_is_handed_out() -> None:
    import ast

    tree = MODULES["cielo"].tree
    typed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cielo.")
        for alias in node.names
    }
    assert typed | {"__version__"} == set(cielo.__all__)
