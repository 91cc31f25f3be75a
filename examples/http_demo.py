"""The demo: real HTTP/1.1 connections are observed while their shards are killed. Run by ``make demo``.

The package ``http_demo`` beside this file explains it.
"""

import sys

from http_demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
