"""``conform`` as users see it: its texts, JSON, page, exit codes and errors."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_cli import READ_CSV, XES, Done, project, run
from tests.support.places import SHARED

__all__ = ["project", "run"]  # fixtures
Run = Callable[..., Done]
ASKED = ("conform", "log.csv", *READ_CSV, "--specification")


def test_a_log_whose_cases_are_all_allowed_exits_with_0(run: Run) -> None:
    """The text has the counts, the three figures and the variants."""
    assert run(*ASKED, "shop:Order") == Done(
        0,
        "shop.Order: 2 of 2 cases allowed (100 %), 2 of 2 variants\n"
        "  fitness 1 (mean of cases), 1 (whole log); precision 1\n"
        "variants:\n"
        "  1 case (50 %), allowed: pay, cancel\n"
        "  1 case (50 %), allowed: pay, ship\n",
        "",
    )


def test_a_log_with_a_case_that_is_not_allowed_exits_with_1_and_says_where_it_parts(run: Run) -> None:
    """The text names the step, what is specified there, an example, and the edits that would repair it."""
    assert run(*ASKED, "shop:Strict") == Done(
        1,
        "shop.Strict: 1 of 2 cases allowed (50 %), 1 of 2 variants\n"
        "  fitness 0.7500 (mean of cases), 0.7500 (whole log); precision 1\n"
        "where cases part:\n"
        "  1 case: cancel in paid, where ship is specified; case a, step 2\n"
        "variants (+ is missing, - is too much):\n"
        "  1 case (50 %), 1 edit: pay, -cancel\n"
        "  1 case (50 %), allowed: pay, ship\n",
        "",
    )


def test_json_has_everything_on_one_line(run: Run) -> None:
    """The exit code is the same."""
    done = run(*ASKED, "shop:Strict", "--format", "json")
    assert done.code == 1
    assert (done.plain["cases"], done.plain["allowed"], done.plain["trace_fitness"]) == (2, 1, 0.75)
    assert done.plain["partings"][0]["action"] == "cancel"
    assert done.plain["variants"][0]["alignment"] == [["same", "pay", "paid"], ["surplus", "cancel", "paid"]]


def test_complete_cases_must_come_to_an_end(run: Run, project: Path) -> None:
    """A case that stops is told with its last step, and with what is missing."""
    (project / "log.csv").write_text("case,activity,time\na,pay,1\nb,pay,1\nb,ship,2\n")
    assert run(*ASKED, "shop:Order").code == 0
    done = run(*ASKED, "shop:Order", "--complete")
    assert done.code == 1
    assert "  1 case: ends in paid, where ship or cancel is specified; case a, after step 1" in done.out.splitlines()
    assert "  1 case (50 %), 1 edit: pay, +ship" in done.out.splitlines()


def test_actions_are_hidden_and_renamed(run: Run) -> None:
    """As for check: in log and specification."""
    done = run(*ASKED, "shop:Strict", "--rename", "cancel=ship")
    assert (done.code, done.out.splitlines()[-1]) == (0, "  2 cases (100 %), allowed: pay, ship")
    done = run(*ASKED, "shop:Strict", "--hide", "cancel", "--hide", "pay")
    assert (done.code, done.out.splitlines()[-2:]) == (
        0,
        ["  1 case (50 %), allowed: no step", "  1 case (50 %), allowed: ship"],
    )


def test_xes_needs_no_names_of_attributes(run: Run, project: Path) -> None:
    """A case without events is a variant without a step."""
    (project / "log.xes").write_text(XES)
    (project / "conform_desk.py").write_text(
        "import spex_shards as spex\n\n\nclass Desk(spex.Specification):\n"
        '    transitions = [("new", "open", "opened"), ("opened", "close", "closed")]\n'
    )
    done = run("conform", "log.xes", "--specification", "conform_desk:Desk")
    assert (done.code, done.headlines[0]) == (0, "conform_desk.Desk: 2 of 2 cases allowed (100 %), 2 of 2 variants")


def test_a_text_lists_ten_places_and_variants_and_cuts_long_lines(run: Run, project: Path) -> None:
    """JSON has them all. Of a long line the beginning is shown, and what is near an edit."""
    rows = [f"{case},x{case},{case}" for case in range(100, 112)]
    long = ["pay", "ship", "return"] * 10 + ["lose"] + ["pay", "ship", "return"] * 10
    rows += [f"{case},{action},{time}" for case in "ab" for time, action in enumerate(long)]
    (project / "log.csv").write_text("case,activity,time\n" + "\n".join(rows))
    done = run(*ASKED, "shop:Eager")
    lines = done.out.splitlines()
    assert lines[2] == "where cases part:"
    assert lines[3] == "  2 cases: lose in new, where pay is specified; case a, step 31"
    assert lines[13] == "  and 3 more places"
    assert lines[-1] == "  and 3 more variants"
    beginning = ", ".join(["pay", "ship", "return"] * 4 + ["pay"])
    assert lines[15] == f"  2 cases (14.2 %), 1 edit: {beginning}, … 16 more …, return, -lose, pay, … 29 more"
    plain = run(*ASKED, "shop:Eager", "--format", "json").plain
    assert (len(plain["partings"]), len(plain["variants"])) == (13, 13)


def test_many_allowed_actions_are_cut_in_a_text(run: Run, project: Path) -> None:
    """Six are named, and the others counted."""
    (project / "conform_wide.py").write_text(
        "import spex_shards as spex\n\n\nclass Wide(spex.Specification):\n"
        '    transitions = [("s", f"a{n}", "e") for n in range(9)]\n'
    )
    done = run(*ASKED, "conform_wide:Wide")
    assert "  2 cases: pay in s, where a0, a1, a2, a3, a4, a5 or 3 more is specified; case a, step 1" in done.out


def test_a_report_is_written(run: Run, project: Path) -> None:
    """The result names it; the exit code does not change."""
    done = run(*ASKED, "shop:Strict", "--report", "cases.html")
    assert (done.code, done.out.splitlines()[-1]) == (1, "written to cases.html")
    assert "<title>Cases of log.csv</title>" in (project / "cases.html").read_text()
    assert run(*ASKED, "shop:Order", "--report", "cases.html", "--format", "json").plain["report"] == "cases.html"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (*ASKED, "shop:Order", "--report", "cases.txt"),
            "--report must be a file that ends in .html, got: 'cases.txt'",
        ),
        (
            (*ASKED, "shop:Order", "--report", "no/cases.html"),
            "--report must be in a folder that is there, got: 'no/cases.html'",
        ),
        ((*ASKED, "shop:Nobody"), "shop"),
        ((*ASKED, "shop:Order", "--hide", "pay", "--rename", "pay=p"), "hidden or renamed, not both, got: 'pay'"),
        ((*ASKED, "shop:Order", "--rename", "pay"), "--rename must be OLD=NEW, got: 'pay'"),
        (
            (*ASKED, "shop:Eager", "--complete"),
            "--complete: cases of shop.Eager cannot be complete: no terminal state of the specification can be reached",
        ),
        (("conform", "none.csv", *READ_CSV, "--specification", "shop:Order"), "none.csv"),
        (("conform", "shop.py", "--specification", "shop:Order"), "the format of an event log must be one of"),
        (("conform", "log.csv", "--specification", "shop:Order"), "a csv log needs --case, --action, --timestamp"),
        (("conform", "empty.csv", *READ_CSV, "--specification", "shop:Order"), "a log must have a case to be checked"),
        (("conform", "bad.csv", *READ_CSV, "--specification", "shop:Order"), "must not be the reserved"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(run: Run, project: Path, arguments: tuple[str, ...], text: str) -> None:
    """The exit code is 2, nothing is on stdout, and JSON has the same error."""
    (project / "empty.csv").write_text("case,activity,time\n")
    (project / "bad.csv").write_text("case,activity,time\na,__initialisation__,1\n")
    done = run(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: ")
    assert text in done.err
    assert run(*arguments, "--format", "json").plain == {"error": done.err.removeprefix("error: ").strip()}


def test_the_specification_must_be_named(run: Run) -> None:
    """It is wrong usage without it."""
    done = run("conform", "log.csv", *READ_CSV)
    assert done.code == 2
    assert "--specification" in done.err


@pytest.mark.process
def test_a_terminal_shows_progress_and_is_left_clean(project: Path) -> None:
    """The bars go to stderr and stdout has the result alone."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "spex_shards.cli", *ASKED, "shop:Order"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=60, env=environment)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert done.stdout.decode().startswith("shop.Order: 2 of 2 cases allowed")
    assert "aligning" in shown


@pytest.mark.long
@pytest.mark.shared
def test_a_real_log_is_checked_with_a_report(run: Run, project: Path) -> None:
    """The help desk's most frequent life, complete or not, and the page of it."""
    (project / "conform_ticket.py").write_text(
        "import spex_shards as spex\n\n\nclass Ticket(spex.Specification):\n"
        '    steps = ["start", "Assign seriousness", "Take in charge ticket", "Resolve ticket", "Closed"]\n'
        "    transitions = [(a, b, b) for a, b in zip(steps, steps[1:])]\n"
    )
    log = SHARED / "data" / "helpdesk.xes.gz"
    asked = ("conform", log, "--specification", "conform_ticket:Ticket", "--report", "cases.html")
    done = run(*asked)
    assert done.code == 1
    assert done.headlines[0] == "conform_ticket.Ticket: 2368 of 4580 cases allowed (51.7 %), 2 of 226 variants"
    assert "  959 cases: Wait in Take in charge ticket, where Resolve ticket is specified; case Case 1009, step 3" in (
        done.out.splitlines()
    )
    assert (project / "cases.html").read_text().count('class="variant ') == 226
    assert run(*asked, "--complete").headlines[0].startswith("conform_ticket.Ticket: 2366 of 4580 cases allowed")
