"""Forked children end where they are told to, whatever happens in them."""

from __future__ import annotations

import subprocess
import sys

import pytest

BODY = """
import os, sys
from spex_shards.runtime.system.forking import fork
{before}
pid = fork({child}, lambda error: os.write(1, f"{{error!r}}\\n".encode()))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("before", ["", "sys.stderr = None", "sys.stderr.close()"], ids=["open", "none", "closed"])
@pytest.mark.parametrize(
    ("child", "said"), [("lambda: 7", "7\n"), ("lambda: 1 / 0", "ZeroDivisionError('division by zero')\n1\n")]
)
def test_a_child_never_goes_on_as_its_parent(before: str, child: str, said: str) -> None:
    """Even without a standard error to flush, the line after the fork is printed once."""
    body = BODY.format(before=before, child=child)
    done = subprocess.run([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, said)
