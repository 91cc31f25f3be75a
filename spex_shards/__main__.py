"""``python -m spex_shards``: the command line, as the console script ``spex-shards``."""

from .cli import main

if __name__ == "__main__":
    main()
