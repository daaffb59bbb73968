"""The console in a real browser: its user's ways through it, with mouse, with keys alone, and without scripts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from safegen.ledger import Ledger
from tests.browser.conftest import IMAGE_REQUEST, Running
from tests.unit.serve.conftest import released

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = {
    "timeline": "/",
    "filtered": "/?outcome=withheld&rule=mascots",
    "no match": "/?rule=nothing",
    "request": "/request?id=request-003",
    "verified request": "/request?id=request-003&verify=true",
    "image": f"/request?id={IMAGE_REQUEST}",
    "hostile": "/request?id=hostile-1",
    "entry": "/entry?n=3",
    "plots": "/plots",
    "policies": "/policies",
    "compare": "/compare?first=default+1+abababababab&second=default+2+cdcdcdcdcdcd",
    "verification": "/verify",
    "help": "/help",
    "missing": "/request?id=nobody",
}


def total(page: Page) -> int:
    """How many items the timeline says there are."""
    return int(re.sub(r"\D", "", page.locator(".count-all strong").inner_text()))


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for a condition. Playwright's own waiting evaluates text, which the content security policy forbids."""
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail("it never came true")


def test_logging_in_by_the_link(watched: Callable[..., Page], running: Running, cookies: list[object]) -> None:
    """The address of the terminal logs in once, leaves the address bar, and sets a cookie that no script sees."""
    address = running.next_login()
    page = watched()
    page.goto(address)
    page.wait_for_url(f"{running.address}/")
    running.after_login()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    other = watched()
    other.goto(address)
    other.get_by_text("That is not the token").wait_for()
    assert other.context.cookies() == []
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(f"{running.address}/plots")
    assert page.url.endswith("/login")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(
    watched: Callable[..., Page], cookies: list[dict[str, object]], running: Running, scheme: str
) -> None:
    """axe-core finds nothing serious on any page, on a wide screen or a narrow one."""
    from axe_playwright_python.sync_playwright import Axe

    axe, found = Axe(), []
    for width in (1280, 400):
        page = watched(color_scheme=scheme, viewport={"width": width, "height": 900})
        page.goto(f"{running.address}/login")
        places = {"login": ""} | (
            PAGES if width > 400 else {name: PAGES[name] for name in ("timeline", "request", "plots")}
        )
        for name, path in places.items():
            if path:
                page.context.add_cookies(cookies)
                page.goto(running.address + path)
            for violation in axe.run(page).response["violations"]:
                if violation["impact"] in {"serious", "critical"}:
                    nodes = [node["html"][:200] for node in violation["nodes"][:3]]
                    found.append((name, width, violation["id"], nodes))
    assert not found


def test_no_page_is_wider_than_a_phone(page: Page, running: Running) -> None:
    """At 400 pixels nothing has to be scrolled sideways but tables."""
    page.set_viewport_size({"width": 400, "height": 800})
    wide = []
    for name, path in PAGES.items():
        page.goto(running.address + path)
        if page.evaluate("document.documentElement.scrollWidth") > 400:
            wide.append(name)
    assert not wide


def test_a_walk_with_keys_alone(page: Page, running: Running) -> None:
    """Search, open, verify, go up, plots, a bar, help: no mouse, and the focus is seen wherever it is."""
    page.goto(f"{running.address}/")
    press = page.keyboard.press

    def focus_is_seen() -> None:
        style = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement);"
            " return s.outlineStyle + s.outlineWidth + (document.activeElement.querySelector('.area') ?"
            " getComputedStyle(document.activeElement.querySelector('.area')).stroke : '') })()"
        )
        assert not style.startswith("none0px") or "rgb" in style.removeprefix("none0px"), style

    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    focus_is_seen()
    press("/")
    page.keyboard.type("request-003")
    press("Enter")
    page.wait_for_url("**q=request-003**")
    assert total(page) == 1
    press("j")
    focus_is_seen()
    press("Enter")
    page.wait_for_url("**/request?id=request-003")
    press("v")
    page.get_by_text("Verified.").wait_for()
    press("u")
    page.wait_for_url(f"{running.address}/")
    press("n")
    page.wait_for_url("**before=**")
    press("p")
    page.wait_for_url("**after=**")
    press("g")
    press("p")
    page.wait_for_url("**/plots")
    page.locator(".plot.wide svg a").first.focus()
    press("ArrowRight")
    focus_is_seen()
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    press("Enter")
    page.wait_for_url("**/?from=**")
    assert label.startswith(page.locator("#from").input_value())
    press("?")
    assert page.locator("#keys").is_visible()
    press("Escape")
    assert not page.locator("#keys").is_visible()


def test_the_theme_is_kept(page: Page, running: Running) -> None:
    """One key turns the page dark, and the next page stays so."""
    page.goto(f"{running.address}/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("d")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.goto(f"{running.address}/help")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_images_are_blurred_until_asked_for(page: Page, running: Running) -> None:
    """An image loads blurred; asking shows it; one key, or opening the page again, blurs it."""
    page.goto(f"{running.address}/request?id={IMAGE_REQUEST}")
    image, box = page.locator(".picture img"), page.locator(".picture input")
    image.scroll_into_view_if_needed()
    until(page, lambda: image.evaluate("each => each.naturalWidth") == 128)

    def blurred() -> bool:
        return "blur" in str(image.evaluate("each => getComputedStyle(each).filter"))

    assert blurred()
    box.focus()
    page.keyboard.press("Space")
    until(page, lambda: not blurred())
    page.keyboard.press("b")
    until(page, blurred)
    box.check(force=True)
    page.reload()
    assert blurred()


def test_filters_by_mouse(page: Page, running: Running) -> None:
    """The number beside a filter is the number of items behind it, and the chip takes it away again."""
    page.goto(f"{running.address}/")
    whole = total(page)
    link = page.locator(".facet a", has_text="withheld").first
    promised = int(link.locator(".count").inner_text())
    link.click()
    page.wait_for_url("**outcome=withheld**")
    assert total(page) == promised < whole
    assert set(page.locator(".timeline .badge").all_inner_texts()) == {"withheld"}
    page.locator(".chip").click()
    page.wait_for_url(lambda url: "withheld" not in url)
    assert total(page) == whole


def test_every_bar_leads_to_what_it_counts(page: Page, running: Running) -> None:
    """For the first and the last bar of each plot, the timeline behind it has as many items as the bar says."""
    page.goto(f"{running.address}/plots")
    page.locator("details summary").evaluate_all("all => all.forEach(each => each.parentElement.open = true)")
    bars = {}
    for plot in page.locator(".plot").all():
        rows = plot.locator("tbody tr").all()
        for row in (rows[0], rows[-1]):
            href = row.locator("a").get_attribute("href") or ""
            bars[href] = int(re.sub(r"\D", "", row.locator("td.number").inner_text()))
    assert len(bars) >= 6
    for href, count in bars.items():
        page.goto(running.address + href)
        shown = total(page)
        if "from=" in href and not count:
            continue
        assert shown == count or "from=" in href, href


def test_exports_hold_what_is_shown(page: Page, running: Running, tmp_path: Path) -> None:
    """Both files hold every item of the filter, not just those of the page."""
    page.goto(f"{running.address}/?kind=request")
    shown = total(page)
    assert shown > 50
    files = {}
    for kind in ("CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("link", name=kind, exact=True).click()
        files[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[kind])
    with files["CSV"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    objects = json.loads(files["JSON"].read_text())
    assert len(rows) == len(objects) == shown
    assert [row["request_id"] for row in rows] == [one["request_id"] for one in objects]


def test_hostile_texts_stay_texts(page: Page, running: Running) -> None:
    """A script in a reason is read, and runs nowhere."""
    page.goto(f"{running.address}/request?id=hostile-1")
    assert r"<script>alert(1)</script>\x1b[31m\u202etxt.exe" in page.locator(".story").inner_text()
    page.goto(f"{running.address}/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert total(page) == 1


def test_comparing_two_policies(page: Page, running: Running) -> None:
    """Both versions are chosen already; the page shows what moved and leads on."""
    page.goto(f"{running.address}/policies")
    page.get_by_role("button", name="Compare the two").click()
    page.get_by_role("heading", name="What changed").wait_for()
    promised = int(page.locator(".compare td small").nth(1).inner_text())
    page.locator(".compare td a").nth(1).click()
    page.wait_for_url("**policy=default**")
    assert total(page) == promised


def test_the_whole_ledger_is_verified_at_one_click(page: Page, running: Running) -> None:
    """The button starts it, the page shows how it ends."""
    page.goto(f"{running.address}/verify")
    page.locator("#verify-this").click()
    page.get_by_text("No tampering found").wait_for(timeout=120_000)


def test_without_scripts(watched: Callable[..., Page], cookies: list[dict[str, object]], running: Running) -> None:
    """Filters, pages, proofs and images work where scripts are off."""
    page = watched(java_script_enabled=False)
    page.context.add_cookies(cookies)
    page.goto(f"{running.address}/")
    page.locator("#q").fill("request-1")
    page.get_by_role("button", name="Apply").click()
    assert total(page) == 100
    page.locator("[rel=next]").click()
    page.goto(f"{running.address}/request?id={IMAGE_REQUEST}")
    page.locator("#verify-this").click()
    page.get_by_text("Verified.").wait_for()
    page.locator(".picture input").check(force=True)
    assert page.locator(".picture .when-shown").is_visible()


def test_new_records_are_told(page: Page, running: Running) -> None:
    """Who looks at the timeline while the ledger grows is told, and finds the new request at its top."""
    page.goto(f"{running.address}/")
    with Ledger.open(running.folder) as ledger:
        ledger.append_many(released("brand-new", "2026-03-29"))
        ledger.checkpoint()
    page.get_by_text("new records").wait_for()
    page.reload()
    assert page.locator(".timeline .request a").first.inner_text() == "brand-new"
