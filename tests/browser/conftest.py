"""A console in a process of its own, as its user starts it, and a real Chromium that looks at it.

Every page that a test opens is watched: a request to any other host, a violation of the content security policy, an
error of a script, or a dialog fails the test.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from safegen.ledger import ImageOutcome, Ledger, PolicyChanged, timestamp
from tests.unit.serve.conftest import FORMULA, HEX, HOSTILE, failed, refused, released, requested, withheld

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
COMMAND = [sys.executable, "-c", "from safegen.cli import main; main()", "console"]
IMAGE_REQUEST = "picture-1"


@dataclass
class Running:
    """A console that runs: where, over which ledger, and the address that logs in next."""

    address: str
    folder: Path
    process: subprocess.Popen[str]
    login: str = ""

    def next_login(self) -> str:
        """The address that the terminal shows now; it works once."""
        used, self.login = self.login or self._read(), ""
        return used

    def after_login(self) -> None:
        """Read the address that follows one that was used."""
        self.login = self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "/login#" in line:
                return line.split()[-1]
        pytest.fail("the console ended")


@pytest.fixture(scope="session")
def ledger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred requests of every kind over a month, one with an image, one with hostile texts, two policies."""
    folder = tmp_path_factory.mktemp("browser") / "ledger"
    images = folder.parent / "images"
    images.mkdir()
    content = _picture()
    (images / "drawn.png").write_bytes(content)
    makers = (released, released, released, withheld, refused, failed)
    newer = {"policy": {"id": "default", "version": "2", "digest": "sha256:" + "cd" * 32}}
    with Ledger.open(folder) as ledger:
        for number in range(200):
            day = (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number // 8)).date().isoformat()
            maker = makers[number % len(makers)]
            changes = newer if maker is released and number > 100 else {}
            ledger.append_many(maker(f"request-{number:03}", day, **changes))
        time = timestamp(datetime(2026, 3, 14, tzinfo=UTC))
        ledger.append(
            PolicyChanged(time=time, policy_id="default", old_digest=f"sha256:{HEX}", new_digest="sha256:" + "cd" * 32)
        )
        image = ImageOutcome(index=0, png_sha256=sha256(content).hexdigest(), pixels_sha256=HEX, outcome="released")
        *first, last = released(IMAGE_REQUEST, "2026-03-27")
        ledger.append_many([*first, last.model_copy(update={"images": (image,)})])
        ledger.append_many(refused("hostile-1", "2026-03-27", HOSTILE))
        ledger.append_many(failed("formula-1", "2026-03-27", FORMULA))
        ledger.append(requested("open-1", "2026-03-28"))
        ledger.checkpoint()
    return folder


def _picture() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((128, 128)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def running(ledger_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`safegen console` over that ledger."""
    options = ["--port", "0", "--images", str(ledger_folder.parent / "images")]
    index = tmp_path_factory.mktemp("index") / "index.db"
    process = subprocess.Popen(
        [*COMMAND, str(ledger_folder), *options, "--index", str(index)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    running = Running("", ledger_folder, process)
    running.login = running._read()
    running.address = running.login.partition("/login")[0]
    yield running
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Closed after its tests, as Playwright keeps an event loop running meanwhile."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def cookies(browser: Browser, running: Running) -> list[dict[str, object]]:
    """The session of one login, for all tests of a module that do not log in themselves."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(running.next_login())
    page.wait_for_url(f"{running.address}/")
    running.after_login()
    found = context.cookies()
    context.close()
    return found


@pytest.fixture
def watched(browser: Browser, running: Running) -> Iterator[Callable[..., Page]]:
    """Opens pages in contexts of their own, and fails the test for what none of them may do."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def check_request(url: str) -> None:
        if f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" != running.address:
            problems.append(f"asked {url}")

    def open_page(**options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("request", lambda request: check_request(request.url))
        page.on("console", lambda message: problems.append(message.text) if _is_bad(message) else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def page(watched: Callable[..., Page], cookies: list[dict[str, object]]) -> Page:
    """A page of a context that has logged in."""
    page = watched()
    page.context.add_cookies(cookies)
    return page


def _is_bad(message: object) -> bool:
    text, kind = message.text, message.type  # type: ignore[attr-defined]
    return "Content Security Policy" in text or (kind == "error" and "Failed to load resource" not in text)
