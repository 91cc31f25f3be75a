"""The frame of an HTML page that contains everything and fetches nothing.

A content security policy allows only the page's script, named by its digest, and forbids fetching anything.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources

from .. import __version__


def framed(title: str, *, controls: str, body: str, footer: str, styles: tuple[str, ...], script: str) -> str:
    """Return a whole page.

    Args:
        title: Its title, as text.
        controls: What stands beside the title, as HTML.
        body: Its content, as HTML.
        footer: The last lines, as HTML.
        styles: The names of its style sheets in the folder ``static``.
        script: The name of its script there.
    """
    code = _static(script)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="spex-shards {__version__}">
<title>{escape(title)}</title>
<style>
{"".join(map(_static, styles))}</style>
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


def _static(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")
