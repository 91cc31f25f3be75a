"""Options: argument, then environment, then pyproject.toml, then default; errors name the origin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.manager.options import OPTIONS, UNSET, resolve
from spex_shards.manager.settings import load_specifications, nearest_table, options_from
from spex_shards.runtime.supervisor.restart import RestartIntensity
from tests.support.contract_specs import Order


def test_the_order_of_sources() -> None:
    """The source nearest to the call wins; UNSET counts as not given."""
    environment = {"SPEX_SHARDS_DURABILITY": "disk", "SPEX_SHARDS_MAX_RESTARTS": "7", "HOME": "/"}
    table = {"durability": "process", "max_restarts": 8, "call_timeout": 9}
    chosen = resolve({"max_restarts": 6, "durability": UNSET}, environment, table, "pyproject.toml")
    assert (chosen["max_restarts"], chosen["durability"], chosen["call_timeout"]) == (6, "disk", 9.0)
    assert chosen["prune_interval"] == timedelta(hours=6)
    assert set(chosen) == set(OPTIONS)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("distribution_factor", "16", 16),
        ("learning_mode", "yes", True),
        ("check_transition_timeouts_on_start", "off", False),
        ("prune_interval", "none", None),
        ("prune_interval", "1.5", timedelta(seconds=1.5)),
        ("hang_timeout", "None", None),
        ("specifications", "a.b:C, d:E", ("a.b:C", "d:E")),
        ("data_dir", "/x/y", Path("/x/y")),
    ],
)
def test_text_from_the_environment_is_read_by_the_options_type(name: str, text: str, value: Any) -> None:
    """Types are numbers, booleans, durations in seconds, none, and lists."""
    assert resolve({}, {f"SPEX_SHARDS_{name.upper()}": text}, {}, "")[name] == value


@pytest.mark.parametrize(
    ("arguments", "environment", "table", "text"),
    [
        (
            {"max_seconds": -1},
            {},
            {},
            "the option max_seconds must be a number of seconds above 0 and at most 2592000 .30 days., or .*, got: -1",
        ),
        (
            {},
            {"SPEX_SHARDS_LEARNING_MODE": "perhaps"},
            {},
            "'perhaps' .from the environment variable SPEX_SHARDS_LEARNING",
        ),
        ({}, {}, {"max_restarts": "3"}, "max_restarts must be an int .* got: '3' .from here/pyproject.toml"),
        ({}, {"SPEX_SHARDS_SHARDS": "3"}, {}, "the environment variable SPEX_SHARDS_SHARDS names no option"),
        ({}, {}, {"shards": 3}, "'shards' in .tool.spex_shards. of here/pyproject.toml is no option"),
        ({}, {}, {"on_message": "f"}, "'on_message' in .* is no option"),
        ({"call_timeout": float("nan")}, {}, {}, "call_timeout must be"),
        ({"specifications": "a:B"}, {}, {}, "specifications must be a list of"),
    ],
)
def test_a_bad_value_or_key_names_option_rule_value_and_origin(
    arguments: dict[str, Any], environment: dict[str, str], table: dict[str, Any], text: str
) -> None:
    """Every error says where to look."""
    with pytest.raises(ValueError, match=text):
        resolve(arguments, environment, table, "here/pyproject.toml")


def test_the_nearest_project_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file further up is not read; a malformed file is an error that names it."""
    (tmp_path / "pyproject.toml").write_text("[tool.spex_shards]\nmax_restarts = 1")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert nearest_table(below) == (tmp_path / "pyproject.toml", {"max_restarts": 1})
    monkeypatch.chdir(below)
    assert options_from({})["max_restarts"] == 1
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'")
    assert nearest_table(below)[1] == {}
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.spex_shards\n")
    with pytest.raises(ValueError, match=r"pyproject\.toml cannot be read"):
        options_from({})


def test_specifications_are_classes_or_names_that_can_be_imported() -> None:
    """The error for another value names it with the reason."""
    assert load_specifications([Order, "tests.support.contract_specs:Order"]) == (Order, Order)
    for wrong, text in [
        ("nocolon", 'named as "module:Name"'),
        ("no.such.module:X", "cannot be imported: ModuleNotFoundError"),
        ("tests.support.contract_specs:Nobody", "cannot be imported: AttributeError"),
        ("os:path", "must be a subclass of spex_shards.Specification"),
    ]:
        with pytest.raises(ValueError, match=text):
            load_specifications([wrong])


def test_restart_intensity_counts_deaths_in_a_sliding_window() -> None:
    """The first restart is immediate, later ones wait up to a second, too many give up; old deaths are forgotten."""
    intensity = RestartIntensity(max_restarts=3, max_seconds=5.0)
    assert [intensity.after_death(now) for now in (0.0, 0.1, 0.2)] == [0.0, 0.05, 0.1]
    assert intensity.after_death(5.0) is None
    assert intensity.after_death(20.0) == 0.0
    many = RestartIntensity(max_restarts=100, max_seconds=100)
    assert max(many.after_death(now) or 0 for now in range(20)) == 1.0
    assert RestartIntensity(0, 1.0).after_death(0.0) is None
    many.forget()
    assert many.after_death(21.0) == 0.0


@pytest.mark.parametrize("cls", [spex.SimpleInstanceManager, spex.ShardedInstanceManager])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manager", "the option manager is for spex_shards.configure: a manager's class says what it is"),
        (
            "distribution_facto",
            "did you mean distribution_factor. Otherwise, the options are distribution_factor, data_dir",
        ),
        ("zzz", "unknown option: zzz; the options are distribution_factor, data_dir"),
    ],
)
def test_a_manager_takes_its_own_options_and_no_others(cls: Any, name: str, text: str) -> None:
    """The option `manager` belongs to the default manager alone."""
    with pytest.raises(TypeError, match=text):
        cls(**{name: "sharded"})
