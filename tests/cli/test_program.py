"""The program as a whole: its help, its colours, its exit codes, Ctrl-C, and how it speaks of options."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.cli import COMMANDS
from tests.cli.test_cli import GOOD, READ_CSV, Done, project, run, write_model
from tests.support.places import ROOT
from tests.support.processes import wait_until

__all__ = ["project", "run"]  # fixtures
Run = Callable[..., Done]
NOTHING = "\N{EN DASH}"
BAD = [("start", "pay", "p"), ("p", "refund", "r")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_short_and_a_long_option_for_help(run: Run, name: str) -> None:
    """Both print the same, and exit with 0."""
    short, long = run(name, "-h"), run(name, "--help")
    assert short == long
    assert (short.code, short.err) == (0, "")
    assert "Usage:" in short.out


@pytest.mark.process
def test_the_package_can_be_run_as_a_module(project: Path) -> None:
    """It is the same program."""
    done = subprocess.run(
        [sys.executable, "-m", "spex_shards", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"spex-shards {spex.__version__}\n", "")


def test_the_shells_completion_can_be_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script calls the program by its name."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # the shell that runs the tests may be any
    done = run("--show-completion", "bash")
    assert (done.code, "_SPEX_SHARDS_COMPLETE" in done.out) == (0, True)


def test_a_misspelt_command_names_the_nearest_one(run: Run) -> None:
    """It exits with 2."""
    done = run("chek")
    assert (done.code, "'check'" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("replay", "log.csv", "--learn", "A", *READ_CSV, "--shards", "0"), "--shards must be an int from 1 to 1024"),
        (("reshard", "nowhere", "--to", "0"), "--to must be an int from 1 to 1024, got: 0"),
        (("config", "--grace", "0"), "--grace must be a number of seconds above 0 and at most 2592000 (30 days)"),
        (("config", "--durability", "dusk"), "with a store in PostgreSQL \"remote_apply\", got: 'dusk'"),
        (("replay", "nowhere.csv", "--learn", "A"), "nowhere.csv: there is no such file"),
        (("replay", "log.csv", "--learn", "A"), "its columns are case, activity, result, time"),
        (("verify", "nowhere"), "there is no data directory at "),
        (("diff", "nowhere", "log.csv"), "nowhere: there is no such file or directory of models"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_an_error_names_what_was_typed(run: Run, arguments: tuple[str, ...], text: str) -> None:
    """The option of the command line and not the one of a manager; the file; what it has."""
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err


def test_an_error_of_a_choice_has_no_prefix_of_the_library_that_checks_it(run: Run) -> None:
    """The sentence begins with the value."""
    assert "Value error" not in run("check", "--format", "xml").err


@pytest.mark.long
def test_a_directory_of_another_number_of_shards_says_which_option_opens_it(run: Run, project: Path) -> None:
    """The advice can be typed."""
    with spex.ShardedInstanceManager(data_dir="data", impl_models_dir="models", distribution_factor=2):
        pass
    done = run("replay", "log.csv", "--learn", "A", *READ_CSV, "--data-dir", "data", "--shards", "3")
    assert done.code == 2
    assert "use --shards 2, or change it with: spex-shards reshard" in done.err


# ---------------------------------------------------------------------- colours


def coloured(*arguments: str, **environment: str) -> bytes:
    """Return what a command writes to a terminal."""
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards", *arguments],
        stdout=theirs, stderr=theirs, stdin=theirs, env={**plain, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            written += os.read(ours, 65536)
        except OSError:  # the program has ended
            break
    process.wait(60)
    os.close(ours)
    return written


@pytest.mark.process
def test_a_terminal_shows_colours_unless_the_environment_says_no(project: Path) -> None:
    """`NO_COLOR` is stronger than `FORCE_COLOR`; the text is the same."""
    write_model(project / "models", "shop.Order", *BAD)
    asked = ("check", "models", "--specification", "shop:Order")
    seen = coloured(*asked)
    assert b"\x1b[1;31mshop.Order: violation" in seen
    plain = coloured(*asked, NO_COLOR="1", FORCE_COLOR="1")
    assert b"\x1b" not in plain
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", seen) == plain


def test_a_pipe_gets_no_colours_unless_they_are_forced(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a build may show them."""
    write_model(project / "models", "shop.Order", *GOOD)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    asked = ("check", "models", "--specification", "shop:Order")
    assert "\x1b" not in run(*asked).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32mshop.Order: equivalent\x1b[0m" in run(*asked).out
    assert "\x1b" not in run(*asked, "--format", "json").out


# ---------------------------------------------------------------------- Ctrl-C


@pytest.mark.process
def test_ctrl_c_while_a_module_is_imported_is_quiet(project: Path) -> None:
    """One line and exit code 130; there is no traceback."""
    (project / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    write_model(project / "models", "shop.Order", *GOOD)
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards", "check", "models", "--specification", "slow:It"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


@pytest.mark.process
def test_ctrl_c_before_the_command_is_imported_is_quiet(project: Path) -> None:
    """Here typer takes its time."""
    (project / "typer.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards", "check"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{project}:{ROOT}"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "interrupted\n")
    assert process.returncode == 130


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("command", ["serve", "verify"])
def test_ctrl_c_while_it_waits_for_a_lock_is_quiet(project: Path, command: str) -> None:
    """The directory belongs to another process all the time."""
    with spex.ShardedInstanceManager(data_dir="data", impl_models_dir="models", distribution_factor=1):
        arguments = ["serve", "--data-dir", "data", "--shards", "1"] if command == "serve" else ["verify", "data"]
        process = subprocess.Popen(
            [sys.executable, "-m", "spex_shards", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: waits_for(process.pid, "data") or process.poll() is not None, "it waits for the lock")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if process.returncode == 2:  # on a busy machine the wait was over already
        return
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted" or json.loads(err.splitlines()[-1])["event"] == "interrupted"


def waits_for(pid: int, folder: str) -> bool:
    """Return whether a process has a file of a data directory open, as it does while it waits for the lock."""
    try:
        return any(f"/{folder}/" in str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


# ---------------------------------------------------------------------- directories and empty logs


@pytest.fixture
def models(project: Path) -> Path:
    """Return a directory with two models."""
    write_model(project / "models", "shop.Order", *GOOD)
    return write_model(project / "models", "shop.Refund", ("asked", "grant", "granted")).parent


def test_a_directory_stands_for_all_its_models(run: Run, models: Path, project: Path) -> None:
    """convert, minimise and render write a file for each; what is written can be read again."""
    assert run("convert", models, "auts", "--to", "aut").code == 0
    assert sorted(path.name for path in (project / "auts").iterdir()) == ["shop.Order.aut", "shop.Refund.aut"]
    assert run("convert", "auts", "again", "--from", "aut", "--to", "json").code == 0
    assert json.loads((project / "again" / "shop.Refund.json").read_text())["specification"] == "shop.Refund"
    assert len(run("minimise", models, "small", "--format", "json").plain["models"]) == 2
    assert sorted(path.name for path in (project / "small").iterdir()) == ["shop.Order.spex", "shop.Refund.spex"]
    assert run("render", models, "pictures", "--to", "dot").code == 0
    assert sorted(path.name for path in (project / "pictures").iterdir()) == ["shop.Order.dot", "shop.Refund.dot"]


def test_no_directory_is_made_that_has_the_name_of_a_file(run: Run, models: Path, project: Path) -> None:
    """The next command would find a directory in place of its file."""
    done = run("render", models, "all.svg")
    assert done.code == 2
    assert "the models of a directory are written into a directory, and TARGET is 'all.svg'" in done.err
    assert not (project / "all.svg").exists()


def test_of_a_directory_and_a_file_the_models_of_one_name_are_compared(run: Run, models: Path) -> None:
    """In both orders."""
    other = write_model(models.parent / "other", "shop.Refund", ("asked", "refuse", "refused"))
    assert [one["specification"] for one in run("diff", models, other, "--format", "json").plain["models"]] == [
        "shop.Refund"
    ]
    assert run("diff", other, models).headlines == ["shop.Refund: changed: 1 added, 1 removed", "1 of 1 model changed"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "empty"),
        ("convert", "empty", "x", "--to", "aut"),
        ("convert", "empty", "x", "--from", "aut", "--to", "json"),
        ("diff", "empty", "empty"),
        ("merge", "empty", "-o", "x"),
        ("minimise", "empty"),
        ("render", "empty", "x.html"),
        ("suggest", "empty"),
    ],
    ids=" ".join,
)
def test_a_directory_without_models_is_an_error_that_says_so(
    run: Run, project: Path, arguments: tuple[str, ...]
) -> None:
    """Nothing is written."""
    (project / "empty").mkdir()
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "there is no model in empty" in done.err
    assert not list(project.glob("x*"))


@pytest.mark.parametrize("rows", ["", "\n\n"], ids=["header", "blank"])
def test_an_empty_log_never_replaces_a_model(run: Run, models: Path, rows: str) -> None:
    """The command exits with 2, says why, and leaves the file as it is."""
    before = (models / "shop.Order.spex").read_bytes()
    Path("empty.csv").write_text("case,activity,result,time\n" + rows)
    done = run("replay", "empty.csv", *READ_CSV, "--learn", "shop.Order", "--models-dir", models)
    assert (done.code, done.out) == (2, "")
    assert (
        done.err
        == "error: empty.csv: a log must have an event to be replayed, and there is no case; nothing was written\n"
    )
    assert (models / "shop.Order.spex").read_bytes() == before


def test_a_log_of_empty_cases_never_replaces_a_model_either(run: Run, models: Path) -> None:
    """A trace without events is a case of which nothing was seen."""
    before = (models / "shop.Order.spex").read_bytes()
    Path("log.xes").write_text('<log><trace><string key="concept:name" value="a"/></trace></log>')
    done = run("replay", "log.xes", "--learn", "shop.Order", "--models-dir", models)
    assert (done.code, "no event, only 1 empty case" in done.err) == (2, True)
    assert (models / "shop.Order.spex").read_bytes() == before


# ---------------------------------------------------------------------- config


def test_config_says_where_each_value_is_from(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments come before the environment, that before the file, and that before the default."""
    (project / "pyproject.toml").write_text("[tool.spex_shards]\nmax_restarts = 7\ndistribution_factor = 3\n")
    monkeypatch.setenv("SPEX_SHARDS_DISTRIBUTION_FACTOR", "8")
    monkeypatch.setenv("SPEX_SHARDS_PRUNE_INTERVAL", "none")
    shown = {one["name"]: one for one in run("config", "--data-dir", "d", "--format", "json").plain["options"]}
    found = {name: (one["value"], one["origin"], one["from"]) for name, one in shown.items()}
    assert found["data_dir"] == ("d", "argument", "--data-dir")
    assert found["distribution_factor"] == (8, "environment", "SPEX_SHARDS_DISTRIBUTION_FACTOR")
    assert found["prune_interval"] == (None, "environment", "SPEX_SHARDS_PRUNE_INTERVAL")
    assert found["max_restarts"] == (7, "file", str(project / "pyproject.toml"))
    assert found["call_timeout"] == (5.0, "default", None)
    [line] = [line for line in run("config").out.splitlines() if line.startswith("max_restarts")]
    assert line.split(maxsplit=2) == ["max_restarts", "7", f"file ({project / 'pyproject.toml'})"]


# ---------------------------------------------------------------------- exit codes


CODES = {
    ("check", "models", "--specification", "shop:Order"): 0,
    ("check", "bad", "--specification", "shop:Order"): 1,
    ("check", "nowhere"): 2,
    ("config",): 0,
    ("config", "--shards", "0"): 2,
    ("conform", "log.csv", *READ_CSV, "--specification", "shop:Order"): 0,
    ("conform", "log.csv", *READ_CSV, "--specification", "shop:Strict"): 1,
    ("conform", "nowhere.csv", "--specification", "shop:Order"): 2,
    ("convert", "models/shop.Order.spex", "x.aut"): 0,
    ("convert", "models/shop.Order.spex", "x.zip"): 2,
    ("diff", "models", "models"): 0,
    ("diff", "models", "bad"): 1,
    ("diff", "models", "nowhere"): 2,
    ("export", "--data-dir", "nowhere"): 2,
    ("merge", "models", "-o", "merged"): 0,
    ("merge", "nowhere", "-o", "merged"): 2,
    ("minimise", "models"): 0,
    ("minimise", "nowhere"): 2,
    ("render", "models", "x.html"): 0,
    ("render", "nowhere", "x.html"): 2,
    ("suggest", "models", "--specification", "shop:Order"): 0,
    ("suggest", "nowhere"): 2,
    ("serve", "--shards", "0"): 2,
    ("revive", "nowhere"): 2,
    ("top", "nowhere", "--once"): 2,
    ("verify", "nowhere"): 2,
    ("backup", "nowhere", "x"): 2,
    ("restore", "nowhere", "x"): 2,
    ("reshard", "nowhere", "--to", "2"): 2,
}
"""Those of replay, export, serve, revive, verify, backup, restore and reshard that need shards are tested with them."""


@pytest.mark.parametrize(
    ("arguments", "code"), CODES.items(), ids=lambda value: value[0] if isinstance(value, tuple) else value
)
def test_exit_codes_are_those_of_the_table(run: Run, models: Path, arguments: tuple[str, ...], code: int) -> None:
    """0 and 1 answer a question, 2 says that it could not be done; the table of docs/cli.md lists them."""
    write_model(models.parent / "bad", "shop.Order", *BAD)
    assert run(*arguments).code == code
    [row] = [
        line for line in (ROOT / "docs" / "cli.md").read_text().splitlines() if line.startswith(f"| `{arguments[0]}`")
    ]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[code + 1] != NOTHING


def test_the_table_of_exit_codes_has_every_command() -> None:
    """And no other."""
    section = (ROOT / "docs" / "cli.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.long
@pytest.mark.process
def test_a_reader_of_stdout_that_goes_ends_the_program_quietly(project: Path, models: Path) -> None:
    """As `head` does."""
    script = f"{sys.executable} -m spex_shards check models --specification shop:Order | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
@pytest.mark.tool("strace")
def test_each_line_on_stderr_is_written_in_one_piece(tmp_path: Path) -> None:
    """Other processes may write to the same file, and this one may be killed: no line is mixed with another."""
    trace = tmp_path / "trace"
    command = [sys.executable, "-m", "spex_shards", "serve", "--shards", "0", "--data-dir", str(tmp_path / "data")]
    traced = ["strace", "-e", "trace=write", "-e", "write=2", "-s", "2000", "-o", str(trace), *command]
    done = subprocess.run(
        traced, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert len(done.stderr.splitlines()) == 1
    assert len(re.findall(r"^write\(2, ", trace.read_text(), re.MULTILINE)) == 1
