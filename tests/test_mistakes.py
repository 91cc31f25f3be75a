"""Likely mistakes of somebody who begins, and what each of them is told: what is wrong, where, and what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.manager.options import OPTIONS, ManagerOptions

STEPS = [("new", "pay", "paid"), ("paid", "ship", "shipped")]
OF_MANAGERS = ", ".join(name for name in OPTIONS if name in ManagerOptions.__annotations__)
OF_TEXT = ", ".join(name for name in OPTIONS if name != "on_message")
ALLOWED = "allowed are None, bool, int, float, str, bytes, tuple, list, dict, UUID, datetime, Decimal and Enum members"


class Order(spex.Specification):
    """A specification that is right."""

    name = "shop.Order"
    transitions = STEPS


def declared(**body: Any) -> type:
    """Declare a class with these attributes."""
    return type("Wrong", (spex.Specification,), {"__module__": "shop", "__qualname__": "Wrong", **body})


def handler(self: Any, error: Any, caller: Any) -> Any:
    """Decide, as a method that is no classmethod."""


# The mistake, and the exact message.
DECLARATIONS: list[tuple[str, Callable[[], object], str]] = [
    (
        "a misspelt attribute",
        lambda: declared(transitons=STEPS),
        (
            "shop.Wrong: 'transitons' is no option of a specification, and would have no effect: did you mean "
            "'transitions'? Give an attribute of your own another name, or a leading underscore"
        ),
    ),
    (
        "an unknown initial state",
        lambda: declared(transitions=STEPS, initial_state="nwe"),
        (
            "shop.Wrong: initial_state must be one of the states, got: 'nwe'; the states are 'new', 'paid', 'shipped'; "
            "did you mean 'new'?"
        ),
    ),
    (
        "an entry that is no list",
        lambda: declared(transitions=("new", "pay", "paid")),
        "shop.Wrong: transitions must be a list of entries: put ('new', 'pay', 'paid') into a list",
    ),
    (
        "a dict of transitions",
        lambda: declared(transitions={"new": "paid"}),
        (
            "shop.Wrong: transitions must be a list or other collection of entries (source, action, target), got: "
            "{'new': 'paid'}"
        ),
    ),
    (
        "an entry without its action",
        lambda: declared(transitions=[("new", "paid")]),
        (
            "shop.Wrong: transition entry 1 must be a list or tuple of three (source, action, target), got: "
            "('new', 'paid')"
        ),
    ),
    (
        "a timeout as text",
        lambda: declared(transitions=STEPS, transition_timeout="30s"),
        (
            "shop.Wrong: transition_timeout must be a timedelta or a number of seconds, above 0, or None (never), got: "
            "'30s'"
        ),
    ),
    (
        "a handler that is a method",
        lambda: declared(transitions=STEPS, error_handler=handler),
        (
            "shop.Wrong: error_handler must be a classmethod or a staticmethod, got: "
            f"{handler!r}; write @classmethod above it"
        ),
    ),
    (
        "states that are listed",
        lambda: declared(transitions=STEPS, states=["new"]),
        "shop.Wrong: states is derived from the transitions and must not be assigned: leave it out",
    ),
]
OPTION_MISTAKES: list[tuple[str, Callable[[], object], str]] = [
    (
        "a number as text",
        lambda: spex.ShardedInstanceManager(distribution_factor="4"),  # type: ignore[arg-type]
        "the option distribution_factor must be an int from 1 to 1024, got: '4'",
    ),
    (
        "another word for an option",
        lambda: spex.ShardedInstanceManager(shards=4),  # type: ignore[call-arg]
        f"unknown option: shards; did you mean distribution_factor? Otherwise, the options are {OF_MANAGERS}",
    ),
    (
        "an option of configure",
        lambda: spex.SimpleInstanceManager(manager="simple"),  # type: ignore[call-arg]
        "the option manager is for spex_shards.configure: a manager's class says what it is",
    ),
    (
        "milliseconds",
        lambda: spex.ShardedInstanceManager(call_timeout=5_000_000),
        (
            "the option call_timeout must be a number of seconds above 0 and at most 2592000 (30 days), or a "
            "timedelta, got: 5000000"
        ),
    ),
    (
        "a dotted specification",
        lambda: spex.SimpleInstanceManager(specifications=["shop.Order"]),
        'a specification must be named as "module:Name", got: \'shop.Order\'; did you mean "shop:Order"?',
    ),
    (
        "a module that is not found",
        lambda: spex.SimpleInstanceManager(specifications=["no_such_shop:Order"]),
        (
            "the specification no_such_shop:Order cannot be imported: ModuleNotFoundError: No module named "
            "'no_such_shop'; its folder must be on sys.path, for example by PYTHONPATH"
        ),
    ),
    (
        "a kept scratch directory",
        lambda: spex.scratch(data_dir="here"),
        (
            "scratch() makes a data directory of its own and deletes it: to keep one, give data_dir to "
            "SimpleInstanceManager or ShardedInstanceManager"
        ),
    ),
]
CALLS: list[tuple[str, Callable[[Any], object], str]] = [
    (
        "the name of a class",
        lambda m: m.init_instance("Order", 1),
        "the specification must be a Specification class, got: 'Order'; give the class itself, not its name",
    ),
    (
        "an identifier that exists",
        lambda m: m.init_instance(Order, 1),
        (
            "shop.Order cannot get an instance 1: there is one already, of shop.Order, in the state 'new'. Go on with "
            "it by transition; or delete it first by delete_instance; or give the new one another identifier"
        ),
    ),
    (
        "an identifier that does not exist",
        lambda m: m.transition("1", "pay", "paid"),
        (
            "there is no instance '1': create it first, by init_instance(SPECIFICATION, '1'); identifiers are told "
            "apart by type as well, so that 1 and '1' are two"
        ),
    ),
    (
        "arguments in another order",
        lambda m: m.transition(Order, 1, "paid"),
        (
            "the action must be a str or a str-valued Enum member, got: 1; the order is transition(identifier, action, "
            "to_state)"
        ),
    ),
    (
        "a state that does not exist",
        lambda m: m.mock_instance(Order, 2, "payd"),
        (
            "state must be a state of shop.Order, got: 'payd'; its states are 'new', 'paid', 'shipped'; did you mean "
            "'paid'?"
        ),
    ),
    (
        "a value in meta",
        lambda m: m.init_instance(Order, 2, meta={"customer": {"since": date(2024, 5, 1)}}),
        (
            "meta['customer']['since']: a value must not contain a value of type datetime.date, got: "
            f"datetime.date(2024, 5, 1); {ALLOWED}"
        ),
    ),
    (
        "a part of an identifier",
        lambda m: m.init_instance(Order, ("order", {1, 2})),
        f"identifier[1]: an identifier must not contain a value of type set, got: {{1, 2}}; {ALLOWED}",
    ),
    (
        "no initial state",
        lambda m: m.init_instance(spex.Specification.define("shop.Nothing", []), 2),
        (
            "shop.Nothing declares no transitions, and so no initial state: declare transitions (or correct the name "
            "of the attribute that has them), or give initial_state"
        ),
    ),
    (
        "the text of a model",
        lambda _: spex.check("order.spex"),  # type: ignore[call-overload]
        "impl_model must be an ImplModel, got: 'order.spex'; ImplModel.deserialise makes one of a file's text",
    ),
    (
        "the same directory twice",
        lambda m: spex.SimpleInstanceManager(data_dir=m.data_dir).start(),
        (
            "this process has the data directory {data} open already, by an in-process manager: use that one, or close "
            "it first"
        ),
    ),
]


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command line in a process of its own: `serve` blocks signals."""
    done = subprocess.run(
        [sys.executable, "-m", "spex_shards.cli", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def told(mistake: Callable[..., object], *arguments: Any) -> str:
    """Make a mistake; return the text of the error."""
    with pytest.raises((TypeError, ValueError, RuntimeError, spex.SpexError)) as caught:
        mistake(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(("mistake", "text"), [row[1:] for row in DECLARATIONS], ids=[row[0] for row in DECLARATIONS])
def test_a_mistake_in_a_declaration(mistake: Callable[[], object], text: str) -> None:
    """Found when the class is created."""
    assert told(mistake) == text


@pytest.mark.parametrize(
    ("mistake", "text"), [row[1:] for row in OPTION_MISTAKES], ids=[row[0] for row in OPTION_MISTAKES]
)
def test_a_mistake_in_an_option(mistake: Callable[[], object], text: str) -> None:
    """Found before anything starts."""
    assert told(mistake) == text


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (lambda: spex.compare(STEPS, Order), f"a system must be an LTS or a Specification class, got: {STEPS!r}"),
        (lambda: spex.parting("Order", ["pay"]), "a run is judged by a Specification class, got: 'Order'"),
        (
            lambda: spex.parting(Order, "pay"),
            "a run must be an instance, or its actions in order, got the str 'pay'",
        ),
        (
            lambda: spex.properties.never("ship").of_run("ship"),
            "a run must be actions in their order, got the str 'ship'",
        ),
    ],
)
def test_a_mistake_in_a_question_to_the_checker(mistake: Callable[[], object], text: str) -> None:
    """Found before anything is computed."""
    assert told(mistake) == text


@pytest.mark.usefixtures("specifications_as_before")
@pytest.mark.parametrize(("mistake", "text"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_a_mistake_in_a_call(mistake: Callable[[Any], object], text: str) -> None:
    """Found in the calling thread."""
    with spex.scratch() as manager:
        manager.init_instance(Order, 1)
        assert told(mistake, manager) == text.replace("{data}", str(manager.data_dir))


def test_mistakes_in_the_life_of_a_manager(tmp_path: Path) -> None:
    """A manager that is not started is not called closed, and each error names the next step."""
    manager = spex.SimpleInstanceManager(data_dir=tmp_path / "data", impl_models_dir=tmp_path / "models")
    assert told(manager.get_instance, 1) == "the manager is not started: start it by `with` or start()"
    manager.start()
    assert told(manager.start) == "the manager is started already; it starts once"
    manager.close()
    assert told(manager.get_instance, 1) == "the manager is closed: create another one"
    assert told(manager.start) == "the manager is closed: create another one; it starts once"
    folder = tmp_path / "data"
    assert told(spex.connect, folder) == (
        f"no process serves {folder}: start one, for example by spex-shards serve --data-dir {folder}"
    )
    nowhere = tmp_path / "nowhere"
    assert told(spex.connect, nowhere) == (
        f"there is no data directory at {nowhere}: serve it first, by spex-shards serve --data-dir {nowhere}"
    )


@pytest.mark.process
def test_a_directory_of_several_shards_is_not_for_an_in_process_manager(tmp_path: Path) -> None:
    """The advice works: another class opens it, or a command changes it."""
    places: Any = {"data_dir": tmp_path / "data", "impl_models_dir": tmp_path / "models"}
    with spex.ShardedInstanceManager(**places, distribution_factor=2):
        pass
    assert told(spex.SimpleInstanceManager(**places).start) == (
        f"{tmp_path / 'data'} was made for 2 shards, not 1; open it with ShardedInstanceManager(distribution_factor=2)"
        f", or change it with: spex-shards reshard {tmp_path / 'data'} --to 1"
    )
    assert run("reshard", tmp_path / "data", "--to", "1")[0] == 0
    with spex.SimpleInstanceManager(**places):
        pass


def test_the_default_manager_is_configured_before_its_use_or_after_its_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the message names the function that closes it."""
    monkeypatch.chdir(tmp_path)
    spex.all_instances()
    assert told(spex.configure) == (
        "the default manager is running: call spex_shards.configure() before its first use, or after "
        "spex_shards.close()"
    )
    spex.close()
    spex.close()
    spex.configure()


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        (
            "SPEX_SHARDS_SHARDS",
            "4",
            (
                "the environment variable SPEX_SHARDS_SHARDS names no option; did you mean "
                f"SPEX_SHARDS_DISTRIBUTION_FACTOR? Otherwise, the options are {OF_TEXT}"
            ),
        ),
        (
            "SPEX_SHARDS_LEARNING_MODE",
            "maybe",
            (
                "the option learning_mode must be True or False, got: 'maybe' (from the environment variable "
                "SPEX_SHARDS_LEARNING_MODE)"
            ),
        ),
    ],
)
def test_a_mistake_in_the_environment(variable: str, value: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable."""
    monkeypatch.setenv(variable, value)
    assert told(spex.SimpleInstanceManager) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "data-dir = 'x'",
            (
                "'data-dir' in [tool.spex_shards] of {file} is no option; did you mean 'data_dir'? Otherwise, the "
                f"options are {OF_TEXT}"
            ),
        ),
        ("learning_mode = 'yes'", "the option learning_mode must be True or False, got: 'yes' (from {file})"),
    ],
)
def test_a_mistake_in_pyproject(line: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the file."""
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.spex_shards]\n{line}\n")
    monkeypatch.chdir(tmp_path)
    assert told(spex.SimpleInstanceManager) == text.replace("{file}", str(file))


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["check", "nowhere"],
            "error: nowhere: there is no such file or directory of models; a test suite or `replay --learn` makes one",
        ),
        (
            ["verify", "nowhere"],
            "error: there is no data directory at nowhere; give the directory that a manager was started with",
        ),
        (["reshard", "data", "--to", "0"], "error: --to must be an int from 1 to 1024, got: 0"),
        (
            ["serve", "--durability", "ram"],
            r"--durability must be ..process.. or ..disk.., or with a store in PostgreSQL ..remote_apply.., got: 'ram'",
        ),
        (
            ["replay", "log.csv"],
            "error: give either --specification MODULE:NAME (to check) or --learn NAME (to learn a model)",
        ),
        (
            ["check", "of_a_manager"],
            (
                "error: there is no model in of_a_manager: no file there ends in .spex; it is a data directory: write "
                "its models first, by spex-shards export --data-dir of_a_manager"
            ),
        ),
        (
            ["replay", "log.csv", "--learn", "shop:Order"],
            "error: --learn must be the name that a specification has, with a dot as in shop.Order, got: 'shop:Order'",
        ),
        (["init", "-o", "gone/new.py"], "error: gone/new.py: No such file or directory"),
        (["learn", "--models", "log.csv", "--", "true"], "error: --models must be a directory, got: {here}/log.csv"),
        (["top", "postgresql://h/db", "--once"], r"it must be a directory, and postgresql://h/db"),
        (["backup", "postgresql://h/db", "to"], r"it must be a directory, and postgresql://h/db"),
        (["serve", "--shards", "0"], r'"message": "--shards must be an int from 1 to 1024, got: 0"'),
        (["chek"], r"No such command 'chek'"),
    ],
)
def test_a_mistake_on_the_command_line(
    arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line on stderr, and the exit code 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_a_manager").mkdir()
    (tmp_path / "of_a_manager" / "layout").touch()
    (tmp_path / "log.csv").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    if text.startswith("error: "):
        assert err == f"{text}\n".replace("{here}", str(tmp_path))
    else:  # the command line's library says it, in words of its version
        assert re.search(text, err)
