"""The frame of an HTML page that contains everything and fetches nothing.

A content security policy allows only the page's script, named by its digest, and forbids fetching anything.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources

from .. import __version__


def framed(
    title: str, *, controls: str, body: str, footer: str, styles: tuple[str, ...], script: str, live: str = ""
) -> str:
    """Return a whole page.

    Args:
        title: Its title, as text.
        controls: What stands beside the title, as HTML.
        body: Its content, as HTML.
        footer: The last lines, as HTML.
        styles: The names of its style sheets in the folder ``static``, or style sheets.
        script: The name of its script there.
        live: More script, for a page that may ask the server that it comes from.
    """
    code = static(script) + live
    policy = policy_of(code, live=bool(live))
    sheets = "".join(one if "{" in one else static(one) for one in styles)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="spex-shards {__version__}">
<title>{escape(title)}</title>
<style>
{sheets}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{controls}
<button id="theme" type="button">Light or dark</button>
</header>
<main>
{body}
</main>
<footer>
{footer}
</footer>
<script>{code}</script>
</body>
</html>
"""


def policy_of(code: str, *, live: bool) -> str:
    """Return the content security policy of a page with this script; if it is live, it may ask its own server."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    asks = " connect-src 'self';" if live else ""
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';{asks} base-uri 'none'"


def static(name: str) -> str:
    """Return the content of a file of the folder ``static``."""
    return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")
