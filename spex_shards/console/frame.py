"""The page that a browser opens: the frame of the report, with more around it and a script that asks for news."""

from __future__ import annotations

from importlib import resources
from typing import Final

from ..render.page import framed, policy_of, static

FORM_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The content security policy of `token_form`."""
_CONTROLS: Final = """<div><label for="which">Model</label> <select id="which" autocomplete="off"></select></div>
<div><label for="search">Search the drawing</label>
<input id="search" type="search" autocomplete="off" spellcheck="false">
<span id="found" role="status"></span></div>
<span id="live" role="status">connecting</span>"""
_BODY: Final = """<p id="said" class="hidden" aria-live="polite"></p>
<p id="trouble" role="alert" hidden></p>
<ul id="shards" aria-label="Shards"></ul>
<div class="console">
<div id="models"><p class="none">There is no model yet. It appears with the first observations.</p></div>
<aside>
<section aria-labelledby="deviations-title"><h2 id="deviations-title">Deviations <small id="deviating"></small></h2>
<ol id="deviations" tabindex="0" aria-labelledby="deviations-title"></ol></section>
<section aria-labelledby="instance-title"><h2 id="instance-title">An instance</h2>
<form id="find" autocomplete="off"><input id="identifier" type="search" maxlength="1000" spellcheck="false"
aria-label="Identifier" placeholder="identifier, as 17 or ('order', 17)"><button>Find</button></form>
<div id="instance" role="status"></div></section>
<section aria-labelledby="states-title"><h2 id="states-title">Where instances are <small id="counted"></small></h2>
<ol id="states"></ol></section>
</aside>
</div>"""
_FOOTER: Final = """<kbd>/</kbd> search · <kbd>n</kbd> <kbd>p</kbd> next and previous step · <kbd>t</kbd> light or dark
· in a drawing: arrows, <kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd>, wheel, drag · this page only reads"""


def page(title: str) -> tuple[str, str]:
    """Return the page, and its content security policy."""
    script = _own("console.js")
    text = framed(
        title, controls=_CONTROLS, body=_BODY, footer=_FOOTER,
        styles=("report.css", _own("console.css")), script="report.js", live=script,
    )  # fmt: skip
    return text, policy_of(static("report.js") + script, live=True)


def token_form() -> str:
    """Return the page that asks for the token."""
    return _own("token.html")


def _own(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")
