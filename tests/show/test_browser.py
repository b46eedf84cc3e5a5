"""In a real browser: JupyterLab runs the tour, a slider changes the plot, the explorer page reacts and remembers.

Screenshots go to ``out/screenshots`` of the checkout (``CAPSIM_SCREENSHOTS`` names another folder).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
SHOTS = Path(os.environ.get("CAPSIM_SCREENSHOTS", ROOT / "out" / "screenshots"))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 300_000  # never a wall time to hold: only when to give up on a busy machine
MOVES = 100

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_500),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as player:
        started = player.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser):
    made = browser.new_page(viewport={"width": 1_280, "height": 900})
    made.set_default_timeout(PATIENCE_MS)
    made.problems = []
    made.on("console", lambda said: made.problems.append(said.text) if said.type == "error" else None)
    made.on("pageerror", lambda error: made.problems.append(str(error)))
    yield made
    made.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(arguments, address, folder=None):
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return process
        except OSError:
            assert process.poll() is None, f"{arguments} ended with {process.returncode}"
            time.sleep(0.2)
    process.kill()
    raise AssertionError(f"{address} does not answer")


def ended(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()


def shot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def explorer():
    address = f"http://127.0.0.1:{free_port()}/"
    process = started(["capsim", "app", "--no-show", "--port", address.split(":")[2].strip("/")], address)
    yield address
    ended(process)


def redraws(page):
    return int(page.locator("#answer").get_attribute("data-redraws") or 0)


def opened(page, address):
    page.goto(address)
    page.wait_for_selector("#answer[data-redraws]")


def move(page, knob, key):
    before = redraws(page)
    page.locator(f"#{knob}").focus()
    page.keyboard.press(key)
    page.wait_for_selector(f'#answer[data-redraws="{before + 1}"]')


def test_every_knob_of_the_page_redraws_by_the_keyboard(page, explorer):
    opened(page, explorer)
    for knob in page.locator("#knobs input, #knobs select").all():
        name = knob.get_attribute("id")
        seen = page.url
        key = "ArrowLeft" if name in ("load", "pool", "delay") else "ArrowDown"
        move(page, name, "End" if name == "stall" else key)
        assert page.url != seen and f"{name}=" in page.url, name
    shot(page, "explorer_all_knobs")
    assert page.problems == []


def test_the_page_survives_a_reload_and_ends_exact(page, explorer):
    opened(page, explorer + "?load=2&stall=1800&buffer=500")
    page.wait_for_selector("#status[data-fidelity=exact]")
    told = page.locator("#figures").inner_text()
    shot(page, "explorer_wedge")

    page.reload()
    page.wait_for_selector("#status[data-fidelity=exact]")

    assert page.locator("#stall-value").inner_text() == "1,800 s"
    assert page.locator("#figures").inner_text() == told and "items lost" in told
    with page.expect_download() as download:
        page.locator("#download").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert "rate_hz = 2.0" in text and "to_s = 45000" in text
    assert page.problems == []


def test_a_wrong_address_is_told_on_the_page(page, explorer):
    opened(page, explorer + "?stall=7&x=1")

    said = page.get_by_role("alert").inner_text()
    assert "stall = 7: is no step of it" in said and "x: there is no such setting" in said
    assert page.problems == []


def test_the_page_fits_a_narrow_screen(page, explorer):
    page.set_viewport_size({"width": 360, "height": 740})
    opened(page, explorer)
    shot(page, "explorer_narrow")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_has_no_serious_finding_of_axe(page, explorer):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    opened(page, explorer)

    found = axe.Axe().run(page).response["violations"]

    assert [(one["id"], one["impact"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_the_redraw_time_is_measured(page, explorer, capsys):
    """Prints median and 95th percentile of 100 moves; how long they take is the machine's business."""
    opened(page, explorer + "?stall=60")
    page.wait_for_selector("#status[data-fidelity=exact]")
    took_ms = []
    for number in range(MOVES):
        knob = ("stall", "buffer", "batch", "delay", "pool", "heap")[number % 6]
        top = page.locator(f"#{knob}").get_attribute("max")
        at_top = page.locator(f"#{knob}").input_value() == top
        move(page, knob, "ArrowLeft" if at_top or (number % 12 < 6 and number > 11) else "ArrowRight")
        took_ms.append(int(page.locator("#answer").get_attribute("data-took-ms")))
    took_ms.sort()
    with capsys.disabled():
        print(f"\nredraw: median {statistics.median(took_ms):.0f} ms, p95 {took_ms[94]} ms over {MOVES} moves")
    assert redraws(page) >= MOVES and page.problems == []


@pytest.fixture
def lab(tmp_path):
    """JupyterLab as `capsim lab` starts it, without a token, on a copy of the notebooks."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, tmp_path)
    port = free_port()
    process = started(
        ["jupyterlab", "--allow-root", f"--ServerApp.root_dir={tmp_path}", f"--ServerApp.port={port}",
         "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.open_browser=False",
         "--LabApp.default_url=/lab/tree/00_tour.ipynb"], f"http://127.0.0.1:{port}/api", tmp_path,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}/"
    ended(process)


def test_jupyterlab_runs_the_tour_and_a_slider_changes_the_plot(page, lab):
    page.goto(lab + "lab/tree/00_tour.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    slider = page.locator(".jp-Notebook .widget-slider .noUi-handle").nth(1)
    slider.wait_for()
    last = page.locator(".jp-CodeCell").last
    prompt = last.locator(".jp-InputPrompt")
    playwright.expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=PATIENCE_MS)
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator(".jp-RenderedHTMLCommon table caption").count() >= 5
    picture = page.locator(".jp-Notebook .widget-image").first
    picture.scroll_into_view_if_needed()
    before = picture.get_attribute("src")
    shot(page, "lab_tour")

    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")

    for _ in range(int(PATIENCE_MS / 500)):
        if picture.get_attribute("src") != before:
            break
        page.wait_for_timeout(500)
    assert picture.get_attribute("src") != before
    shot(page, "lab_slider_moved")
    assert [text for text in page.problems if "capsim" in text or "widget" in text.lower()] == []
