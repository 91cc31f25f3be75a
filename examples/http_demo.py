"""The demo: real HTTP/1.1 connections are observed while the shards are killed under them. Run by ``make demo``.

What it does, and how, is told in the package ``http_demo`` beside this file.
"""

import sys

from http_demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
