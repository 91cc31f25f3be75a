"""The format on the disk: a version opens what earlier versions wrote, and refuses what later ones wrote."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.audit import verify
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import describe
from spex_shards.runtime.data_dir import FORMAT, DataDir
from spex_shards.runtime.protocol import codec, records, routing
from spex_shards.runtime.protocol.requests import DECLARE
from tests.data.make_example import CLIENT_ID, LONG, TWICE, open_manager, shard_of_twice
from tests.support.example_specs import Hasty, Parcel, Strict
from tests.support.places import DATA
from tests.support.processes import wait_until
from tests.support.raw_client import RawClient

EXAMPLES = DATA


@pytest.fixture(params=range(1, FORMAT + 1), ids=lambda number: f"format-{number}")
def example(request: pytest.FixtureRequest, tmp_path: Path, no_process_left: None) -> Path:
    """Return a folder with a copy of a format's example; every format that ever existed has one."""
    with tarfile.open(EXAMPLES / f"format-{request.param}.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on, and without it later ones warn
            archive.extractall(tmp_path, filter="data")
        else:
            archive.extractall(tmp_path)
    (tmp_path / "data").chmod(0o700)
    return tmp_path


@pytest.mark.process
def test_a_directory_of_each_format_is_opened_and_goes_on(example: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Histories, metas, models, deviations and deadlines are as stored, in LMDB and in the log."""
    assert verify(example / "data") == []
    with caplog.at_level(logging.ERROR, "spex_shards"), open_manager(example) as manager:
        assert len(manager.all_instances(Parcel)) == 21
        states = [manager.get_instance(("parcel", number)).current_state for number in range(20) if number != 10]
        assert states == ["there"] * 10 + ["away"] * 8 + ["lost"]
        assert manager.get_instance(("parcel", 7)).meta == {"number": 7}
        assert manager.get_instance(LONG).current_state == "packed"
        assert len(manager.get_instance("old").history) == 101
        [deviation] = manager.deviations(Strict)
        assert (deviation.transition, deviation.count) == (spex.Transition("a", "fly", "b"), 1)
        models = {model.specification: len(model.transitions) for model in manager.all_impl_models()}
        assert models == {Hasty.name: 3, Parcel.name: 4, Strict.name: 3}
        wait_until(lambda: sum("timeout" in text for text in caplog.messages) == 2, "both late deadlines are reported")
        manager.transition(("parcel", 11), "deliver", "there")
        with pytest.raises(spex.IdentifierInUse):
            manager.init_instance(Strict, "strict")
        manager.init_instance(Parcel, "new")
    assert verify(example / "data") == []
    with open_manager(example) as manager:
        assert [manager.get_instance(i).current_state for i in (("parcel", 11), "new")] == ["there", "packed"]


@pytest.mark.process
def test_a_client_of_an_earlier_version_is_given_the_answers_that_it_never_had(example: Path) -> None:
    """Its requests are recognised by their numbers, and not carried out again."""
    with open_manager(example) as manager:
        client = RawClient(example / "data", shard_of_twice(), client_id=CLIENT_ID)
        client.send(0, 0, DECLARE.code, 0, describe(Parcel)[0].plain(), None)
        for number in (1, 2):
            client.send(number, 0, ops.INIT.code, 0, Parcel.name, codec.canonical(TWICE), None, None)
        entries: list[list[object]] = []
        upto = 0
        while upto < 2:
            upto, found = client.answer()
            entries += found
        client.close()
        [[number, ok, error, _]] = entries
        assert (number, ok) == (2, False)
        assert isinstance(records.error_of(error), spex.IdentifierInUse)
        assert len(manager.get_instance(TWICE).history) == 1


@pytest.mark.parametrize(("found", "why"), [(FORMAT + 1, "a newer version wrote it"), (0, "no version wrote it")])
def test_a_format_that_this_version_does_not_know_is_refused_naming_both(tmp_path: Path, found: int, why: str) -> None:
    """Nothing in the directory is changed."""
    directory = DataDir(tmp_path / "data")
    directory.make()
    row = records.seal([found, 1, routing.HASH_NAME, "something", "new"])
    directory.layout.write_bytes(row)
    with pytest.raises(spex.DataDirError, match=f"has format {found}, and this version reads format {FORMAT}: {why}"):
        directory.check_layout(1)
    assert directory.layout.read_bytes() == row


def test_another_hash_is_refused_naming_both(tmp_path: Path) -> None:
    """Instances would be looked for on wrong shards."""
    directory = DataDir(tmp_path / "data")
    directory.make()
    directory.layout.write_bytes(records.seal([FORMAT, 1, "md5"]))
    with pytest.raises(spex.DataDirError, match=f"routes by 'md5', and this version by '{routing.HASH_NAME}'"):
        directory.check_layout(1)
