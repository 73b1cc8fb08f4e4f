"""What the repository's papers keep to."""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import tree
from cielo import Link, LinkOptions
from graph import MODULES, ROOT

_FOLDERS = (
    "benchmarks", "convert", "engine", "engine/cielo/bulk", "engine/cielo/integrations", "engine/cielo/server",
    "models", "packaging", "tests",
)  # fmt: skip
READMES = ("README.md", *(f"{folder}/README.md" for folder in _FOLDERS))
PAPERS = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md")
LARGEST_README = 9_000
# A page names no machine's own folders; commands run anywhere.
_PLACES = re.compile(r"(?<![\w./])/(?:work|root|home|mnt|opt(?!/cielo)|tmp)/")
# The hosts that the repository's texts and code may name.
HOSTS = {
    "arxiv.org", "brat.nlplab.org", "creativecommons.org", "download.pytorch.org", "ejemplo.es", "example.org",
    "github.com", "hl7.org", "huggingface.co", "keepachangelog.com", "kellerjordan.github.io", "locust.io",
    "ohdsi.github.io", "purl.org", "raw.githubusercontent.com", "semver.org", "temu.bsc.es", "terminology.hl7.org",
    "uima.apache.org",     "www.apache.org", "www.cdc.gov", "www.omg.org", "www.sanidad.gob.es", "www.w3.org",
}  # fmt: skip


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a checkout of git")
    files = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [file for file in files if file.is_file()]


def text_of(file: Path) -> str:
    content = file.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8", "replace")


@pytest.mark.parametrize("name", PAPERS)
def test_every_room_has_its_page(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.startswith("# ")


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= LARGEST_README


@pytest.mark.parametrize("name", PAPERS)
def test_what_a_page_links_to_is_there(name: str) -> None:
    file = ROOT / name
    text = file.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", text)
    missing = [link for link, _ in links if "://" not in link and not (file.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", PAPERS)
def test_a_heading_that_is_linked_to_is_there(name: str) -> None:
    file = ROOT / name
    for link, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", file.read_text(encoding="utf-8")):
        if "://" not in link:
            page = (file.parent / link if link else file).read_text(encoding="utf-8")
            heads = {_anchor(line) for line in re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)}
            assert heading in heads, f"{link}#{heading}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_no_page_names_a_place_of_one_machine() -> None:
    pages = [file for file in tracked() if file.suffix in (".md", ".toml", ".json", ".html") or ".ci" in file.parts]
    found = {str(file.relative_to(ROOT)): _PLACES.findall(text_of(file)) for file in pages}
    assert {name: places for name, places in found.items() if places} == {}


def test_no_host_is_named_that_is_not_known() -> None:
    found: dict[str, set[str]] = {}
    for file in tracked():
        for host in re.findall(r"https?://([A-Za-z0-9.-]+\.[A-Za-z]{2,})", text_of(file)):
            if host not in HOSTS:
                found.setdefault(host, set()).add(str(file.relative_to(ROOT)))
    assert found == {}


@pytest.mark.parametrize("package", tree.PAGES)
def test_the_tree_of_a_page_is_the_tree_that_is_there(package: str) -> None:
    _, shown, _ = tree.parts(tree.PAGES[package].read_text(encoding="utf-8"))
    assert shown == tree.tree_of(package), "run `python tests/house/tree.py`"


def test_every_file_says_in_its_first_line_what_it_holds() -> None:
    for module in MODULES.values():
        about = (ast.get_docstring(module.tree) or "").partition("\n\n")[0]
        assert 0 < len(about) <= 200, module.name


def test_every_key_of_a_recipe_is_on_the_page() -> None:
    text = (ROOT / "convert" / "README.md").read_text(encoding="utf-8")
    _, _, table = text.partition("## Keys of a recipe")
    keys = {
        node.target.id
        for record in ast.walk(MODULES["cielo_convert.recipe"].tree)
        if isinstance(record, ast.ClassDef)
        and record.name.endswith(("Recipe", "RecipeFile"))
        and record.name != "Recipe"
        for node in record.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert keys - {"path"} - set(re.findall(r"\w+", table)) == set()


def test_every_option_of_linking_is_on_the_first_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {entry.name for entry in fields(LinkOptions) if f"`{entry.name}`" not in text} == set()


def test_every_field_of_a_link_is_on_the_page_of_the_engine() -> None:
    text = (ROOT / "engine" / "README.md").read_text(encoding="utf-8")
    assert {entry.name for entry in fields(Link) if f"`{entry.name}`" not in text} == set()
