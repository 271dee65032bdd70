"""The report site: built from a few claims, read in headless Chromium over local http, with no network and no fault."""

import functools
import http.server
import json
import shutil
import threading

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_explorer import CHROMIUM

from dmash_core.errors import UserError
from reproduction import report
from reproduction.evidence import Claim, Finding, Verdict, seeds
from reproduction.evidence.claim import as_data


def finding(what, verdict, value=None, published="", **more):
    return Finding(what, verdict, "a < b | c", published=published, value=value, **more)


def claim(id_, kind, verdict, *findings, checked_by=(), used=(), left_out=(), missing=(), cost=""):
    plans = (seeds("DI", "concat", "dr").better(),) * (kind == "figure")
    row = Claim(id_, f"Claim {id_} of DMA*-SH says a*b <i>& $5.", "somewhere", kind, "a_b_c", "because | so", plans,
                checked_by=checked_by)  # fmt: skip
    result = Verdict(id_, verdict, "why *not*", findings[0], 0, {}, findings, used, left_out, missing, cost, "", "")
    worded = [{"date": f"2026-11-2{n}T00:00:00Z", "why": f"wording {n}", "commit": "abc1234"[: 7 * n]} for n in (0, 1)]
    said = {"wordings": worded, "shared_rules": worded[:1], "order": "the runs came after | the wording"}
    return json.loads(json.dumps(as_data(row, result) | said))


CLAIMS = [
    claim("A.1", "theorem", "reproduced", finding("proof", "reproduced"), checked_by=["proofs/README.md", "x.v"]),
    claim(
        "T9", "table", "contradicted",
        finding("gain over DR", "contradicted", 12.5, "58.1", published_id="T9-10", low=10.0, high=15.0, unit="%",
                seeds=5, steps={"DI": 100_000}, paper=58.1, scope="Only here.", points={"DR": [0.25, 0.5]}),
        finding("gain over DA", "undecided", 1.5, "4.6", published_id="T9-12", unit="%", seeds=1, steps={"DI": 50_000}),
        finding("gain over Concat", "not checked"),
        finding("gain in training", "shown", 3.5, "50", unit="%", judged=False),
        finding("gain elsewhere", "shown", judged=False, scope="Only there."),
        finding("parameters", "shown", judged=False),
        checked_by=["notebooks/toy_benchmark.ipynb"], used=["runs/DI/dr/seed-0.parquet"], cost="9 hours",
        left_out=[["runs/DI/da/seed-1.parquet", "not a whole Parquet file"], ["runs/DI/da/seed-2.parquet", "old"],
                  ["runs/DI/da/seed-3.parquet", "old"]], missing=["ODE: dr 10 seeds"],
    ),
    claim("T10", "table", "not checked", finding("everything", "not checked")),
    claim("F2", "figure", "undecided", finding("order", "undecided")),
]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site's folder, from the claims above and one executed notebook."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "claims.json").write_text(json.dumps({"claims": CLAIMS}))
    (folder / "notebooks" / "figures").mkdir(parents=True)
    for suffix in ("png", "csv"):
        shutil.copy(report.ROOT / "figures" / f"aer.{suffix}", folder / "notebooks" / "figures" / f"F2-all.{suffix}")
    cells = [
        new_markdown_cell(
            "# Toys\n\n$a^2$, [a page](../docs/deviations.md), [code](../proofs/Expressivity.v), [gone](x.py)"
        ),
        new_code_cell(
            "1", outputs=[new_output("display_data", {"text/markdown": "| a | b |\n|---|---|\n| cell | 2 |"})]
        ),
    ]
    for name, profile in (("toy_benchmark", "recorded"), ("quickstart", "smoke")):
        metadata = {"language_info": {"name": "python"}, "papermill": {"parameters": {"profile": profile}}}
        nbformat.write(new_notebook(cells=cells, metadata=metadata), folder / "notebooks" / f"{name}.ipynb")
    return report.build(folder / "site", folder / "claims.json", folder / "notebooks").parent


def text(path):
    return path.read_text()


def test_pages_say_what_was_found(built):
    index = text(built / "index.html")
    assert "1 reproduced, 1 contradicted, 1 undecided, 1 not checked." in index
    assert "Claim T9 of DMA*-SH says a*b &lt;i&gt;&amp; $5." in index and "12.5 [10, 15] %" in index
    assert "executed under the profile smoke (make notebooks): quickstart." in index
    page = text(built / "claims" / "T9.html")
    for part in (
        "DR: 0.25, 0.5", "Only here.", "· shown", "without runs yet: 1.", "commit abc1234: wording 1",
        "not committed: wording 0", 'href="../docs/calibration.html"',
        "Claim T9 of DMA*-SH says a*b &lt;i&gt;&amp; $5.", "58.1 (T9-10)", "12.5 [10, 15] %, 5 seeds at 100,000 steps",
        "make claim ID=T9", "runs/DI/dr/seed-0.parquet", "ODE: dr 10 seeds", "9 hours", "a &lt; b | c", "contradicted",
        "runs/DI/da/seed-1.parquet: not a whole Parquet file",
        "runs/DI/da/seed-2.parquet and 1 more: old", "T9-findings.png", "✗",
        'href="../notebooks/toy_benchmark.html"',
    ):  # fmt: skip
        assert part in page, part
    assert page.index("wording 1") < page.index("wording 0") and "gain elsewhere" not in page
    assert "parameters" in page
    order = text(built / "claims" / "F2.html")
    assert "the runs came after | the wording" in order and "the runs came after" not in page
    assert "F2-all.png" in order and "looked at with 10 and with 20 seeds of each arm" in order
    toys = text(built / "notebooks" / "toy_benchmark.html")
    assert "<math" in toys and "<td><p>cell</p></td>" in toys and "gone" in toys and "Expressivity.v" in toys


def test_mistakes_are_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no .*claims.json: make claims"):
        report.build(tmp_path / "site", tmp_path / "claims.json")
    (tmp_path / "claims.json").write_text("[]")
    with pytest.raises(UserError, match="claims.json is not what dmash claims writes"):
        report.build(tmp_path / "site", tmp_path / "claims.json")
    (tmp_path / "claims.json").write_text(json.dumps({"claims": []}))
    with pytest.raises(UserError, match="holds something else than a report and is not replaced"):
        report.build(tmp_path, tmp_path / "claims.json")
    assert (tmp_path / "claims.json").exists()


@pytest.fixture
def url(built):
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=built))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get update && apt-get install -y chromium")
def test_the_site_in_a_browser(url, tmp_path):
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    faults, foreign = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda m: m.type in ("error", "warning") and faults.append(f"{page.url}: {m.text}"))
        page.on("pageerror", lambda e: faults.append(f"{page.url}: {e}"))
        page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
        page.on("request", lambda r: r.url.startswith("http") and not r.url.startswith(url) and foreign.append(r.url))
        page.goto(url)

        def shown():
            return page.locator("table.claims tbody tr:visible th").all_text_contents()

        def said():
            return page.locator(".claims-filter output").text_content()

        assert shown() == ["A.1", "T9", "T10", "F2"] and said() == "4 of 4 claims"
        page.select_option("select[name=kind]", "table")
        assert shown() == ["T9", "T10"] and said() == "2 of 4 claims"
        page.select_option("select[name=verdict]", "contradicted")
        assert shown() == ["T9"]
        page.select_option("select[name=kind]", "")
        page.select_option("select[name=verdict]", "")
        page.locator(".claims-filter input").focus()
        page.keyboard.type("gain DR")
        assert shown() == ["T9"]
        page.locator(".claims-filter input").fill("no such words")
        assert shown() == [] and said() == "0 of 4 claims"
        page.locator(".claims-filter input").fill("")
        page.locator("table.claims thead button").first.focus()  # numbers sort as numbers
        page.keyboard.press("Enter")
        assert shown() == ["A.1", "F2", "T9", "T10"]
        page.keyboard.press("Enter")
        assert shown() == ["T10", "T9", "F2", "A.1"]
        assert page.get_attribute("table.claims thead th >> nth=0", "aria-sort") == "descending"
        page.screenshot(path=str(tmp_path / "front.png"))
        page.locator("table.claims tbody a", has_text="T9").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/claims/T9.html")
        assert page.title().startswith("T9") and page.locator("article img").count() == 1
        page.screenshot(path=str(tmp_path / "claim.png"), full_page=True)

        # Every page that can be reached, and every file that any of them links to or shows.
        todo, done = [url], set()
        while todo:
            if (address := todo.pop()) in done:
                continue
            done.add(address)
            if address.endswith((".html", "/")):
                page.goto(address)
                broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
                faults += [f"{address}: no picture {src}" for src in page.evaluate(broken)]
                links = page.evaluate("[...document.links].map(a => a.href)")
                for link in links:
                    target, _, anchor = link.partition("#")
                    if (
                        anchor
                        and target == page.url.partition("#")[0]
                        and not page.evaluate("id => !!document.getElementById(decodeURIComponent(id))", anchor)
                    ):
                        faults.append(f"{address}: no anchor #{anchor}")
                    todo += [target] if target.startswith(url) else []
            elif page.request.get(address).status != 200:
                faults.append(f"dead link: {address}")
        for expected in ("claims/T9.html", "notebooks/toy_benchmark.html", "proofs/README.html"):
            assert url + expected in done, expected

        page.goto(f"{url}search.html?q=decomposition")  # the search works without a server that computes
        page.wait_for_selector("#search-results li")
        page.goto(url)
        page.emulate_media(media="print")
        assert page.locator(".claims-filter").is_hidden() and len(shown()) == 4
        browser.close()
    assert not faults, faults
    assert not foreign, foreign
