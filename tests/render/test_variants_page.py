"""The page of an event log: what it says without its script, and what its script does."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.event_log import Conformance, EventLog, conform
from spex_shards.render import variants
from spex_shards.render.variants import page, percent
from tests.render.test_html_report import browser, requests_of, shown_in, tagged

__all__ = ["browser"]  # fixture
pytestmark = pytest.mark.usefixtures("specifications_as_before")
HOSTILE = '<img src="x:y" onerror="alert(1)"></script><b>&'
ENTRIES = [("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end")]
CASES = {"a": "pay ship", "b": "pay ship", "c": "pay refund", "d": "ship", "e": "pay lose ship", "f": "pay"}


def found_in(cases: dict[str, str], *, complete: bool = False, entries: Any = None) -> Conformance:
    """Return how cases fit a small specification; each is a text of actions."""
    cls = spex.Specification.define("page.Order", ENTRIES if entries is None else entries)
    events = [(number, action, "") for number, text in enumerate(cases.values()) for action in text.split()]
    return conform(EventLog(list(cases), events), cls, complete=complete)


def text_of(html: str) -> str:
    """Return what a reader without styles and script sees, with single blanks."""
    body = html.split("<main>")[1].split("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_a_page_says_everything_without_its_script() -> None:
    """Counts, figures, where cases part, and each variant as a line with its edits."""
    html = page(found_in(CASES), "Cases")
    said = text_of(html)
    assert "3 of 6 cases (50 %), in 2 of 5 variants, allowed by page.Order" in said
    assert "Precision 0.7142" in said
    assert "1 16.6 % refund paid ship, cancel case c, step 2" in said
    assert "2 33.3 % cases a, b pay ship" in said
    assert "case c pay not allowed, too much: refund Step 2 ( refund ) is not allowed in paid." in said
    assert "Nearest run: 1 edit: drop refund. Fitness 0.50." in said
    assert "case d missing: pay not allowed: ship Step 1 ( ship ) is not allowed in new." in said
    assert " hidden" not in re.sub(r'class="hidden"', "", html.split("<main>")[1].split("<script>")[0])


def test_the_step_where_a_variant_parts_is_marked_once() -> None:
    """Whether it is kept or dropped by the alignment."""
    html = page(found_in(CASES), "Cases")
    lines = re.findall(r'<ol class="line">(.*?)</ol>', html)
    assert [line.count("parted") for line in lines] == [0, 1, 1, 1, 0]
    assert '<li class="step missing">' in lines[2]
    assert '<li class="step surplus parted">' in lines[3]


def test_a_case_that_ends_too_early_says_so() -> None:
    """In the table of places and at the variant."""
    said = text_of(page(found_in({"a": "pay", "b": ""}, complete=True), "Cases"))
    assert "1 50 % ends too early paid ship, cancel case a, after step 1" in said
    assert "case a pay missing: ship It ends too early, in paid. Nearest run: 1 edit: add ship." in said
    assert "A case is allowed if its steps are a complete run of the specification." in said
    assert "case b missing: pay missing: ship It ends too early, in new." in said


def test_a_log_that_fits_has_no_places() -> None:
    """A case without a step is a variant too."""
    said = text_of(page(found_in({"a": "pay", "b": ""}), "Cases"))
    assert "2 of 2 cases (100 %)" in said
    assert "case b no step" in said
    assert "part from" not in said


def test_names_stay_text_and_nothing_is_fetched() -> None:
    """In cases, actions, states, the specification's name and the title."""
    entries = [(HOSTILE, HOSTILE.replace(" ", "_"), HOSTILE)]
    found = found_in({HOSTILE: f"{HOSTILE.replace(' ', '_')} other", "b": "other"}, entries=entries)
    html = page(found, HOSTILE)
    assert "<img" not in html
    assert len(re.findall("</script", html)) == 1
    assert "http" not in html.replace("http-equiv", "")
    assert not re.search(r'(?:src|href)\s*=\s*"(?!#v)', html)


def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out is counted; an example that is left out has no link."""
    monkeypatch.setattr(variants, "MOST_VARIANTS", 2)
    monkeypatch.setattr(variants, "MOST_PARTINGS", 6)
    cases = {**CASES, **{f"x{number}": f"x{number}" for number in range(10)}}
    html = page(found_in(cases), "Cases")
    assert html.count('class="variant ') == 2
    said = text_of(html)
    assert "13 more variants with 13 cases left out." in said
    assert "7 more places, with fewer cases each, left out." in said
    links = re.findall(r'href="#(v\d+)"', html)
    assert links == ["v2"]
    assert all(f'id="{link}"' in html for link in links)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 3, "0 %"), (1, 3, "33.3 %"), (3, 3, "100 %"), (9999, 10_000, "99.9 %"), (1, 10_000, "< 0.1 %")],
)
def test_a_share_is_whole_or_nothing_only_if_it_is(part: int, whole: int, shown: str) -> None:
    """It is rounded down, and what is there at all is more than nothing."""
    assert percent(part, whole) == shown


@tagged
def test_the_page_opens_from_disk_and_hides_what_is_rare_or_allowed(browser: Any, tmp_path: Path) -> None:
    """Nothing is fetched or reported; a link shows its variant whatever is chosen; the theme can be changed."""
    shown_in(browser, tmp_path, page(found_in(CASES), "Cases"))

    def shown() -> list[str]:
        found = browser.execute_script(
            "return [...document.querySelectorAll('.variant')].filter(v => !v.hidden).map(v => v.id)"
        )
        return [str(one) for one in found]

    def choose(percent: int) -> None:
        browser.execute_script(
            "const s = document.getElementById('share'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
            percent,
        )

    assert browser.get_log("browser") == []
    assert requests_of(browser) == [(tmp_path / "report.html").as_uri()]
    assert shown() == ["v1", "v2", "v3", "v4", "v5"]
    choose(40)
    assert shown() == ["v1", "v2"]
    assert browser.find_element("id", "count").text == "2 of 5 variants of this page shown"
    browser.find_element("id", "parted").click()
    assert shown() == ["v2"]
    browser.find_element("css selector", 'a[href="#v4"]').click()
    assert "v4" in shown()
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.find_element("id", "theme").click()
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != before


@pytest.mark.long
@tagged
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_variants_passes_the_checks_of_axe(browser: Any, tmp_path: Path, theme: str) -> None:
    """It passes all rules, including contrast, with everything unfolded."""
    from axe_core_python.selenium import Axe

    cases = {**CASES, **{f"x{number}": f"x{number}" for number in range(4)}}
    shown_in(browser, tmp_path, page(found_in(cases), "Cases"))
    browser.execute_script(
        "document.documentElement.dataset.theme = arguments[0];"
        "document.querySelectorAll('details').forEach(d => { d.open = true; });",
        theme,
    )
    found = Axe().run(browser)
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 10
