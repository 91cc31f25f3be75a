"""The directory of model files."""

from __future__ import annotations

import os

import pytest

from spex_shards.domain.impl_model import ImplModel
from spex_shards.domain.transition import INITIALISATION
from spex_shards.errors import DeserialisationFailed, ImplModelError
from spex_shards.formats import model_files
from spex_shards.formats.model_files import file_name, read_model, read_models, write_model, write_models

ORDER = ImplModel(specification="Shop.Order", transitions=[(None, INITIALISATION, "new"), ("new", "pay", "paid")])
CART = ImplModel(specification="Shop.Cart", learning_mode=True)


def test_what_was_written_is_read(tmp_path):
    """Each model has a file of its name."""
    assert write_models(tmp_path, [ORDER, CART]) == [tmp_path / "Shop.Order.spex", tmp_path / "Shop.Cart.spex"]
    assert read_models(tmp_path) == ({"Shop.Order": ORDER, "Shop.Cart": CART}, {})
    assert read_model(tmp_path / "Shop.Order.spex") == ORDER


def test_a_missing_directory_holds_no_models_and_is_made_when_one_is_written(tmp_path):
    """Its parents are created too; reading writes nothing, and works in a read-only place."""
    assert read_models(tmp_path / "a" / "b") == ({}, {})
    assert not (tmp_path / "a").exists()
    assert write_model(tmp_path / "c" / "d", ORDER).exists()
    assert write_models(tmp_path / "e", []) == []


def test_other_files_are_left_alone(tmp_path):
    """These are hidden files, files with other endings, and directories."""
    for name in (".hidden.spex", "README", "x.spex.bak", "y.SPEX"):
        (tmp_path / name).write_text("rubbish")
    (tmp_path / "folder.spex").mkdir()
    assert read_models(tmp_path) == ({}, {})


def test_a_malformed_file_harms_only_its_own_specification(tmp_path):
    """The error belongs to the specification in the header, and names file and line."""
    write_model(tmp_path, ORDER)
    path = tmp_path / "x.spex"
    path.write_text("Specification: Shop.Cart\nLearning mode: perhaps")
    models, malformed = read_models(tmp_path)
    assert models == {"Shop.Order": ORDER}
    assert list(malformed) == ["Shop.Cart"]
    error = malformed["Shop.Cart"]
    assert isinstance(error, DeserialisationFailed)
    assert str(error) == f"{path}: line 2: the learning mode must be true or false, got: 'perhaps'"
    assert error.context == {"file": str(path), "line": 2}
    with pytest.raises(DeserialisationFailed, match="line 2"):
        read_model(path)


@pytest.mark.parametrize("content", [b"", b"rubbish\n", b"Specification: \n", b"Specification: a\xffb\n", b"\xff"])
def test_without_a_readable_header_the_name_is_that_of_the_file(tmp_path, content):
    """The name may contain dots."""
    (tmp_path / "Shop.Cart.spex").write_bytes(content)
    models, malformed = read_models(tmp_path)
    assert models == {}
    assert list(malformed) == ["Shop.Cart"]


def test_a_model_does_not_stand_in_for_a_malformed_file_that_may_be_its_newer_form(tmp_path):
    """A name is never both a model and an error."""
    (tmp_path / "Shop.Order.spex").write_text("rubbish")
    (tmp_path / "old.spex").write_text(ORDER.serialise())
    models, malformed = read_models(tmp_path)
    assert models == {}
    assert list(malformed) == ["Shop.Order"]


def test_bytes_that_are_no_utf_8_are_an_error_with_their_line(tmp_path):
    """The header is still read."""
    text = "\nSpecification: Käse\r\nLearning mode: true\nTransitions:\n"
    (tmp_path / "x.spex").write_bytes(text.encode() + b"a\xff")
    error = read_models(tmp_path).malformed["Käse"]
    assert error.context["line"] == 5
    assert "line 5: the file must be UTF-8" in str(error)


def test_a_file_that_is_too_large_is_an_error(tmp_path, monkeypatch):
    """It is read only up to the limit."""
    monkeypatch.setattr(model_files, "MAX_FILE_BYTES", len(ORDER.serialise()))
    write_model(tmp_path, ORDER)
    assert read_models(tmp_path).models == {"Shop.Order": ORDER}
    monkeypatch.setattr(model_files, "MAX_FILE_BYTES", len(ORDER.serialise()) - 1)
    assert "the file is larger than" in str(read_models(tmp_path).malformed["Shop.Order"])


def test_a_file_that_cannot_be_opened_is_an_error_of_its_own(tmp_path):
    """The file is a link that leads nowhere."""
    (tmp_path / "Shop.Cart.spex").symlink_to(tmp_path / "nowhere")
    write_model(tmp_path, ORDER)
    models, malformed = read_models(tmp_path)
    assert list(models) == ["Shop.Order"]
    assert "the file cannot be read: No such file or directory" in str(malformed["Shop.Cart"])


@pytest.mark.parametrize("second", [ORDER.serialise(), "Specification: Shop.Order\nrubbish\n"])
def test_two_files_for_one_specification_are_an_error_that_names_both(tmp_path, second):
    """This holds even if one of them is malformed."""
    write_model(tmp_path, ORDER)
    (tmp_path / "x.spex").write_text(second)
    with pytest.raises(ImplModelError) as caught:
        read_models(tmp_path)
    files = str(tmp_path / "Shop.Order.spex"), str(tmp_path / "x.spex")
    assert str(caught.value) == f"two files are models of Shop.Order: {files[0]} and {files[1]}; remove one of them"
    assert caught.value.context == {"files": files}


def test_a_directory_that_is_a_file_is_an_error(tmp_path):
    """Reading raises an ImplModelError."""
    (tmp_path / "models").write_text("")
    with pytest.raises(ImplModelError, match="cannot be read: Not a directory"):
        read_models(tmp_path / "models")


def test_a_model_is_written_into_the_file_that_it_has(tmp_path):
    """Otherwise there would be two files, which the next reading refuses."""
    (tmp_path / "mine.spex").write_text(ORDER.serialise())
    grown = ImplModel(specification="Shop.Order", transitions=[*ORDER.transitions, ("paid", "ship", "shipped")])
    assert write_models(tmp_path, [grown]) == [tmp_path / "mine.spex"]
    assert write_model(tmp_path, grown) == tmp_path / "mine.spex"
    assert read_models(tmp_path).models == {"Shop.Order": grown}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    """This holds for every failure before the new content is on the disk."""
    path = write_model(tmp_path, CART)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_model(tmp_path, ImplModel(specification="Shop.Cart"))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_all_write_errors_are_reported_together_and_the_rest_is_written(tmp_path):
    """The errors are an invalid name, a surrogate, and a file name that is taken."""
    (tmp_path / "taken.spex").mkdir()
    bad = [ImplModel(specification=name) for name in ("a/b", "taken")]
    bad.append(ImplModel(specification="S", transitions=[("a", "\ud800", "b")]))
    with pytest.raises(ExceptionGroup, match="3 of 4 models could not be written") as caught:
        write_models(tmp_path, [bad[0], ORDER, *bad[1:]])
    assert [type(error) for error in caught.value.exceptions] == [ImplModelError, IsADirectoryError, ImplModelError]
    assert read_models(tmp_path).models == {"Shop.Order": ORDER}


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a\0b", "x" * 201, "ä" * 101])
def test_a_name_that_no_file_can_have_is_an_error(tmp_path, name):
    """Nothing is written outside the directory or hidden in it."""
    with pytest.raises(ImplModelError, match="a name of a model file must have 1 to 200 bytes, no leading dot"):
        write_model(tmp_path, ImplModel(specification=name))
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_two_hundred_bytes_is_fine(tmp_path):
    """It may contain blanks, backslashes and letters of any language."""
    for name in ("ä" * 100, " a\\b c", "x\ny"):
        assert file_name(name) == f"{name}.spex"
        model = ImplModel(specification=name)
        assert read_model(write_model(tmp_path, model)) == model


def test_a_file_whose_name_is_no_utf_8_is_an_error_that_can_be_sent(tmp_path):
    """The text in its context can be sent like any other."""
    (tmp_path / os.fsdecode(b"a\xff.spex")).write_text("rubbish")
    malformed = read_models(tmp_path).malformed
    assert list(malformed) == ["a\\udcff"]
    assert malformed["a\\udcff"].context["file"].encode()


def test_a_file_gets_the_rights_that_new_files_get(tmp_path):
    """The permissions follow the umask, not those of a temporary file."""
    old = os.umask(0o027)
    try:
        path = write_model(tmp_path, ORDER)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640
