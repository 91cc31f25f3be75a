"""The connection to a Ray cluster that is not there."""

from __future__ import annotations

import socket

import pytest

import spex_shards as spex
from spex_shards.runtime.placement.session import token_of

pytestmark = [pytest.mark.ray, pytest.mark.timeout(60)]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_nobody_runs_is_not_waited_for(scheme: str) -> None:
    """Ray would try to connect for many minutes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(spex.ShardDown, match=rf"the Ray cluster at {scheme}127\.0\.0\.1:{port} cannot be reached"):
        token_of(f"{scheme}127.0.0.1:{port}", "orders")
