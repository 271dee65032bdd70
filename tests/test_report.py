"""The report site, built from a few claims and read in headless Chromium over local HTTP, without external requests."""

import functools
import http.server
import inspect
import json
import shutil
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from scipy import stats

from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.benchmark.wrappers import TransitionWindow
from dmash_core.errors import UserError
from reproduction import drawings, report
from reproduction.evidence import Claim, Finding, Verdict, seeds, unjudged
from reproduction.evidence.claim import as_data


def finding(what, verdict, value=None, published="", **more):
    return Finding(what, verdict, "a < b | c", published=published, value=value, **more)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CONCAT, DR = [0.7 + 0.01 * k for k in range(10)], [0.3 + 0.01 * k for k in range(9)] + [2.6]
PLAN = seeds("DI", "concat", "dr").better()


def claim(id_, kind, verdict, *findings, checked_by=(), used=(), left_out=(), missing=(), cost="", published=()):
    plans = {"figure": (PLAN,), "table": (unjudged("a", "b"),)}.get(kind, ())
    row = Claim(id_, f"Claim {id_} of DMA*-SH says a*b <i>& $5.", "somewhere", kind, "a_b_c", "because | so", plans,
                checked_by=checked_by, published=published, title=f"Title of {id_}")  # fmt: skip
    result = Verdict(id_, verdict, "why *not*", findings[0], 0, {}, findings, used, left_out, missing, cost, "", "")
    worded = [{"date": f"2026-11-2{n}T00:00:00Z", "why": f"wording {n}", "commit": "abc1234"[: 7 * n]} for n in (0, 1)]
    said = {"wordings": worded, "shared_rules": worded[:1], "order": "the runs came after | the wording"}
    said |= {"mark": "fixed before the data" if kind == "figure" else "reads no raw runs"}
    said |= {"forecast": ["3 seeds | more"]}
    said |= {"timeline": [{"date": f"2026-11-2{n} 00:00", "kind": kind, "what": "w", "commit": ""}
             for n, kind in enumerate(("earlier run", "wording", "shared rules", "run"))]}  # fmt: skip
    return json.loads(json.dumps(as_data(row, result) | said))


CLAIMS = [
    claim(
        "A.1", "theorem", "reproduced", finding("proof (Coq: A1_adapter_can)", "reproduced"),
        checked_by=["proofs/README.md", "x.v"],
    ),
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
        published=["headline-1"],
        left_out=[["runs/DI/da/seed-1.parquet", "not a complete Parquet file"], ["runs/DI/da/seed-2.parquet", "old"],
                  ["runs/DI/da/seed-3.parquet", "old"]], missing=["ODE: dr 10 seeds"],
    ),
    claim("T10", "table", "not checked", finding("everything", "not checked")),
    claim(
        "F2", "figure", "reproduced",
        finding(PLAN.what, "reproduced", 0.4, low=0.3, high=0.5, unit="of the range of scores", seeds=10,
                points={"Concat": CONCAT, "DR": DR}),
        finding("order", "undecided"),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site's folder, built from the claims above and one executed notebook."""
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


def test_links_to_documents_that_are_no_pages_become_text(tmp_path):
    """Sphinx would build a page from a copy, without the pictures that the page itself links to."""
    links = "[a](README.md), [b](docs/use.md), [c](Makefile), [d](notebooks/quickstart.ipynb)"
    said = report._linked(links, Path(), {"docs/use.md"}, tmp_path)
    assert said == "a, [b](docs/use.md), [c](Makefile), d"
    assert [path.name for path in tmp_path.rglob("*")] == ["Makefile"]


def test_building_the_site_leaves_signatures_as_they_were(built):
    """autodoc replaces default values by their source, for which Gymnasium's checker would refuse `reset`."""
    for cls in (BatchedEnv, TransitionWindow):
        defaults = [p.default for p in inspect.signature(cls.reset).parameters.values()]
        assert [one for one in defaults if one is not inspect.Parameter.empty] == [None, None]  # seed and options
    assert not report._documented


def test_pages_say_what_was_found(built):
    index = text(built / "index.html")
    assert "Training, 3 checks: 1 reproduced, 1 contradicted, 1 not checked (contradicted: T9)." in index
    assert index.index("Training, 3 checks") < index.index("Theory, 1 check: 1 reproduced.")
    assert "Claim T9 of DMA*-SH says a*b &lt;i&gt;&amp; $5." in index and "12.5 [10, 15] %" in index
    assert "Title of T9" in index and "reads no raw runs, 3; fixed before the data, 1." in index
    assert "No claim about training is decided" in index  # the list at the top of FINDINGS.md
    assert 'href="FINDINGS.html"' in index and "_images/learning-curves-DI.png" in text(built / "FINDINGS.html")
    assert "executed with the profile smoke (make notebooks): quickstart." in index
    page = text(built / "claims" / "T9.html")
    for part in (
        "DR: 0.25, 0.5", "Only here.", "· shown", "without runs yet: 1.", "commit abc1234: wording 1",
        "not committed: wording 0", 'href="../docs/calibration.html"', "T9: Title of T9", "headline-1",
        "Claim T9 of DMA*-SH says a*b &lt;i&gt;&amp; $5.", "58.1 (T9-10)", "12.5 [10, 15] %, 5 seeds at 100,000 steps",
        "make claim ID=T9", "runs/DI/dr/seed-0.parquet", "ODE: dr 10 seeds", "9 hours", "a &lt; b | c", "contradicted",
        "runs/DI/da/seed-1.parquet: not a complete Parquet file", "Forecast: 3 seeds | more.", "Each strip is one",
        "runs/DI/da/seed-2.parquet and 1 more: old", "T9-findings.csv", "✗", 'class="strips"', "reads no raw runs",
        'href="../notebooks/toy_benchmark.html"', "the runs came after | the wording", "In chronological order",
    ):  # fmt: skip
        assert part in page, part
    assert page.index("wording 1") < page.index("wording 0") and "gain elsewhere" not in page
    assert "parameters" in page and "What if?" not in page  # no comparison of T9 is judged by runs here
    assert page.index('class="strips"') < page.index("Comparisons")  # the picture comes first
    order = text(built / "claims" / "F2.html")
    assert "F2-all.png" in order and "evaluated with 10 and with 20 seeds of each arm" in order and "What if?" in order
    api = text(built / "api" / "dmash_core.agents.conditioning.html")
    assert "What actor and critics are conditioned on" in api and 'class="pre">policy<' in api
    toys = text(built / "notebooks" / "toy_benchmark.html")
    assert "<math" in toys and "<td><p>cell</p></td>" in toys and "gone" in toys and "Expressivity.v" in toys
    assert (built / "scores.csv").read_text().startswith("env,arm,seed,step,split,aer\n")


def test_theorems_stand_in_words_beside_their_statements(built):
    found = report.theorems()
    assert len(found) > 50 and found["A1_adapter_can"]["file"] == "Expressivity.v"
    lines = (report.PROOFS / "Expressivity.v").read_text().splitlines()
    assert lines[found["A1_adapter_can"]["line"] - 1].startswith("Theorem A1_adapter_can")
    page = text(built / "proofs" / "theorems.html")
    at = found["A1_adapter_can"]["line"]
    assert f'href="source-Expressivity.html#L{at}"' in page and "equal to s z for all s and z" in page
    assert f'id="L{at}"' in text(built / "proofs" / "source-Expressivity.html")
    assert "theorems.html#a1-adapter-can" in text(built / "claims" / "A.1.html")


def test_round_numbers_on_an_axis():
    assert drawings.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0] and drawings.ticks(-0.03, 0.012) == [
        -0.03,
        -0.02,
        -0.01,
        0,
        0.01,
    ]
    assert drawings.ticks(0, 3421) == [0, 1000, 2000, 3000] and drawings.ticks(5, 5) == [5]


def test_mistakes_are_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="claims.json does not exist: run make claims"):
        report.build(tmp_path / "site", tmp_path / "claims.json")
    (tmp_path / "claims.json").write_text("[]")
    with pytest.raises(UserError, match="claims.json was not written by dmash claims"):
        report.build(tmp_path / "site", tmp_path / "claims.json")
    (tmp_path / "claims.json").write_text(json.dumps({"claims": []}))
    with pytest.raises(UserError, match="contains something other than a report: choose another --out"):
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


FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@pytest.fixture
def page(url):
    """A page in headless Chromium whose `faults` must stay empty: errors, warnings, HTTP >= 400, other hosts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        faults = page.faults = []
        page.on("console", lambda m: m.type in ("error", "warning") and faults.append(f"{page.url}: {m.text}"))
        page.on("pageerror", lambda e: faults.append(f"{page.url}: {e}"))
        page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
        page.on("request", lambda r: r.url.startswith("http") and not r.url.startswith(url) and faults.append(r.url))
        yield page
        browser.close()
    assert not faults, faults


def rows(page):
    return page.locator("table.claims tbody tr:visible th a").all_text_contents()


def inside(page):
    """Whether nothing overflows the page to the right."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get update && apt-get install -y chromium"
)


@needs_chromium
def test_two_minutes_of_a_reviewer(page, url, tmp_path):
    """Front page, filter, claim page, what-if, theorem, search, dark mode and phone width show the right content."""
    page.goto(url)
    assert page.locator("figure.state .part").all_text_contents() == ["1 ✓", "1 ✗", "1 –", "1 ✓"]
    assert rows(page) == ["T9", "T10", "F2", "A.1"]  # training first
    assert page.locator(".claims-filter output").text_content() == "4 of 4 claims"

    # filters, kept in the address
    page.locator("figure.state .part", has_text="✗").click()
    page.wait_for_url("**?area=training&verdict=contradicted")
    assert rows(page) == ["T9"]
    page.select_option("select[name=verdict]", "")
    assert rows(page) == ["T9", "T10", "F2"] and page.url.endswith("?area=training")
    page.locator(".claims-filter input").fill("headline-1")
    assert rows(page) == ["T9"] and page.url.endswith("?q=headline-1&area=training")
    page.reload()
    assert rows(page) == ["T9"] and page.input_value("select[name=area]") == "training"
    page.goto(url)
    page.locator("table.claims th.measured button").click()  # sorted within units; rows without a number come last
    assert rows(page)[:3] == ["T9", "F2", "T10"]

    # a claim
    page.locator("table.claims tbody a", has_text="F2").click()
    page.wait_for_url("**/claims/F2.html")
    assert page.title().startswith("F2: Title of F2")
    assert page.locator(".strip i.ours").count() == 1 and page.locator(".strip i.interval").count() == 1
    assert page.locator("figure.timeline svg circle").count() == 2

    # what if: the interval is scipy's Welch interval, and leaving out a run changes the verdict
    for p, freedom in ((0.985, 9), (0.95, 2.7), (0.99, 61.3)):
        found = page.evaluate("([p, f]) => studentQuantile(p, f)", [p, freedom])
        assert found == pytest.approx(stats.t.ppf(p, freedom), rel=1e-9)
    said = page.locator(".what-if .said")
    theirs = stats.ttest_ind(CONCAT, DR, equal_var=False).confidence_interval(0.97)
    words = said.text_content().split("Interval ")[1].split(":")[0].split(" to ")
    assert [float(word) for word in words] == pytest.approx(list(theirs), rel=0.01)
    assert "the verdict would be undecided" in said.text_content()
    page.locator(".what-if button", has_text="2.6").click()
    assert (
        "the verdict would be reproduced" in said.text_content() and "needs 10 seeds for a look" in said.text_content()
    )
    page.locator(".what-if select").select_option("bootstrap")
    assert "the verdict would be reproduced" in said.text_content()
    for k in range(3, 10):
        page.locator(".what-if .runs div").first.locator("button").nth(k).click()
    assert "No interval with fewer than 5 seeds" in said.text_content()

    # a theorem: from the claim to its wording, statement and line
    page.goto(f"{url}claims/A.1.html")
    page.locator("a", has_text="A1_adapter_can").first.click()
    page.wait_for_url("**/proofs/theorems.html#a1-adapter-can")
    page.locator("article a[href*='source-Expressivity']").first.click()
    assert page.locator("pre.source span:target").text_content().strip().split(maxsplit=1)[1].startswith("Theorem")

    # the site's search
    for words, title in (("headline-1", "T9"), ("actuator", "")):
        page.goto(f"{url}search.html?q={words}")
        page.wait_for_selector("#search-results li a")
        assert title in page.locator("#search-results li a").first.text_content()

    # dark mode: text and badges contrast with their background
    page.emulate_media(color_scheme="dark")
    page.goto(url)
    light = "e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
    for badge in page.locator(".verdict").all():
        assert badge.evaluate(light) > 120
    page.screenshot(path=str(tmp_path / "dark.png"))

    # phone width: the verdict is visible, and nothing overflows
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    for address in (url, f"{url}claims/F2.html"):
        page.goto(address)
        assert inside(page), address
    page.goto(url)
    box = page.locator("table.claims tbody .verdict").first.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= 390
    page.screenshot(path=str(tmp_path / "phone.png"))


@needs_chromium
def test_every_page_and_link_of_the_site(page, url):
    """Every reachable page, every file that a page links to or shows, and keyboard use of the table."""
    page.goto(url)
    page.locator(".claims-filter input").focus()
    page.keyboard.type("gain DR")
    assert rows(page) == ["T9"]
    page.locator(".claims-filter input").fill("no such words")
    assert rows(page) == [] and page.locator(".claims-filter output").text_content() == "0 of 4 claims"
    page.locator(".claims-filter input").fill("")
    page.locator("table.claims thead button").first.focus()  # numbers sort numerically, each area separately
    page.keyboard.press("Enter")
    assert rows(page) == ["F2", "T9", "T10", "A.1"]
    page.keyboard.press("Enter")
    assert rows(page) == ["T10", "T9", "F2", "A.1"]
    assert page.get_attribute("table.claims thead th >> nth=0", "aria-sort") == "descending"
    todo, done = [url], set()
    while todo:
        if (address := todo.pop().partition("?")[0]) in done:
            continue
        done.add(address)
        if address.endswith((".html", "/")):
            page.goto(address)
            broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
            page.faults += [f"{address}: no picture {src}" for src in page.evaluate(broken)]
            ids = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
            for link in page.evaluate("[...document.links].map(a => a.href)"):
                target, _, anchor = link.partition("#")
                if anchor and target == address and anchor not in ids:
                    page.faults.append(f"{address}: no anchor #{anchor}")
                todo += [target] if target.startswith(url) else []
        elif page.request.get(address).status != 200:
            page.faults.append(f"dead link: {address}")
    wanted = (
        "play/variance.html",
        "claims/T9.html",
        "notebooks/toy_benchmark.html",
        "proofs/theorems.html",
        "/scores.csv",
    )
    for expected in wanted:
        assert any(address.endswith(expected) for address in done), expected
    page.goto(url)
    page.emulate_media(media="print")
    assert page.locator(".claims-filter").is_hidden() and len(rows(page)) == 4
