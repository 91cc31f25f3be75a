"""Fixtures of tests about several machines."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spex_shards.manager.clustered import ClusterMember
from tests.support.cluster_here import TOKEN


@pytest.fixture
def members(store_url: str, tmp_path: Path, no_process_left: None) -> Iterator[Callable[..., ClusterMember]]:
    """Return a function that starts a member; all are closed at the end."""
    with ExitStack() as stack:

        def start(hosts: Any = None, **options: Any) -> ClusterMember:
            place = tmp_path / f"member-{random.getrandbits(40):x}"
            given = {"store": store_url, "partitions": 2, "learning_mode": True, "token": TOKEN, **options}
            member = ClusterMember(data_dir=place, impl_models_dir=tmp_path / "models", hosts=hosts, **given).start()
            stack.callback(member.close)
            return member

        yield start
