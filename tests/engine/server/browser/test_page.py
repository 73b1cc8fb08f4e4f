"""The coder's page, by mouse and by keyboard."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from served import Served, serving

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
NOTE = "Paciente 🩺 con HTA y dolor abdominal. Refiere tos seca."
Open = Callable[..., Any]


def code_one(page: Any, text: str = "TC abdominal", sentence: str = "La TC abdominal es normal.") -> None:
    page.fill("#mention", text)
    page.fill("#sentence", sentence)
    page.click("#pane-mention button.main")
    page.wait_for_selector("#detail:not([hidden])")


def exported(page: Any, form: str) -> bytes:
    with page.expect_download() as download:
        page.click(f"[data-export={form}]")
    return Path(download.value.path()).read_bytes()


def codes(page: Any) -> list[str]:
    return page.locator("#rows tr td:nth-child(2) span").all_inner_texts()


def test_one_mention_with_all_that_speaks_for_it(open_page: Open) -> None:
    page = open_page()
    code_one(page)
    page.wait_for_selector(".path li")
    shown = page.inner_text("#detail")
    for part in ("BW20", "alta", "0,9", "letra por letra", "demostrado", "Otras posibilidades", "log-prob.", "mini"):
        assert part in shown
    assert page.title() == "cielo"
    assert "TC" not in page.url


def test_a_note_is_marked_by_mouse(open_page: Open) -> None:
    page = open_page()
    page.click("#tab-note")
    page.fill("#note", "tos seca y HTA")
    page.dblclick("#note", position={"x": 25, "y": 20})  # the first word
    page.click("#mark")
    assert page.locator("#marks button").all_inner_texts() == ["tos ✕"]
    page.click("#note-code")
    page.wait_for_selector("#detail:not([hidden])")
    assert codes(page) == ["R05"]


def test_a_note_by_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    for _ in range(4):  # past the link to the list, and the languages
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-mention"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.insert_text(NOTE)
    for word in ("HTA", "dolor abdominal", "tos seca"):
        page.keyboard.press("Control+Home")
        for _ in range(NOTE.replace("🩺", "x").index(word)):
            page.keyboard.press("ArrowRight")
        for _ in word:
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Control+Enter")
    assert page.locator("#marks button").all_inner_texts() == ["HTA ✕", "dolor abdominal ✕", "tos seca ✕"]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail:not([hidden])")
    assert codes(page) == ["I10", "R10.9", "R05"]
    assert page.evaluate("document.activeElement.className") == "pick"
    page.keyboard.press("a")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("r")
    page.keyboard.press("u")
    decisions = page.locator("#rows tr td:nth-child(4)").all_inner_texts()
    assert decisions == ["aceptado", "por revisar", "por revisar"]


def test_a_change_is_searched_for_and_exported(open_page: Open) -> None:
    page = open_page()
    code_one(page, "tos", "")
    page.keyboard.press("c")
    page.keyboard.insert_text("asma")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail form li")
    page.click("#detail form li:first-of-type button")
    chosen = codes(page)[0]
    assert chosen.startswith("J4")
    lines = exported(page, "csv").decode().splitlines()
    row = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert (row["mention"], row["code"], row["decision"], row["final_code"]) == ("tos", "R05", "changed", chosen)
    assert exported(page, "excel").decode("utf-8-sig").splitlines()[0].startswith("mention;sentence;code")
    assert json.loads(exported(page, "json"))[0]["review"]["code"] == chosen
    sheet = openpyxl.load_workbook(io.BytesIO(exported(page, "xlsx"))).active
    header, cells = list(sheet.iter_rows(values_only=True))
    assert dict(zip(header, cells, strict=True))["final_code"] == chosen


def test_a_table_is_coded_and_cancelled(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    page.click("#tab-table")
    page.fill("#paste", "Texto\tFrase\tNº\ntos\tRefiere tos.\t007\n=1+1\t\t8\n\t\t9\n")
    page.click("#paste-read")
    expect(page.locator("#status")).to_contain_text("Listo")
    assert codes(page)[0] == "R05"
    assert "no se pudo" in page.inner_text("#rows")
    lines = exported(page, "excel").decode("utf-8-sig").splitlines()
    assert lines[1].startswith('tos;Refiere tos.;"=""007""";R05;')  # else Excel makes it 7
    assert exported(page, "csv").decode().splitlines()[1].startswith("tos,Refiere tos.,007,R05,")
    assert lines[2].startswith("'=1+1;;8;")
    file = tmp_path / "muchas.csv"
    file.write_bytes(
        b"texto;frase\n" + "".join(f"dolor {n};Refiere dolor {n}.\n" for n in range(3000)).encode("cp1252")
    )
    page.set_input_files("#file", str(file))
    expect(page.locator("#progress-text")).not_to_have_text(re.compile("^(0 |$)"))
    page.click("#cancel")
    expect(page.locator("#status")).to_contain_text("Cancelado")
    assert page.locator("#rows tr").count() == 3003
    page.click("#leave")
    assert 3 < page.locator("#rows tr").count() < 3003
    assert page.locator("#stopped").is_hidden()


def test_a_broken_connection_loses_no_row(open_page: Open) -> None:
    page = open_page(allowed="ERR_FAILED")
    asked = 0

    def answer(route: Any) -> None:
        nonlocal asked
        asked += 1
        route.abort() if asked == 2 else route.continue_()

    page.route("**/v1/link", answer)
    page.click("#tab-table")
    page.fill("#paste", "texto\n" + "".join(f"dolor {number}\n" for number in range(70)))
    page.click("#paste-read")
    expect(page.locator("#problem")).to_contain_text("no responde")
    assert page.inner_text("#resume") == "Continuar (38 sin codificar)"
    page.click("#resume")
    expect(page.locator("#status")).to_contain_text("Codificadas: 38")
    assert "sin codificar" not in codes(page)
    assert len(codes(page)) == 70


def test_what_is_wrong_with_a_row_stays_with_it(open_page: Open) -> None:
    page = open_page(allowed="413")
    page.click("#tab-table")
    page.fill("#paste", "texto\n" + "x" * 30_000 + "\n")
    page.click("#paste-read")
    expect(page.locator("#status")).to_contain_text("con error: 1")
    assert "30,000 characters, expected at most" in page.inner_text("#detail .problem")
    page.focus("#rows .pick")
    page.keyboard.press("a")
    expect(page.locator("#problem")).to_contain_text("No hay código")
    page.fill("#paste", "texto\n")
    page.click("#paste-read")
    expect(page.locator("#problem")).to_contain_text("no tiene filas")


def test_a_decision_on_a_row_whose_work_is_cancelled_can_be_undone(open_page: Open) -> None:
    page = open_page()
    page.route("**/v1/link", lambda route: None)
    page.click("#tab-table")
    page.fill("#paste", "texto\nfiebre\ntos\n")
    page.click("#paste-read")
    page.click("#rows tr:first-child .pick")
    page.keyboard.press("r")
    page.click("#cancel")
    page.click("#leave")
    assert page.locator("#rows .pick").all_inner_texts() == ["fiebre"]
    page.click("#undo")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    assert page.locator("#rows tr").count() == 0


def test_a_changed_code_does_not_borrow_the_confidence_of_the_proposal(open_page: Open) -> None:
    page = open_page()
    code_one(page, "tos", "")
    page.keyboard.press("c")
    page.keyboard.insert_text("asma")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail form li")
    page.focus("#detail form li:first-of-type button")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    row = page.locator("#rows tr")
    assert row.locator("td").nth(2).inner_text() == ""
    assert re.fullmatch(r"tos, J4\S+ .*, cambiado", str(row.locator(".pick").get_attribute("aria-label")))
    detail = page.inner_text("#detail")
    for part in ("Decisión: cambiado", "Propuesta del modelo\nR05", "Confianza en la propuesta"):
        assert part in detail
    assert re.fullmatch(r"tos: cambiado J4\S+", page.inner_text("#status").strip())
    page.keyboard.press("u")  # the keys hold in the detail too
    assert page.evaluate("document.activeElement.className") == "pick"
    assert row.locator("td").nth(2).inner_text().startswith("alta")


def test_a_row_that_is_tapped_on_a_phone_comes_into_view(open_page: Open) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    page.click("#tab-table")
    page.fill("#paste", "texto\n" + "tos\n" * 30)
    page.click("#paste-read")
    expect(page.locator("#status")).to_contain_text("Listo")
    page.locator("#rows tr").nth(25).click()
    expect(page.locator("#detail-title")).to_be_in_viewport()
    expect(page.locator("#detail .actions")).to_be_in_viewport()
    page.click("#detail .actions button:last-child")
    expect(page.locator("#rows tr").nth(25)).to_be_in_viewport()


def test_two_languages_and_a_bad_file(open_page: Open) -> None:
    page = open_page(allowed="422")
    code_one(page)
    page.click("[data-language=en]")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "letter by letter" in page.inner_text("#detail")
    page.click("#tab-table")
    page.fill("#paste", "nothing\there\n1\t2\n")
    page.click("#paste-read")
    expect(page.locator("#problem")).to_contain_text("column")
    assert page.evaluate("Object.keys(localStorage).length") == 0
    assert page.evaluate("Object.keys(sessionStorage)") == ["language"]


def test_a_key_is_asked_for(open_page: Open, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("ward " + "k" * 20)
    with serving(tmp_path, "--keys", str(keys)) as locked:
        page = open_page(locked.url, allowed="401")
        page.wait_for_selector("#key-form:not([hidden])")
        page.keyboard.insert_text("k" * 20)
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-form", state="hidden")
        code_one(page)
        assert codes(page) == ["BW20"]
        page.context.close()


def test_a_busy_server_is_waited_for(open_page: Open) -> None:
    page = open_page(allowed="429")
    refusals = iter([True, True, False])

    def answer(route: Any) -> None:
        if next(refusals):
            body = json.dumps({"error": {"code": "overloaded", "message": "busy"}})
            route.fulfill(status=429, headers={"Retry-After": "1"}, body=body, content_type="application/json")
        else:
            route.continue_()

    page.route("**/v1/link", answer)
    code_one(page)
    assert codes(page) == ["BW20"]


def test_functions_of_the_page(open_page: Open) -> None:
    page = open_page()
    found = page.evaluate(
        """async () => {
          const { toCharacters, trimmed } = await import('/static/offsets.js');
          const { csv } = await import('/static/export.js');
          const row = { text: '=a;"b', sentence: ' x\\n', link: null, error: null, review: null };
          const counts = [toCharacters('🩺a', 3), toCharacters('e\\u0301a', 2)];
          return [...counts, trimmed(' a ', 0, 3), trimmed('  ', 0, 2), csv([row])];
        }"""
    )
    assert found[:4] == [2, 2, [1, 2], None]
    assert found[4].splitlines()[1].startswith('"\'=a;""b"," x') is True


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_keeps_anybody_out(
    open_page: Open, picture: Callable[[Any, str], None], served: Served, scheme: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # The checker is put into the page, which allows no script but its own.
    page = open_page(
        color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True, reduced_motion="reduce"
    )

    def look(name: str) -> None:
        found = Axe().run(page).response["violations"]
        serious = [
            (one["id"], [node["html"] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
        picture(page, f"{name}-{width}-{scheme}")

    look("empty")
    code_one(page)
    page.wait_for_selector(".path li")
    look("mention")
    page.click("#tab-note")
    page.fill("#note", NOTE)
    page.evaluate("document.getElementById('note').setSelectionRange(16, 19)")
    page.click("#mark")
    look("note")
    page.click("#note-code")
    expect(page.locator("#rows tr")).to_have_count(2)
    page.click("#tab-table")
    look("table")
    page.fill("#search", "hipertensión")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail form li")
    page.click("#detail form li:nth-of-type(2) button")
    page.wait_for_selector(".path li")
    page.route("**/v1/link", lambda route: None)
    page.fill("#paste", "texto\ntos\nfiebre\n")
    page.click("#paste-read")
    page.wait_for_selector("#rows tr:nth-child(4)")
    look("working")
    page.click("#cancel")
    expect(page.locator("#resume")).to_be_focused()
    look("stopped")
