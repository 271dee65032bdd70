"""The report site: the table of claims, a page for each, the executed notebooks, the proofs and the documents.

Sphinx with myst-nb and furo builds it from build/claims.json (`dmash claims`) and build/notebooks (`dmash notebooks`).
Nothing is computed here. The site needs no network: mathematics becomes MathML, by docutils, while it is built.
"""

import io
import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import jinja2
import nbformat
from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

from dmash_core.errors import UserError
from reproduction.evidence.comparisons import Finding
from reproduction.figures.plots import finding_figure
from reproduction.figures.style import save
from reproduction.paths import ROOT

SITE = Path(__file__).with_name("site")  # templates, style and script
MARKS = {"reproduced": "✓", "contradicted": "✗", "undecided": "?", "not checked": "–"}
SHOWN = "·"  # beside a comparison that is not judged
DOCUMENTS = ("proofs/README.md", "runs/README.md", "docs/*.md", "CHANGELOG.md")
_SETTINGS = {
    "extensions": ["myst_nb", "dmash_core.report"],
    "project": "dmash",
    "html_title": "dmash: claims, checked",
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


def setup(app) -> dict:
    """Sphinx calls this: TeX to MathML while building, so that no script and no font is needed for reading."""

    def renderer(block):
        def visit(writer, node):
            writer.body.append(tex2mathml(node.astext(), as_block=block))
            raise SkipNode

        return visit

    app.add_html_math_renderer("mathml", (renderer(False), None), (renderer(True), None))
    return {"parallel_read_safe": True}


def _md(text: str) -> str:
    """Plain text as one line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>$|#~^])", r"\\\1", " ".join(str(text).split()))


def _badge(verdict: str) -> str:
    return f'<span class="verdict {verdict.replace(" ", "-")}">{MARKS.get(verdict, SHOWN)} {verdict}</span>'


_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(SITE), undefined=jinja2.StrictUndefined)
_TEMPLATES.filters |= {"md": _md, "badge": _badge}


def _linked(text: str, folder: Path, pages: set[str], source: Path) -> str:
    """Markdown of `folder` (below ROOT) for the site: files it links to come along, other links become their text."""

    def link(match):
        whole, label, target = match.group(0, 1, 2)
        path = (ROOT / folder / target.partition("#")[0]).resolve()
        if re.match(r"[a-z]+:|#", target) or path in {ROOT / page for page in pages}:
            return whole
        if not (path.is_file() and path.is_relative_to(ROOT)):
            return label
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        return whole

    return re.sub(r"(?<!`)\[([^\]\[]*)\]\(([^)\s]+)\)", link, text)


def _notebook(path: Path, executed: Path) -> tuple[nbformat.NotebookNode | None, str]:
    """The executed copy of a notebook, or None and why the site has no page of it."""
    try:
        notebook = nbformat.read(executed / path.name, as_version=4)
    except FileNotFoundError:
        return None, "not executed (make notebooks)"
    said = notebook.metadata.get("papermill", {})
    if said.get("exception"):
        return None, "failed when executed (make notebooks)"
    if (profile := said.get("parameters", {}).get("profile", "recorded")) != "recorded":
        return None, f"executed under the profile {profile} (make notebooks)"
    if any("widget-view" in str(cell.get("outputs", "")) for cell in notebook.cells):
        return None, "interactive (make explore)"
    return notebook, ""


def _pictures(claim: dict, figures: Path, out: Path) -> list[str]:
    """The names of a claim's pictures, each in `out` as PNG with its CSV: those of the notebooks that are called like
    the claim, and its findings where any was measured."""
    names = []
    for path in [*figures.glob(f"{claim['id']}.png"), *sorted(figures.glob(f"{claim['id']}-*.png"))]:
        shutil.copy(path, out)
        shutil.copy(path.with_suffix(".csv"), out)
        names.append(path.stem)
    if any(one["value"] is not None for one in claim["result"]["findings"]):
        names.append(f"{claim['id']}-findings")
        save(*finding_figure(claim["result"]["findings"]), names[-1], out)
    return names


def _sources(source: Path, claims: list[dict], executed: Path) -> None:
    """Write what Sphinx reads, into the empty folder `source`."""
    for folder in ("claims", "notebooks", "pictures"):
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
    for claim in claims:
        for one in (claim["result"]["headline"], *claim["result"]["findings"]):
            one |= {name: getattr(Finding(**one), name) for name in ("measured", "single")}
        text = _TEMPLATES.get_template("claim.md").render(
            claim=claim, pages=pages, pictures=_pictures(claim, executed / "figures", source / "pictures")
        )
        (source / "claims" / f"{claim['id']}.md").write_text(text)
    text = _TEMPLATES.get_template("index.md").render(
        claims=claims,
        marks=MARKS,
        kinds=list(dict.fromkeys(claim["kind"] for claim in claims)),
        count=Counter(claim["result"]["verdict"] for claim in claims),
        absent={why: [name for name, (_, other) in found.items() if other == why] for _, why in found.values() if why},
        contents={
            "Notebooks": [f"{name} <notebooks/{name}>" for name in shown],
            "Proofs and documents": [path.with_suffix("") for path in documents],
            "Claims": [f"{claim['id']} <claims/{claim['id']}>" for claim in claims],
        },
    )
    (source / "index.md").write_text(text)


def build(
    out: str | Path = "build/report",
    claims: str | Path = "build/claims.json",
    notebooks: str | Path = "build/notebooks",
) -> Path:
    """Build the site into `out`, in place of an older one, and return its front page.

    UserError where the claims are missing, `out` holds something else or cannot be written, or Sphinx finds a fault
    such as a dead link.
    """
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    out = Path(out).resolve()
    try:
        rows = json.loads(Path(claims).read_text())["claims"]
    except FileNotFoundError:
        raise UserError(f"there is no {claims}: make claims (or dmash claims) writes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{claims} is not what dmash claims writes ({error}): make claims writes it again") from error
    if out.exists() and not (out.is_dir() and ((out / ".buildinfo").exists() or not any(out.iterdir()))):
        raise UserError(f"{out} holds something else than a report and is not replaced: give another --out")
    shutil.rmtree(out, ignore_errors=True)
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        _sources(Path(folder), rows, Path(notebooks).resolve())
        try:
            Sphinx(folder, None, out, f"{folder}/.doctrees", "html", _SETTINGS, None, said).build()
        except (SphinxError, OSError) as error:
            raise UserError(f"cannot build the site in {out}: {error}") from error
        faults = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue()).replace(f"{folder}/", "").strip().splitlines()
    if faults:
        raise UserError(f"the site in {out} has {len(faults)} faults, first: {faults[0]}")
    return out / "index.html"
