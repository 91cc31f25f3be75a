"""Where shards are: addresses, names of owners, lists of gates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.runtime.cluster.address import Address
from spex_shards.runtime.cluster.directory import FileDirectory, OwnersDirectory, address_in, known_as, numbers_in
from spex_shards.runtime.store.postgres.namespace import Namespace


@pytest.mark.parametrize(
    ("text", "host", "port", "local"),
    [
        ("10.0.0.1:7711", "10.0.0.1", 7711, False),
        ("localhost:1", "localhost", 1, True),
        ("127.0.0.9:0", "127.0.0.9", 0, True),
        ("[::1]:65535", "::1", 65535, True),
        ("[fe80::2]:80", "fe80::2", 80, False),
        ("db.example:5", "db.example", 5, False),
        ("0.0.0.0:5", "0.0.0.0", 5, False),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int, local: bool) -> None:
    """It is written as it was read, and says whether other machines can reach it."""
    address = Address.of(text)
    assert (address.host, address.port, address.is_local, str(address)) == (host, port, local, text)


@pytest.mark.parametrize("text", ["", "host", "host:", ":5", "host:-1", "host:65536", "::1:5", "host:x", "host:5 "])
def test_what_is_no_address_is_refused(text: str) -> None:
    """The error has the text and the rule."""
    with pytest.raises(ValueError, match="an address must be HOST:PORT"):
        Address.of(text)


def test_the_name_of_an_owner_has_its_address() -> None:
    """The name of a manager that lets nobody in from other machines has none."""
    address = Address("10.0.0.1", 7711)
    assert address_in(known_as(address)) == address
    for owner in ("", "/data on host", "look at me", "process 1 on host at 10.0.0.1"):
        assert address_in(owner) is None


def test_a_file_says_which_gate_leads_to_which_shards(tmp_path: Path) -> None:
    """It is read again when it has changed."""
    file = tmp_path / "gates.toml"
    file.write_text('[gates]\n"10.0.0.1:7711" = "0-1"\n"10.0.0.2:7711" = "2, 4-5"\n')
    directory = FileDirectory(file)
    assert [str(directory.find(shard)) for shard in range(6)] == [
        "10.0.0.1:7711", "10.0.0.1:7711", "10.0.0.2:7711", "None", "10.0.0.2:7711", "10.0.0.2:7711",
    ]  # fmt: skip
    other = tmp_path / "other"
    other.write_text('[gates]\n"10.0.0.3:1" = "0-5"\n')
    other.replace(file)
    assert str(directory.find(3)) == "10.0.0.3:1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"must have a table \[gates\]"),
        ("[gates]\n", r"must have a table \[gates\]"),
        ('[gates]\nhost = "0"\n', "the entry 'host' in .gates.: an address must be"),
        ('[gates]\n"h:1" = "x"\n', "shards must be numbers and ranges"),
        ('[gates]\n"h:1" = 3\n', "shards must be numbers and ranges"),
        ('[gates]\n"h:1" = "0-3"\n"i:1" = "3"\n', "shard 3 is in .gates. twice, at h:1 and i:1"),
        ("[gates", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_the_entry(tmp_path: Path, text: str, says: str) -> None:
    """Each error names what is wrong with it."""
    file = tmp_path / "gates.toml"
    file.write_text(text)
    with pytest.raises(spex.DataDirError, match=says):
        FileDirectory(file).find(0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error has its path."""
    with pytest.raises(spex.DataDirError, match=r"cannot be read: .*gates\.toml"):
        FileDirectory(tmp_path / "gates.toml").find(0)


@pytest.mark.parametrize("text", ["", "-", "3-1", "1-2-3", "a", "1,,2", "123456", "-1", "²"])
def test_ranges_that_make_no_sense_are_refused(text: str) -> None:
    """And never read as something else."""
    with pytest.raises(ValueError, match="shards must be numbers and ranges"):
        numbers_in(text)


def test_a_child_that_is_forked_while_a_thread_asks_can_ask_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the parent's thread would never be given back there."""
    directory = OwnersDirectory(Namespace.of("postgresql:///nowhere"))
    monkeypatch.setattr(directory._stores, "owners", lambda: {0: known_as(Address("10.0.0.1", 7711))})
    with directory._asking:
        child = os.fork()
        if not child:
            os._exit(0 if directory.find(0) == Address("10.0.0.1", 7711) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert directory.find(1) is None
