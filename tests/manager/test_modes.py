"""Modes: what an observation may do to the program that makes it."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.formats.model_files import write_model
from spex_shards.manager import observer
from spex_shards.manager.modes import Modes, sampler
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.protocol.routing import slot_of
from tests.support.contract_specs import Order, Strict, model

GOLDEN = [6, 11, 16, 18, 24, 28, 50, 53, 56, 58, 96, 107, 111, 113, 122, 140, 160, 174, 177]
"""The numbers below 200 whose orders are among the tenth that ``sample=0.1`` observes."""


def step_that_deviates(manager: Any, identifier: Any) -> None:
    """Observe a transition that the model of Order does not have, and that violates it."""
    manager.transition(identifier, "ship", "shipped")


@pytest.fixture
def judging(make_manager: Callable[..., Any], places: dict[str, Path]) -> Callable[..., Any]:
    """Return a function that starts a manager whose model of Order is complete, and does not learn."""
    steps = ("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")
    write_model(places["impl_models_dir"], model(Order, *steps))
    return lambda **options: make_manager(observe_timeout=20, **options)


@pytest.fixture(autouse=True)
def nothing_warned() -> None:
    """Forget of which deviations this process was warned."""
    observer._warned.clear()


def test_enforce_raises_and_observe_counts(judging: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """Everything is kept and judged in both modes; only what reaches the program differs."""
    manager = judging()
    assert manager.mode == "enforce"
    manager.init_instance(Order, 1)
    with pytest.raises(spex.DeviationNotEquivalent):
        step_that_deviates(manager, 1)
    assert manager.losses() == spex.Losses()

    manager.mode = "observe"
    caplog.clear()
    with caplog.at_level(logging.WARNING, "spex_shards"):
        manager.init_instance(Order, 2)
        step_that_deviates(manager, 2)
        manager.init_instance(Order, 2)
        manager.transition("nobody", "pay", "paid")
        manager.delete_instance("nobody")
    assert manager.get_instance(2).current_state == "shipped"
    refused = {"IdentifierInUse": 1, "InstanceNotFound": 1}
    assert manager.losses() == spex.Losses(kept=3, refused=refused, deviations=1)
    # The error handler's records, each once and with the place of the call; and no other record.
    assert len(caplog.records) == 3
    assert all("test_modes.py" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "mode", ["observe", *(pytest.param(mode, marks=pytest.mark.long) for mode in ("warn", "enforce"))]
)
def test_forms_that_return_errors_return_them_in_all_modes_but_off(judging: Callable[..., Any], mode: str) -> None:
    """The program that asks for the error gets it."""
    manager = judging(mode=mode)
    assert manager.try_init_instance(Order, 1) is None
    assert isinstance(manager.try_init_instance(Order, 1), spex.IdentifierInUse)
    assert isinstance(manager.try_transition(1, "ship", "shipped"), spex.DeviationNotEquivalent)
    assert isinstance(manager.try_transition(2, "ship", "shipped"), spex.InstanceNotFound)
    manager.mode = "off"
    assert manager.try_transition(2, "ship", "shipped") is None
    assert manager.try_init_instance(Order, 1) is None


def test_off_neither_checks_nor_sends_anything_and_reads_as_always(make_manager: Callable[..., Any]) -> None:
    """Not even the types of arguments are looked at."""
    manager = make_manager(mode="off")
    manager.init_instance("no specification", object())
    manager.transition(1, 2, 3)
    manager.transition_nowait(1, 2, 3)
    manager.mock_instance(Order, 1, "paid")
    manager.delete_instance(1)
    manager.flush()
    assert manager.all_instances() == []
    with pytest.raises(spex.InstanceNotFound):
        manager.get_instance(1)
    assert manager.losses() == spex.Losses()


@pytest.mark.parametrize("mode", ["observe", pytest.param("warn", marks=pytest.mark.long)])
def test_what_comes_from_code_raises_and_what_comes_from_data_is_counted(
    make_manager: Callable[..., Any], mode: str
) -> None:
    """Actions, states and specifications are code; identifiers, meta and sizes are data."""
    manager = make_manager(mode=mode, max_frame_bytes=4096, observe_timeout=20)
    for call, error in [
        (lambda: manager.transition(1, 2, "paid"), TypeError),
        (lambda: manager.transition(1, "pay", None), TypeError),
        (lambda: manager.transition_nowait(1, spex.INITIALISATION, "paid"), ValueError),
        (lambda: manager.init_instance("Order", 1), TypeError),
        (lambda: manager.try_init_instance(Order, 1, None, 5), TypeError),
        (lambda: manager.mock_instance(Order, 1, 5), TypeError),
    ]:
        with pytest.raises(error):
            call()
    manager.init_instance(Order, object())
    manager.init_instance(Order, 1, {"a": object()})
    manager.transition("\ud800", "pay", "paid")
    manager.delete_instance(float("nan"))
    if not isinstance(manager, spex.SimpleInstanceManager):  # it has no frames
        manager.init_instance(Order, 2, {"a": "a" * 5000})
        assert manager.losses().refused["ValueError"] == 2
    assert manager.losses().refused["TypeError"] == 3
    error = manager.try_transition(object(), "pay", "paid")
    assert isinstance(error, spex.SpexError)
    assert "cannot be kept" in str(error)
    assert manager.all_instances() == []


def test_warn_warns_once_of_each_deviation_at_the_line_of_the_call(judging: Callable[..., Any]) -> None:
    """The same deviation of other instances is silent; `-W error` raises it in the caller."""
    manager = judging(mode="warn")
    for identifier in range(5):
        manager.init_instance(Order, identifier)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        manager.transition(0, "ship", "shipped")
        manager.transition(1, "ship", "shipped")
        manager.transition(2, "burn", "ashes")
        assert manager.try_transition(3, "pay", "ashes") is not None
        manager.transition("nobody", "pay", "paid")
    assert [warning.category for warning in caught] == [spex.DeviationWarning] * 2
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)
    assert "deviation_not_equivalent" in str(caught[0].message)
    observer._warned.clear()
    with pytest.raises(spex.DeviationWarning):  # warnings are errors in these tests
        manager.transition(4, "ship", "shipped")
    assert manager.get_instance(4).current_state == "shipped"


def test_a_run_that_leaves_its_specification_is_a_deviation_as_well(
    make_manager: Callable[..., Any], specifications_as_before: None
) -> None:
    """judge="run" works in all modes."""
    cls = spex.Specification.define("modes.Run", [("a", "go", "b")], judge="run")
    manager = make_manager(mode="warn", observe_timeout=20)
    manager.init_instance(cls, 1)
    with pytest.warns(spex.DeviationWarning, match="deviation_from_specification"):
        manager.transition(1, "fly", "c")
    assert manager.losses() == spex.Losses(kept=2, deviations=1)


# ---------------------------------------------------------------------- who decides


def test_a_specification_decides_for_its_instances(
    judging: Callable[..., Any], specifications_as_before: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own mode comes before the manager's, for transitions too, whose specification only the shard knows."""
    quiet = spex.Specification.define("modes.Quiet", Order.transitions, mode="observe")
    strict = spex.Specification.define("modes.Strict", Order.transitions, mode="enforce", judge="run")
    absent = spex.Specification.define("modes.Absent", Order.transitions, mode="off")
    manager = judging()
    with caplog.at_level(logging.ERROR, "spex_shards"):
        manager.init_instance(quiet, 1)
        manager.init_instance(quiet, 1)
        manager.init_instance(absent, 2)
        manager.transition(2, "pay", "paid")
        manager.transition_nowait(2, "ship", "shipped")
        manager.flush()
    [record] = caplog.records
    assert "cannot get an instance 1: there is one already" in record.getMessage()
    assert [instance.identifier for instance in manager.all_instances()] == [1]

    manager.mode = "observe"
    manager.init_instance(strict, 3)
    with pytest.raises(spex.IdentifierInUse):
        manager.init_instance(strict, 3)
    with pytest.raises(spex.DeviationFromSpecification):
        manager.transition(3, "ship", "shipped")
    manager.mode = "off"
    with pytest.raises(spex.DeviationFromSpecification):
        manager.transition(3, "burn", "ashes")
    manager.transition(1, "pay", "paid")
    assert manager.get_instance(1).current_state == "paid"


def test_a_specifications_mode_is_checked_and_inherited(specifications_as_before: None) -> None:
    """It is no part of what shards store of a specification."""
    with pytest.raises(spex.SpecificationError, match=r"modes.Wrong: mode must be one of off, observe, warn, enforce"):
        spex.Specification.define("modes.Wrong", [("a", "go", "b")], mode="on")
    parent = spex.Specification.define("modes.Parent", [("a", "go", "b")], mode="warn")

    class Child(parent):  # type: ignore[misc, valid-type]
        name = "modes.Child"

    class Named(spex.Specification):
        name = "modes.Named"
        model = "an attribute of the application's own, though its name is like `mode`"
        transitions = [("a", "go", "b")]

    assert Named.mode is None
    assert Child.mode == "warn"
    assert Order.mode is None
    assert not hasattr(Child.declaration, "mode")


def test_the_environment_decides_before_all_others(
    monkeypatch: pytest.MonkeyPatch, places: dict[str, Path], specifications_as_before: None
) -> None:
    """Arguments, specifications and assignments give way, so that a deployment can be switched as it is."""
    monkeypatch.setenv("SPEX_SHARDS_MODE", "off")
    strict = spex.Specification.define("modes.Enforced", [("a", "go", "b")], mode="enforce")
    with spex.SimpleInstanceManager(mode="enforce", **places) as manager:
        assert manager.mode == "off"
        manager.mode = "enforce"
        assert manager.mode == "off"
        manager.init_instance(strict, 1)
        assert manager.all_instances() == []
    monkeypatch.setenv("SPEX_SHARDS_MODE", "sometimes")
    with pytest.raises(ValueError, match=r"'sometimes' .from the environment variable SPEX_SHARDS_MODE"):
        spex.SimpleInstanceManager(mode="enforce", **places)


def test_a_wrong_mode_is_refused(places: dict[str, Path]) -> None:
    """Given or assigned."""
    with pytest.raises(ValueError, match=r'the option mode must be "off", "observe", "warn" or "enforce", got: .on'):
        spex.SimpleInstanceManager(mode="on", **places)  # type: ignore[arg-type]
    manager = spex.SimpleInstanceManager(**places)
    for wrong in ("on", None, 1):
        with pytest.raises(ValueError, match="the mode must be one of off, observe, warn, enforce, got: "):
            manager.mode = wrong  # type: ignore[assignment]
    assert manager.mode == "enforce"


def test_transitions_have_the_strictest_mode_where_the_manager_is_off(specifications_as_before: None) -> None:
    """Their specification may be one that is not off."""
    spex.Specification.define("modes.A", [("a", "go", "b")], mode="observe")
    assert Modes("off", None).of_transitions() == "observe"
    spex.Specification.define("modes.B", [("a", "go", "b")], mode="enforce")
    assert Modes("off", None).of_transitions() == "enforce"
    assert Modes("warn", None).of_transitions() == "warn"
    assert Modes("warn", "off").of_transitions() == "off"


# ---------------------------------------------------------------------- counting


def test_failures_of_what_nobody_waited_for_are_counted_and_not_raised(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """`flush` and `close` raise no errors of observations where the mode does not."""
    places["impl_models_dir"].mkdir(parents=True)
    (places["impl_models_dir"] / f"{Order.name}.spex").write_text("nonsense")
    manager = make_manager(mode="observe", observe_timeout=20)
    manager.init_instance(Order, 1)
    manager.init_instance_nowait(Order, 2)
    manager.flush()
    assert manager.losses().refused == {"DeserialisationFailed": 2}
    manager.close()


def test_what_is_not_kept_is_logged_once_per_interval_and_at_the_end(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A record says how many, which was the last, where, why, and where to look."""
    manager = spex.SimpleInstanceManager(mode="observe", **places).start()
    with caplog.at_level(logging.WARNING, "spex_shards"):
        for number in range(3):
            manager.transition(("number", number, object()), "pay", "paid")
        assert len(caplog.records) == 1
        manager.close()
        manager.transition(("after", "close"), "pay", "paid")
    first, last = [record.getMessage() for record in caplog.records]
    assert f"observations of process {os.getpid()}: not kept: 1 because of TypeError; the last: transition of" in first
    assert "test_modes.py" in first
    assert "losses() has all counts" in first
    assert "not kept: 2 because of TypeError; the last: transition of ('number', 2, <object" in last
    assert (manager.losses().lost, manager.losses().refused) == (1, {"TypeError": 3})


def test_a_forked_child_counts_for_itself(places: dict[str, Path]) -> None:
    """Its counts begin at 0; it cannot use the parent's manager in this process, which costs it observations only."""
    with spex.SimpleInstanceManager(mode="observe", learning_mode=True, **places) as manager:
        manager.init_instance(Order, 1)
        child = os.fork()
        if child == 0:
            manager.transition(1, "pay", "paid")
            manager.transition_nowait(1, "pay", "paid")
            manager.flush()
            os._exit(0 if manager.losses() == spex.Losses(lost=2) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert manager.losses() == spex.Losses(kept=1)


def test_a_signal_handlers_exception_is_raised_in_all_modes(places: dict[str, Path]) -> None:
    """It belongs to the program, and not to what is observed."""

    class Alarm(spex.SpexError):
        pass

    with spex.SimpleInstanceManager(mode="observe", learning_mode=True, **places) as manager:
        manager.init_instance(Order, 1)
        transport = manager.transport
        assert transport is not None

        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        transport.offer = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            manager.transition(1, "pay", "paid")
        del transport.offer


def test_a_call_in_this_process_waits_for_other_calls_a_bounded_time_only(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another thread's handler holds the one shard, observations are held, in order and up to a bound."""
    from spex_shards.runtime.local import transport
    from tests.support import holding

    monkeypatch.setattr(transport, "_MOST_LATE", 201)  # the declaration is one
    with spex.SimpleInstanceManager(mode="observe", observe_timeout=0.02, **places) as manager:
        held = threading.Thread(target=lambda: manager.init_instance(holding.Held, 1))
        held.start()
        assert holding.inside.wait(60)
        for number in range(100):
            manager.init_instance(Order, ("order", number))
            manager.transition_nowait(("order", number), "pay", "paid")
        assert manager.losses() == spex.Losses(late=100, posted=100)
        manager.transition(1, "go", "b")
        manager.transition_nowait(1, "go", "b")
        assert manager.losses() == spex.Losses(late=100, posted=100, lost=2)
        holding.leave.set()
        held.join(60)
        assert sum(len(instance.history) for instance in manager.all_instances()) == 201
        assert manager.losses() == spex.Losses(kept=1, late=100, posted=100, lost=2)


# ---------------------------------------------------------------------- sampling


def test_the_share_of_observed_instances_is_the_same_for_ever() -> None:
    """Golden values: all processes, versions and runs must agree."""
    chosen = sampler(0.1)
    assert chosen is not None
    observed = [number for number in range(200) if chosen(canonical(("order", number)))]
    assert observed == GOLDEN
    assert sampler(1.0) is None


@given(st.lists(st.integers() | st.text(), unique_by=canonical), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_contains_each_smaller_one(identifiers: list[Any], one: float, other: float) -> None:
    """0 is nobody, and a share that grows drops no instance."""
    small, large = sampler(min(one, other)), sampler(max(one, other))
    none = sampler(0)
    assert none is not None
    for key in map(canonical, identifiers):
        assert not none(key)
        assert not (small is None or small(key)) or large is None or large(key)


def test_sampling_does_not_depend_on_routing() -> None:
    """Each eighth of the slots has its share of the observed instances."""
    chosen = sampler(0.25)
    assert chosen is not None
    counts = [0] * 8
    for number in range(16_000):
        key = canonical(number)
        counts[slot_of(key) // 2048] += chosen(key)
    assert all(abs(count - 500) < 100 for count in counts)


def test_instances_that_are_not_sampled_are_not_observed_in_any_form(make_manager: Callable[..., Any]) -> None:
    """Nothing is sent for them, and nothing is raised, in enforce as well."""
    manager = make_manager(sample=0.1, learning_mode=True)
    for number in range(40):
        manager.init_instance(Order, ("order", number))
        manager.transition(("order", number), "pay", "paid")
        manager.transition_nowait(("order", number), "ship", "shipped")
        assert manager.try_transition(("order", number), "x", "y") is None
    manager.flush()
    expected = [("order", number) for number in GOLDEN if number < 40]
    assert sorted(instance.identifier for instance in manager.all_instances()) == expected
    with pytest.raises(spex.IdentifierInUse):
        manager.init_instance(Order, expected[0])


# ---------------------------------------------------------------------- the default manager

HEAD = """
import logging, os, sys, time
import spex_shards as spex
class Door(spex.Specification):
    name = "modes.Door"
    transitions = [("closed", "open", "opened")]
"""


def run(body: str, folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder of its own."""
    return subprocess.run(
        [sys.executable, *options, "-c", HEAD + body], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("kind", ["simple", "sharded"])
def test_a_program_that_ends_at_once_keeps_what_it_observed(tmp_path: Path, kind: str) -> None:
    """The start may take longer than the program: what was observed is held until then, in order."""
    body = f"""
spex.configure(manager={kind!r}, learning_mode=True, distribution_factor=1, observe_timeout=0.0001)
spex.init_instance(Door, 1)
for number in range(100):
    spex.transition(1, "knock", str(number))
spex.transition_nowait(1, "open", "opened")
"""
    done = run(body, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with spex.SimpleInstanceManager(data_dir=tmp_path / "spex_data", impl_models_dir=tmp_path / "models") as manager:
        states = [entry.to_state for entry in manager.get_instance(1).history]
    assert states == ["closed", *map(str, range(100)), "opened"]


@pytest.mark.process
@pytest.mark.parametrize("kind", [pytest.param("simple", marks=pytest.mark.long), "sharded"])
def test_a_directory_that_cannot_be_used_costs_observations_and_nothing_else(tmp_path: Path, kind: str) -> None:
    """All are counted as lost, with one log record; reading raises; a later attempt succeeds."""
    (tmp_path / "file").touch()
    body = f"""
logging.basicConfig(format="%(message)s")
spex.configure(manager={kind!r}, data_dir="file/data", learning_mode=True, report_interval=0.2, distribution_factor=1)
began = time.monotonic()
spex.init_instance(Door, 1)
spex.flush()
longest = 0
for number in range(200):
    before = time.monotonic()
    spex.transition_nowait(number, "open", "opened")
    longest = max(longest, time.monotonic() - before)
losses = spex.losses()
print(losses.kept, losses.posted, losses.refused, losses.late, losses.lost)
print(longest < 1)
spex.flush()
try:
    spex.get_instance(1)
except spex.DataDirError as error:
    print("reading:", type(error).__name__)
os.remove("file")
os.mkdir("file")
os.chmod("file", 0o700)
while not spex.losses().kept and time.monotonic() < began + 60:
    spex.init_instance(Door, time.monotonic_ns())
    time.sleep(0.01)
print(spex.losses().kept)
"""
    done = run(body, tmp_path)
    assert done.stdout == "0 0 {} 0 201\nTrue\nreading: DataDirError\n1\n"
    lines = done.stderr.splitlines()
    assert all("not kept: " in line and "because of DataDirError" in line for line in lines)
    assert 1 <= len(lines) < 30
    assert done.returncode == 0


@pytest.mark.process
@pytest.mark.long
def test_a_directory_that_another_process_has_costs_observations_and_nothing_else(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    """No call waits for the other one; each observation is counted once, as lost in the end."""
    body = """
logging.basicConfig()
spex.configure(data_dir=sys.argv[1])
longest = 0
for number in range(200):
    before = time.monotonic()
    spex.init_instance(Door, number)
    longest = max(longest, time.monotonic() - before)
print(longest < 1.5, spex.losses().kept, spex.losses().late + spex.losses().lost)
spex.flush()
print(spex.losses())
"""
    with spex.SimpleInstanceManager(**places):
        program = [sys.executable, "-c", HEAD + body, str(places["data_dir"])]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == ("True 0 200\nLosses(kept=0, posted=0, late=0, lost=200, refused={}, deviations=0)\n")
    assert "because of DataDirLocked" in done.stderr


def test_module_level_calls_that_are_off_start_nothing_and_create_nothing(tmp_path: Path) -> None:
    """Whether the environment or the program says so; `configure` is possible until something is started."""
    body = """
spex.init_instance(Door, 1)
spex.transition(1, "open", "opened")
spex.flush()
print(sorted(os.listdir(".")), spex.losses() == spex.Losses())
spex.configure(data_dir="mine")
spex.transition(1, "open", "opened")
print(spex.all_instances(), sorted(os.listdir(".")))
"""
    done = run(body, tmp_path, SPEX_SHARDS_MODE="off")
    assert (done.stdout, done.stderr) == ("[] True\n[] ['mine']\n", "")


@pytest.mark.long
def test_a_warning_that_is_an_error_is_raised_where_the_program_calls(tmp_path: Path) -> None:
    """`-W error` is the user's wish; the traceback ends in the library, and the last line of the program is in it."""
    body = """
spex.configure(mode="warn")
Run = spex.Specification.define("modes.Run", Door.transitions, judge="run")
spex.init_instance(Run, 1)
spex.flush()
try:
    spex.transition(1, "burn", "ashes")
except spex.DeviationWarning as error:
    print("raised", type(error).__name__)
"""
    done = run(body, tmp_path, "-W", "error")
    assert done.stdout == "raised DeviationWarning\n"


def test_an_observation_that_is_off_calls_almost_nothing(places: dict[str, Path]) -> None:
    """It looks at the mode and returns: that takes a third of a microsecond at most, as benchmarks.request measures."""
    from spex_shards.manager import default

    manager = spex.SimpleInstanceManager(mode="off", **places)
    before = default.use(manager)
    try:
        calls: list[Callable[[], None]] = [
            lambda: spex.transition(1, "pay", "paid"),
            lambda: spex.transition_nowait(1, "pay", "paid"),
            lambda: spex.init_instance(Order, 1),
            lambda: manager.transition(1, "pay", "paid"),
            lambda: manager.init_instance(Strict, 1),
        ]
        for call in calls:
            call()
            counted = -2  # the call of `call` itself, and that of `setprofile`

            def count(_frame: Any, event: str, _argument: Any) -> None:
                nonlocal counted
                counted += event in ("call", "c_call")

            sys.setprofile(count)
            try:
                call()
            finally:
                sys.setprofile(None)
            assert counted <= 3
    finally:
        default.use(before)
