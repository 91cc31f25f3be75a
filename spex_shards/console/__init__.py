"""The console of ``serve``: the report of the models live in a browser, with shards, deviations and histories.

`looking` reads the shards while somebody looks, `pages` answers a browser, and `frame` is the page that it opens.
"""

from .pages import Console

__all__ = ["Console"]
