"""A real browser (Debian's chromium) on a served page; what leaves the server's origin, or fails, is seen."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, served: Any) -> Iterator[Callable[..., Any]]:
    """Open the page; at the end nothing may have left the server's origin, and nothing may stand in the console."""
    problems: list[str] = []
    contexts: list[Any] = []

    def open_it(url: str = "", allowed: str = "", **settings: Any) -> Any:
        context = browser.new_context(**{"locale": "es-ES", "viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        origin = url or served.url

        def asked(request: Any) -> None:
            if not request.url.startswith((origin, "blob:", "data:")):
                problems.append(f"asked {request.url}")

        def said(message: Any) -> None:
            if message.type in ("error", "warning") and not (allowed and re.search(allowed, message.text)):
                problems.append(message.text)

        page.on("request", asked)
        page.on("console", said)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(origin)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Any, str], None]:
    """Keep a picture of a page where ``CIELO_SCREENSHOTS`` names a folder."""
    folder = os.environ.get("CIELO_SCREENSHOTS")

    def take(page: Any, name: str) -> None:
        if folder:
            page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)

    return take
