"""One target in a process of its own: `python -m tests.programs.fuzz.child NAME INPUTS SEED ENGINE FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the target; the last line of the output is the result."""
    name, inputs, seed, engine = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["spex_shards"]):
            import spex_shards.domain
            import spex_shards.engine
            import spex_shards.engine.catalogue
            import spex_shards.runtime.protocol.records
            import spex_shards.runtime.store.recovery
            import spex_shards.runtime.supervisor.attach
            import spex_shards.runtime.worker  # noqa: F401
    from .engine import Result, run_atheris, run_mutations, told

    def end(result: Result) -> None:
        print(told(result), flush=True)
        os._exit(0)

    if engine == "atheris":
        run_atheris(name, inputs, seed, Path(sys.argv[5]), end)
    else:
        end(run_mutations(name, inputs, seed))


if __name__ == "__main__":
    main()
