"""The explorer end to end: served by Voila, driven in headless Chromium, a slider moved by keys."""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reproduction.theory import explorer
from reproduction.theory.explorer import Picture, Samples, Scenario

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def samples():
    rng = np.random.default_rng(0)
    mass, mode = np.tile([0.5, 1.0, 1.5], 2), np.repeat([1.0, -1.0], 3)
    label = rng.permutation(np.repeat(np.arange(6), 40))
    z = np.stack([mode, 0.3 * mass], axis=1)[label] + 0.1 * rng.standard_normal((240, 2))
    return Samples(z, label, mode, mass)


def test_learned_codes_stay_as_they_are_at_their_own_knobs():
    taken = samples()
    law = explorer.scenario_law(explorer.measure(taken), taken, atoms=10**6)
    assert law.variability() == pytest.approx(taken.law().variability(), rel=1e-9)
    between = explorer.scenario_law(explorer.replace(explorer.measure(taken), separation=0.0), taken, atoms=10**6)
    assert between.variability() < 0.2 * law.variability()


@pytest.mark.parametrize("knobs", [Scenario(), Scenario(0, 0, 0), Scenario(dim=1), Scenario(compression=1.0, p=0.05)])
def test_picture_of_every_corner(knobs):
    law, numbers = explorer.report(knobs)
    assert all(np.isfinite(value) for value in numbers.values())
    assert sum(numbers[k] for k in explorer.TERMS) == pytest.approx(numbers["variability"], rel=1e-12, abs=1e-15)
    assert numbers["variance"] <= numbers["bound"] * (1 + 1e-9)
    assert Picture().draw(law, numbers).startswith(b"\xff\xd8")


def test_overlaid_picture_is_the_same_as_a_fresh_one():
    picture = Picture()
    for compression in (0.0, 0.1, 0.2):
        drawn = picture.draw(*explorer.report(Scenario(compression=compression)))
    assert drawn == Picture().draw(*explorer.report(Scenario(compression=0.2)))


@pytest.fixture
def page_url(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    paths = [str(ROOT / "notebooks" / "jupyter"), os.environ.get("JUPYTER_PATH", "")]
    environment = os.environ | {"JUPYTER_PATH": os.pathsep.join(filter(None, paths)), "JUPYTER_PREFER_ENV_PATH": "1"}
    options = ["--template=dmash", "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-m", "voila", "notebooks/explorer.ipynb", *options]
    with open(tmp_path / "voila.log", "w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            assert server.poll() is None, (tmp_path / "voila.log").read_text()
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get update && apt-get install -y chromium")
def test_explorer_in_a_browser(page_url, tmp_path):
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
    faults, foreign = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
        page.on("pageerror", lambda e: faults.append(f"page: {e}"))
        page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
        page.on("request", lambda r: r.url.startswith("http") and page_url not in r.url and foreign.append(r.url))
        page.goto(page_url, timeout=120_000)
        page.wait_for_selector(".number-within-context", timeout=120_000)

        def number(name):
            return float(page.text_content(f".number-{name}"))

        def picture():
            return page.evaluate("""async () => {
                const data = await (await fetch(document.querySelector('img').src)).arrayBuffer();
                const hash = await crypto.subtle.digest('SHA-256', data);
                return data.byteLength + ':' + [...new Uint8Array(hash)].join()}""")

        def shown():
            return page.text_content("table.numbers"), page.get_attribute("img", "src")

        def wait_for_both(before):  # picture and numbers arrive one after the other
            page.wait_for_function(
                "b => document.querySelector('table.numbers').textContent !== b[0]"
                " && document.querySelector('img').src !== b[1]", arg=before, timeout=60_000)  # fmt: skip

        def press(title, key, times=1):
            slider = page.locator(".widget-slider", has_text=title).locator(".noUi-handle")
            slider.focus()
            took = []
            for _ in range(times):
                before = shown()
                slider.press(key)
                wait_for_both(before)
                took.append(float(page.text_content(".took")))
            return took

        start, image = number("within-context"), picture()
        took = press("noise", "ArrowRight", 10)
        assert number("within-context") > 1.2 * start
        assert picture() != image
        kept = number("between-mode")
        press("compression", "End")
        assert number("within-context") == 0 and number("within-mode") == 0
        assert number("between-mode") == pytest.approx(kept, rel=0.1)
        assert abs(number("information") - np.log(2)) < 1e-3
        assert number("variance") <= number("bound") * 1.001
        presets = page.locator("select option").all_text_contents()
        if len(presets) > 1:  # trained networks are there
            before = shown()
            page.select_option("select", label=presets[-1])
            wait_for_both(before)
            assert number("variability") != pytest.approx(1.0, rel=1e-3)
        page.screenshot(path=str(tmp_path / "explorer.png"))
        browser.close()
    print(f"redraw: median {statistics.median(took):.0f} ms, screenshot {tmp_path / 'explorer.png'}")
    assert not faults, faults
    assert not foreign, foreign
    assert statistics.median(took) < 150, took
