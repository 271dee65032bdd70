"""The report site: the table of claims, a page per claim, the executed notebooks, the proofs and the documents.

Sphinx with myst-nb and furo builds it from build/claims.json (`dmash claims`) and build/notebooks (`dmash notebooks`).
Nothing is computed here. The site works offline: docutils converts mathematics to MathML at build time.
"""

import html
import io
import json
import pkgutil
import re
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import jinja2
import nbformat
import pandas as pd
from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

import dmash_core
from dmash_core.errors import UserError
from reproduction import drawings, manifest
from reproduction.evidence.claim import AREAS, tally
from reproduction.evidence.comparisons import Finding
from reproduction.evidence.show import MARKS, area_lines, first_sentence, why_without_places
from reproduction.paths import PROOFS, ROOT
from reproduction.play import export as play
from reproduction.play import variance

SITE = Path(__file__).with_name("site")  # templates, style and script
SCORES = ROOT / manifest.SCORES
SHOWN = "·"  # next to a comparison that is not judged
DOCUMENTS = ("FINDINGS.md", "proofs/README.md", "runs/README.md", "benchmarks/README.md", "docs/*.md", "CHANGELOG.md")
_SETTINGS = {
    "extensions": ["myst_nb", "sphinx.ext.autodoc", "reproduction.report"],
    "autodoc_default_options": {"members": True, "member-order": "bysource", "show-inheritance": True},
    "autodoc_typehints": "none",  # the source's signatures have them; shapes are in the text
    "autodoc_preserve_defaults": True,
    "project": "dmash",
    "html_title": "dmash: checked claims",
    "html_theme": "furo",
    "html_math_renderer": "mathml",
    "html_static_path": [str(SITE / "static")],
    "html_css_files": ["report.css"],
    "html_js_files": [("report.js", {"defer": "defer"})],
    "html_favicon": str(SITE / "static" / "favicon.svg"),
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_use_index": False,
    "myst_enable_extensions": ["dollarmath"],
    "myst_heading_anchors": 3,
    "nb_execution_mode": "off",
    "nb_render_markdown_format": "myst",
    "nb_merge_streams": True,
    "nb_ipywidgets_js": {},
}

_documented: list = []
"""Functions to which autodoc gave a signature of strings (autodoc_preserve_defaults) that others must not see."""


def setup(app) -> dict:
    """Sphinx extension entry point: convert TeX to MathML at build time, so that pages need no script and no font."""

    def renderer(block):
        def visit(writer, node):
            writer.body.append(tex2mathml(node.astext(), as_block=block))
            raise SkipNode

        return visit

    app.connect("autodoc-process-docstring", _as_rst)
    app.connect("autodoc-before-process-signature", lambda app, function, bound: _documented.append(function))
    app.add_html_math_renderer("mathml", (renderer(False), None), (renderer(True), None))
    return {"parallel_read_safe": True}


def _as_rst(app, what, name, thing, options, lines: list[str]) -> None:
    """Escape reStructuredText markup in docstrings, which are plain text with `code`."""
    for i, line in enumerate(lines):
        if set(line) <= set("= "):  # a table border
            continue
        parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
        lines[i] = "".join(
            f"``{part.strip('`')}``" if n % 2 else re.sub(r"([*|_\\`])", r"\\\1", part) for n, part in enumerate(parts)
        )


def _api(source: Path) -> list[str]:
    """Write a page per module of dmash_core (without packages) into `source`/api. Returns their contents entries."""
    (source / "api").mkdir()
    names = sorted(
        module.name for module in pkgutil.walk_packages(dmash_core.__path__, "dmash_core.") if not module.ispkg
    )
    for name in names:
        text = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
        (source / "api" / f"{name}.md").write_text(text)
    return [f"{name.removeprefix('dmash_core.')} <api/{name}>" for name in names]


def _md(text: str) -> str:
    """Escape plain text as one line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>$|#~^])", r"\\\1", " ".join(str(text).split()))


def _badge(verdict: str) -> str:
    return f'<span class="verdict {verdict.replace(" ", "-")}">{MARKS.get(verdict, SHOWN)} {verdict}</span>'


_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(SITE), undefined=jinja2.StrictUndefined)
_TEMPLATES.filters |= {"md": _md, "badge": _badge, "mark": lambda mark: f'<span class="rule-mark">{mark}</span>'}


def _linked(text: str, folder: Path, pages: set[str], source: Path) -> str:
    """Markdown of `folder` (below ROOT) for the site: linked files are copied, other links are replaced by their
    text. So are links to documents and notebooks that are not pages: Sphinx would build a page from each copy."""

    def link(match):
        whole, label, target = match.group(0, 1, 2)
        path = (ROOT / folder / target.partition("#")[0]).resolve()
        if re.match(r"[a-z]+:|#", target) or path in {ROOT / page for page in pages}:
            return whole
        if not (path.is_file() and path.is_relative_to(ROOT)) or path.suffix in {".md", ".ipynb"}:
            return label
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        return whole

    return re.sub(r"(?<!`)\[([^\]\[]*)\]\(([^)\s]+)\)", link, text)


def _notebook(path: Path, executed: Path) -> tuple[nbformat.NotebookNode | None, str]:
    """(executed copy of a notebook, ""), or (None, the reason why the site has no page for it)."""
    try:
        notebook = nbformat.read(executed / path.name, as_version=4)
    except FileNotFoundError:
        return None, "not executed (make notebooks)"
    said = notebook.metadata.get("papermill", {})
    if said.get("exception"):
        return None, "execution failed (make notebooks)"
    if (profile := said.get("parameters", {}).get("profile", "recorded")) != "recorded":
        return None, f"executed with the profile {profile} (make notebooks)"
    return notebook, ""


def _pictures(claim: dict, figures: Path, out: Path) -> list[str]:
    """Copy a claim's pictures from notebooks to `out`, each as PNG with its CSV, and return their names. Also write the
    numbers behind the picture that the page itself draws."""
    names = []
    for path in [*figures.glob(f"{claim['id']}.png"), *sorted(figures.glob(f"{claim['id']}-*.png"))]:
        shutil.copy(path, out)
        shutil.copy(path.with_suffix(".csv"), out)
        names.append(path.stem)
    found = [one for one in claim["result"]["findings"] if one["value"] is not None]
    if found:
        columns = ["what", "verdict", "published", "published_id", "paper", "value", "low", "high", "unit", "seeds"]
        table = pd.DataFrame([{name: one[name] for name in columns} for one in found])
        table.to_csv(out / f"{claim['id']}-findings.csv", index=False, float_format="%.6g", lineterminator="\n")
    return names


def _what_if(claim: dict) -> str:
    """The judged comparisons of a claim with their single values and rules, as JSON for the page; empty if there are
    none.

    Comparisons that need the published study's own error or leave environments out are not re-judged on the page.
    """
    rows = []
    for one in claim["result"]["findings"]:
        rule = claim["rules"].get(one["what"])
        if one["judged"] and one["points"] and rule and not rule["estimated"] and not rule["leave_one_out"]:
            rows.append({name: one[name] for name in ("what", "unit", "points", "verdict")} | {"rule": rule})
    return json.dumps(rows).replace("</", "<\\/") if rows else ""


def _anchor(name: str) -> str:
    return name.lower().replace("_", "-")


def theorems() -> dict[str, dict]:
    """The theorems of proofs/README.md by name: paper, file, words, limits, and the statement and line in the
    source."""
    found = {}
    for line in (PROOFS / "README.md").read_text().splitlines():
        match = re.match(r"\| ([^|]*) \| `(\w+\.v)` `(\w+)` \| ([^|]*) \| [^|]* \| ([^|]*) \|", line)
        if not match:
            continue
        paper, file, name, words, limits = (part.strip() for part in match.groups())
        source = (PROOFS / file).read_text()
        at = re.search(rf"^(Theorem|Lemma|Corollary) {name}\b.*?(?=^Proof)", source, re.M | re.S)
        if at:
            number = source[: at.start()].count("\n") + 1
            found[name] = {"paper": paper, "file": file, "words": words, "limits": limits, "line": number,
                           "statement": at.group().rstrip()}  # fmt: skip
    return found


def _proofs(source: Path, found: dict[str, dict]) -> list[str]:
    """Write a page with all theorems in words and their statements, and a page per source file with an anchor for every
    line. Returns the names of these pages."""
    lines = ["# Theorems in words and in Coq", ""]
    lines += ["`make proofs` checks every statement by machine. Numerical twins: [proofs](README.md).", ""]
    for name, one in found.items():
        at = f"source-{one['file'][:-2]}.html#L{one['line']}"
        lines += [
            f"({_anchor(name)})=", "", f"## {_md(name)}", "", f"{one['paper']}: {one['words']}", "",
            "```{raw} html", f'<pre class="statement">{html.escape(one["statement"])}</pre>',
            f'<p><a href="{at}">{one["file"]}, line {one["line"]}</a></p>', "```", "",
            *([f"Limits: {one['limits']}", ""] if one["limits"] else []),
        ]  # fmt: skip
    (source / "proofs" / "theorems.md").write_text("\n".join(lines))
    files = sorted({one["file"] for one in found.values()})
    for file in files:
        numbered = "\n".join(
            f'<span id="L{number}"><a href="#L{number}">{number:4}</a> {html.escape(line)}</span>'
            for number, line in enumerate((PROOFS / file).read_text().splitlines(), start=1)
        )
        page = f'# {file}\n\n```{{raw}} html\n<pre class="source">{numbered}</pre>\n```\n'
        (source / "proofs" / f"source-{file[:-2]}.md").write_text(page)
    return ["proofs/theorems", *(f"proofs/source-{file[:-2]}" for file in files)]


def _findings() -> str:
    """The list at the top of FINDINGS.md."""
    text = (ROOT / "FINDINGS.md").read_text()
    match = re.search(r"^- .*?(?=\n\n)", text, re.M | re.S)
    return match.group() if match else ""


def _prepare(claim: dict) -> None:
    """Add what the templates need to the data: measured values as text, and which rows are shown."""
    seen = set()
    for one in (claim["result"]["headline"], *claim["result"]["findings"]):
        one |= {name: getattr(Finding(**one), name) for name in ("measured", "single")}
        one["why"] = why_without_places(one["reason"])
    for one in claim["result"]["findings"]:
        same = (one["what"], one["measured"])  # the gains of the abstract repeat Table 9 and are shown once
        one["again"] = bool(one["measured"]) and same in seen
        seen.add(same)
        one["row"] = bool(one["judged"] or one["measured"] or not one["scope"]) and not one["again"]
    claim["place"] = AREAS.index(claim["area"])


def _sources(source: Path, claims: list[dict], executed: Path, playable: bool) -> None:
    """Write Sphinx's input into the empty folder `source`; `playable` says whether the interactive page exists."""
    for folder in ("claims", "notebooks", "pictures", "proofs"):
        (source / folder).mkdir()
    found = {path.stem: _notebook(path, executed) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    shown = {name: notebook for name, (notebook, _) in found.items() if notebook}
    documents = [path.relative_to(ROOT) for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    pages = {*(f"notebooks/{name}.ipynb" for name in shown), *map(str, documents)}
    for name, notebook in shown.items():
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _linked(cell.source, Path("notebooks"), pages, source)
        nbformat.write(notebook, source / "notebooks" / f"{name}.ipynb")
    for path in documents:
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(_linked((ROOT / path).read_text(), path.parent, pages, source))
    proved = theorems()
    sources = _proofs(source, proved)
    shutil.copyfile(SCORES, source / "scores.csv")
    for claim in claims:
        _prepare(claim)
        result = claim["result"]
        rows = [one for one in result["findings"] if one["row"]]
        names = [name for one in result["findings"] for group in re.findall(r"\(Coq: ([^)]*)\)", one["what"])
                 for name in group.split(", ") if name in proved]  # fmt: skip
        text = _TEMPLATES.get_template("claim.md").render(
            claim=claim, pages=pages, pictures=_pictures(claim, executed / "figures", source / "pictures"),
            picture=drawings.finding_picture(rows), timeline=drawings.timeline_picture(claim["timeline"]),
            what_if=_what_if(claim), sentence=first_sentence(result), theorems=[(n, proved[n]["words"]) for n in names],
            filled={name for name in ("what", "verdict", "published", "measured", "why", "single")
                    if any(one[name] for one in rows)},
        )  # fmt: skip
        (source / "claims" / f"{claim['id']}.md").write_text(text)
    rows = [(claim["area"], claim["result"]["verdict"], claim["same_as"]) for claim in claims]
    text = _TEMPLATES.get_template("index.md").render(
        claims=claims,
        playable=playable,
        marks=MARKS,
        areas=[area for area in AREAS if any(claim["area"] == area for claim in claims)],
        state=drawings.state_picture(tally(rows)),
        state_lines=area_lines([(claim["id"], *row) for claim, row in zip(claims, rows, strict=True)]),
        findings=_linked(_findings(), Path(), pages, source),
        marks_of_rules=dict(Counter(claim["mark"] for claim in claims).most_common()),
        absent={why: [name for name, (_, other) in found.items() if other == why] for _, why in found.values() if why},
        contents={
            "Claims": [
                f"{claim['id']} {_plain(claim['title'])} <claims/{claim['id']}>"
                for claim in sorted(claims, key=lambda claim: claim["place"])
            ],
            "Notebooks": [f"{name} <notebooks/{name}>" for name in shown],
            "Proofs and documents": [*sources[:1], *(path.with_suffix("") for path in documents)],
            "Proof sources": sources[1:],
            "dmash_core": _api(source),
        },
    )
    (source / "index.md").write_text(text)


def _plain(title: str) -> str:
    """A title without the characters that a table of contents would read as a link."""
    return re.sub(r"[<>]", "", title)


def build(
    out: str | Path = "build/report",
    claims: str | Path = "build/claims.json",
    notebooks: str | Path = "build/notebooks",
    runs: str | Path = "runs",
) -> Path:
    """Build the site into `out`, replacing an older one, and return its front page. If `runs` has networks, the site
    gets an interactive page for them.

    UserError if the claims are missing, if `out` contains something else or cannot be written, or if Sphinx reports a
    problem such as a dead link.
    """
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    out = Path(out).resolve()
    try:
        rows = json.loads(Path(claims).read_text())["claims"]
    except FileNotFoundError:
        raise UserError(f"{claims} does not exist: run make claims (or dmash claims)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{claims} was not written by dmash claims ({error}): run make claims again") from error
    if out.exists() and not (out.is_dir() and ((out / ".buildinfo").exists() or not any(out.iterdir()))):
        raise UserError(f"{out} contains something other than a report: choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        playable = bool(play.checkpoints(runs))
        _sources(Path(folder), rows, Path(notebooks).resolve(), playable)
        try:
            Sphinx(folder, None, out, f"{folder}/.doctrees", "html", _SETTINGS, None, said).build()
        except (SphinxError, OSError) as error:
            raise UserError(f"cannot build the site in {out}: {error}") from error
        finally:
            while _documented:
                with suppress(AttributeError, TypeError):  # most have none, and built-in ones cannot have one
                    one = _documented.pop()
                    del getattr(one, "__func__", one).__signature__
        shutil.copyfile(SCORES, out / "scores.csv")
        faults = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue()).replace(f"{folder}/", "").strip().splitlines()
    if faults:
        raise UserError(f"the site in {out} has {len(faults)} problems, first: {faults[0]}")
    if playable:
        play.build(out / "play", runs, home="../index.html")
        variance.build(out / "play", runs, home="../index.html")
    return out / "index.html"
