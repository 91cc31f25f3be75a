"""The HTML report: its layout, its text, and its behaviour in a browser."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.domain.frequency import Frequencies
from spex_shards.render.html import report
from spex_shards.render.view import view_of
from spex_shards.render.walk import walk
from spex_shards.review.deviations import deviations_in
from tests.cli.test_cli import GOOD, Done, project, run, write_model

__all__ = ["project", "run"]  # fixtures
T = spex.Transition
TAU = spex.INTERNAL


pytestmark = pytest.mark.usefixtures("specifications_as_before")


# ---------------------------------------------------------------------- the walk


def test_a_walk_answers_each_step_as_far_as_it_can() -> None:
    """Silent steps come first; of several ways it takes one that gets furthest; a silent step needs no answer."""
    other = [T("p", TAU, "q"), T("q", "a", "dead"), T("q", "a", "r"), T("r", "b", "s")]
    steps = walk([T("1", "a", "2"), T("2", TAU, "3"), T("3", "b", "4"), T("4", "c", "5")], other, "p")
    assert [step.answered for step in steps] == [True, True, True, False]
    assert steps[0].answer == (T("p", TAU, "q"), T("q", "a", "r"))
    assert (steps[1].answer, steps[2].answer, steps[3].answer) == ((), (T("r", "b", "s"),), ())
    assert walk([T("1", "a", "2")], other, None)[0].answered is False


# ---------------------------------------------------------------------- the page

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>"\'&'


def page_of(*steps: tuple[str, str, str], entries: list[tuple[str, str, str]] | None = None) -> str:
    """Return the report of a model with these steps and a specification with these entries."""
    order = spex.Specification.define("html.Order", GOOD if entries is None else entries)
    start = [(None, spex.INITIALISATION, steps[0][0])]
    model = spex.ImplModel(specification="html.Order", transitions=[*start, *steps])
    return report([view_of(model, order, spex.check(model, order))], "Review")


def test_a_page_is_self_contained_and_trusts_no_name() -> None:
    """It has no address and no script but its own, and names stay text."""
    page = page_of((HOSTILE, HOSTILE, "b"), entries=[(HOSTILE, "x", HOSTILE)])
    assert not re.search(r'(?:src|href)\s*=\s*"', page.replace(HOSTILE, ""))
    assert "http" not in page.replace("http-equiv", "")
    assert "<img" not in page
    assert len(re.findall("<script", page)) == 2
    data = re.search(r'<script class="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert HOSTILE in json.dumps(json.loads(data[1]), ensure_ascii=False).replace('\\"', '"')


def test_steps_begin_with_the_cause() -> None:
    """And go on from where both start to where they part; each lights what it speaks of."""
    order = spex.Specification.define("html.Order", [("new", "pay", "paid"), ("paid", "ship", "end")])
    steps = [(None, spex.INITIALISATION, "new"), ("new", "pay", "paid"), ("paid", "steal", "gone")]
    model = spex.ImplModel(specification="html.Order", transitions=steps)
    view = view_of(model, order, spex.check(model, order))
    texts = [step["text"] for step in view.steps]
    assert texts[0] == spex.check(model, order).explanation.text
    assert texts[1] == "Both start: the specification in new, the implementation in new"
    assert "new --[pay]-> paid" in texts[2]
    assert view.steps[0]["states"] == [["impl", "paid"], ["spec", "paid"]]
    kinds = {one.transition.action: one.kind for one in view.sides["impl"]}
    assert (kinds["pay"], kinds["steal"]) == ("shown", "extra")
    lit = {one.number for one in view.sides["impl"] if one.kind == "extra"}
    assert lit <= set(view.steps[0]["light"])
    assert {one.kind for one in view.sides["spec"] if one.transition.action == "ship"} == {"missing"}


def test_equivalent_states_of_both_sides_have_one_tint() -> None:
    """Each other state has none."""
    order = spex.Specification.define("html.Order", [("new", "pay", "paid"), ("paid", "ship", "end")])
    model = spex.ImplModel(
        specification="html.Order",
        transitions=[(None, spex.INITIALISATION, "A"), ("A", "pay", "B"), ("B", "ship", "C")],
    )
    view = view_of(model, order, spex.check(model, order))
    assert view.classes["spec"] == {"new": 1, "paid": 2, "end": 3}
    assert view.classes["impl"] == {"A": 1, "B": 2, "C": 3}
    assert len(set(view.tints.values())) == 3
    assert view.steps == []


def test_a_model_without_specification_or_with_two_starts_is_drawn_as_well() -> None:
    """It is drawn as far as possible."""
    two = [(None, spex.INITIALISATION, "a"), (None, spex.INITIALISATION, "b"), ("a", "x", "b")]
    model = spex.ImplModel(specification="html.Two", transitions=two)
    assert "no specification is known" in report([view_of(model)], "t")
    order = spex.Specification.define("html.Two", [("a", "x", "b")])
    view = view_of(model, order, spex.check(model, order))
    assert view.steps[0]["text"].startswith("The model has 2 different initialisations")
    assert "different initialisations" in report([view], "t")
    empty = spex.ImplModel(specification="html.Two", transitions=[])
    assert "incomplete" in report([view_of(empty, order, spex.check(empty, order))], "t")


def test_what_is_too_large_to_be_drawn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do."""
    monkeypatch.setattr("spex_shards.render.view.MOST_DRAWN", 3)
    model = spex.ImplModel(specification="html.Large", transitions=[(None, spex.INITIALISATION, "start"), *GOOD])
    with pytest.raises(ValueError, match=r"html\.Large: at most 3 transitions can be drawn, there are 4; minimise"):
        view_of(model)


# ---------------------------------------------------------------------- deviations of instances


@pytest.mark.process
def test_properties_are_listed_with_the_run_that_breaks_them() -> None:
    """Open where one does not hold; names stay text."""
    shop = spex.Specification.define(
        "html.Shop", GOOD, properties=[spex.properties.never("ship", after="pay"), spex.properties.never(HOSTILE)]
    )
    start = (None, spex.INITIALISATION, "start")
    model = spex.ImplModel(specification="html.Shop", transitions=[start, *GOOD])
    page = report([view_of(model, shop, spex.check(model, shop))], "Review")
    assert "<details open>\n<summary>Properties of runs: 1 of 2 hold</summary>" in page
    assert "<td>never ship after pay</td><td>violation</td><td>broken by start --pay--&gt; p --ship--&gt; " in page
    assert HOSTILE not in page
    assert "Properties of runs" not in page_of(("new", "pay", "paid"))


def test_deviations_name_the_instances_that_made_them(project: Path, run: Callable[..., Done]) -> None:
    """They come from all shards, at most five by name, and form a table in the report."""
    order = spex.Specification.define("shop.Strict", GOOD[:2], error_handler=lambda error, caller: None)
    write_model(project / "models", "shop.Strict", *GOOD[:2])
    with spex.ShardedInstanceManager(
        data_dir=project / "data", impl_models_dir=project / "models", distribution_factor=2
    ) as manager:
        for number in range(10):
            manager.init_instance(order, number, initial_state="start")
            manager.transition(number, "pay", "p")
            manager.transition(number, *(("cancel", "c") if number < 7 else ("ship", "s")))
    (found,) = deviations_in(project / "data", "shop.Strict", [T("p", "fly", "away")])
    assert found.transition == T("p", "cancel", "c")
    assert (found.count, found.made_by, len(found.instances), found.accepted) == (7, 7, 5, False)
    assert found.verdict == "violation"
    assert found.first_seen is not None
    assert found.last_seen >= found.first_seen
    assert deviations_in(project / "data", "shop.Nothing", []) == []
    (project / "shop.py").write_text(
        f"import spex_shards as spex\nclass Strict(spex.Specification):\n    transitions = {GOOD[:2]}\n"
    )
    done = run("render", "models/shop.Strict.spex", "r.html", "--data-dir", "data", "--specification", "shop:Strict")
    assert done.code == 0, done.err
    page = Path("r.html").read_text()
    assert "and 2 more</td>" in page
    assert "<td>cancel</td>" in page


# ---------------------------------------------------------------------- the command


def test_render_writes_what_the_ending_says(run: Callable[..., Done], project: Path) -> None:
    """A directory becomes one page, or a directory of drawings; what cannot be drawn writes nothing."""
    write_model(project / "models", "shop.Order", *GOOD)
    write_model(project / "models", "shop.Strict", *GOOD)
    done = run("render", "models", "all.html", "--specification", "shop:Order")
    assert done == Done(0, "shop.Order: drawn\nshop.Strict: drawn\nhtml written to all.html\n", "")
    assert Path("all.html").read_text().count('<section class="view"') == 2
    assert run("render", "shop:Order", "-", "--to", "mermaid").out.startswith("stateDiagram-v2")
    assert run("render", "shop:Order", "order.dot").code == 0
    assert run("render", "models", "drawn.mmd").code == 0
    assert sorted(path.name for path in Path("drawn.mmd").iterdir()) == ["shop.Order.mermaid", "shop.Strict.mermaid"]
    assert run("render", "shop:Order", "x.aut").err.startswith("error: aut is no drawing; a drawing must be svg, html")
    assert run("render", "shop:Order", "-").err == "error: what is written to stdout must be named by --to\n"
    assert run("render", "gone", "x.html").code == 2
    assert not list(project.glob("x.*"))


def test_render_marks_what_deviates_and_what_was_not_seen(run: Callable[..., Done], project: Path) -> None:
    """In dot and Mermaid, where the specification is known; a missing step stands at the state that it belongs to."""
    write_model(project / "models", "shop.Strict", ("start", "pay", "p"), ("p", "cancel", "c"))
    model = "models/shop.Strict.spex"
    plain = run("render", model, "-", "--to", "mermaid")
    assert "#lpar;" not in plain.out
    marked = run("render", model, "-", "--to", "mermaid", "--specification", "shop:Strict")
    number = {name: key for key, name in re.findall(r"^    (s\d+) : (.*)$", marked.out, re.MULTILINE)}
    assert f"{number['p']} --> {number['c']} : cancel #lpar;deviates#rpar;" in marked.out
    assert f"{number['p']} --> {number['end']} : ship #lpar;not seen#rpar;" in marked.out
    dot = run("render", model, "-", "--to", "dot", "--specification", "shop:Strict").out
    assert re.search(r'label="cancel", color="#b3201b"', dot)
    assert re.search(r'label="ship", style=dashed', dot)
    assert "dashed" not in run("convert", model, "-", "--to", "dot").out


@pytest.mark.tool("dot")
def test_render_draws_svg_by_graphviz(run: Callable[..., Done], project: Path) -> None:
    """This needs Graphviz."""
    assert run("render", "shop:Order", "order.svg", "--format", "json").plain["form"] == "svg"
    assert "<svg" in Path("order.svg").read_text()


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a headless Chromium."""
    import shutil

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        "--window-size=1300,950", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    driver.get("about:blank")
    yield driver
    driver.quit()


def shown_in(browser: Any, folder: Path, page: str) -> Any:
    """Open a page from disk, after clearing the log."""
    path = folder / "report.html"
    path.write_text(page)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    return browser


def requests_of(browser: Any) -> list[str]:
    """Return the requests since the page was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith("chrome")]


def tagged(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs a browser."""
    for mark in (pytest.mark.process, pytest.mark.tool("chromium"), pytest.mark.tool("chromedriver")):
        test = mark(test)
    return test


STRICT = [("new", "pay", "paid"), ("paid", "ship", "end"), ("end", "return", "new")]
MODEL = [("start", "pay", "p"), ("p", "ship", "s"), ("p", "cancel", "c")]


@tagged
def test_the_page_opens_from_disk_without_a_request_or_an_error(browser: Any, tmp_path: Path) -> None:
    """This holds whatever names it shows."""
    for page in (page_of(*MODEL, entries=STRICT), page_of((HOSTILE, HOSTILE, "b"), entries=[(HOSTILE, "x", HOSTILE)])):
        shown_in(browser, tmp_path, page)
        assert browser.get_log("browser") == []
        assert requests_of(browser) == [(tmp_path / "report.html").as_uri()]
        assert browser.title == "Review"


@tagged
def test_stepping_lights_up_the_drawing(browser: Any, tmp_path: Path) -> None:
    """The cause first, when the page opens; then by button, key and click. Each step is said to screen readers."""
    shown_in(browser, tmp_path, page_of(*MODEL, entries=STRICT))

    def lit() -> list[str]:
        return browser.execute_script(
            "return [...document.querySelectorAll('.state.lit')].map(s => s.closest('.side').dataset.side + ':' "
            "+ s.dataset.state)"
        )

    current = "return [...document.querySelectorAll('.steps li')].findIndex(li => li.hasAttribute('aria-current'))"
    edges = "return [...document.querySelectorAll('text.action.lit')].map(text => text.dataset.action)"
    back, forth = browser.find_elements("css selector", ".steps .turn")
    assert (lit(), browser.execute_script(current)) == (["spec:paid", "impl:p"], 0)
    assert "cancel" in browser.execute_script(edges)
    assert not back.is_enabled()
    said = browser.find_element("id", "said")
    assert said.get_attribute("textContent") == ""
    forth.click()
    assert (lit(), browser.execute_script(current)) == (["spec:new", "impl:start"], 1)
    body = browser.find_element("tag name", "body")
    body.send_keys("n")
    assert (lit(), browser.execute_script(current)) == (["spec:paid", "impl:p"], 2)
    assert said.get_attribute("textContent").startswith("Step 3 of ")
    body.send_keys("p")
    assert browser.execute_script(current) == 1
    last = browser.find_elements("css selector", ".steps li button")[-1]
    last.click()
    assert not forth.is_enabled()
    assert browser.get_log("browser") == []


@tagged
def test_search_themes_zoom_and_equivalent_states_work(browser: Any, tmp_path: Path) -> None:
    """All work with the keyboard alone, except the click on a state."""
    shown_in(browser, tmp_path, page_of(*GOOD))
    body = browser.find_element("tag name", "body")
    body.send_keys("/")
    field = browser.switch_to.active_element
    assert field.get_attribute("id") == "search"
    field.send_keys("ship")
    assert browser.find_element("id", "found").text == "2 found"
    field.send_keys("\ue007")
    assert browser.find_element("id", "found").text == "1 of 2"
    field.send_keys("\ue00c")
    assert browser.find_elements("css selector", ".hit") == []
    paper = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(paper)
    body.send_keys("t")
    assert browser.execute_script(paper) != before
    canvas = browser.find_element("css selector", ".canvas")
    box = "return document.querySelector('.canvas svg').getAttribute('viewBox')"
    seen = [browser.execute_script(box)]
    for key in ("+", "\ue014", "-", "0"):
        canvas.send_keys(key)
        seen.append(browser.execute_script(box))
    assert len(set(seen[:4])) == 4
    assert seen[4] == seen[0]
    browser.find_element("css selector", ".side[data-side=spec] .state[data-state=c] text").click()
    mates = browser.execute_script("return [...document.querySelectorAll('.mates')].map(s => s.dataset.state)")
    assert sorted(mates) == ["c", "s", "s"]
    own = "return [...document.querySelectorAll('.own')].map(e => e.dataset.source + ' ' + e.dataset.target)"
    assert browser.execute_script(own) == ["p c"]
    canvas.send_keys("\ue00c")
    assert browser.execute_script(own) == []
    canvas.send_keys("s")
    canvas.send_keys("s")
    assert sorted(browser.execute_script(own)) == ["p c", "p s", "start p"]
    assert browser.find_element("id", "said").get_attribute("textContent").startswith("p: 3 steps. ")
    canvas.send_keys("S")
    assert browser.execute_script("return document.querySelector('.chosen').dataset.state") == "start"


@tagged
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_passes_the_checks_of_axe(browser: Any, tmp_path: Path, theme: str) -> None:
    """It passes all rules, including contrast, with a step highlighted and the tables open."""
    from axe_core_python.selenium import Axe

    from spex_shards.review.deviations import Deviating

    model = spex.ImplModel(specification="html.Order", transitions=[(None, spex.INITIALISATION, "start"), *MODEL])

    deviations = [Deviating(T("p", "cancel", "c"), "violation", count=2, instances=["17"], made_by=2)]
    chain = [(f"s{n}", f"x{n}", f"s{n + 1}") for n in range(12)]
    order = spex.Specification.define("html.Order", [*STRICT, ("new", "begin", "s0"), *chain])
    often = spex.ImplModel(
        specification="html.Order", transitions=[*model.transitions, ("start", "begin", "s0"), *chain]
    )
    frequencies = Frequencies(99, {t: 99 - 7 * n for n, t in enumerate(map(T._make, chain))})
    views = [view_of(often, order, spex.check(often, order), deviations, frequencies), view_of(model)]
    assert 'class="share"' in report(views, "Review")
    shown_in(browser, tmp_path, report(views, "Review"))
    browser.execute_script(
        "document.documentElement.dataset.theme = arguments[0];"
        "document.querySelectorAll('.turn')[1].click(); document.querySelectorAll('.turn')[1].click();"
        "document.querySelectorAll('details').forEach(d => { d.open = true; });",
        theme,
    )
    found = Axe().run(browser)
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 10


@tagged
def test_a_choice_of_models_shows_one_at_a_time(browser: Any, tmp_path: Path) -> None:
    """The keys act on the chosen one."""
    order = spex.Specification.define("html.Order", STRICT)
    model = spex.ImplModel(specification="html.Order", transitions=[(None, spex.INITIALISATION, "start"), *MODEL])
    shown_in(browser, tmp_path, report([view_of(model), view_of(model, order, spex.check(model, order))], "Review"))
    visible = "return [...document.querySelectorAll('.view')].map(v => !v.hidden)"
    assert browser.execute_script(visible) == [True, False]
    browser.find_element("css selector", "#model option[value='1']").click()
    assert browser.execute_script(visible) == [False, True]
    browser.find_element("tag name", "h1").click()
    browser.find_element("tag name", "body").send_keys("n")
    assert len(browser.find_elements("css selector", "li[aria-current]")) == 1


@pytest.mark.long
@tagged
def test_five_hundred_states_can_be_read(browser: Any, tmp_path: Path) -> None:
    """It opens at the cause, with names at a size that can be read; search brings any state into sight."""
    choose = random.Random(3)
    entries = [(f"s{max(0, n - 1 - choose.randrange(12))}", f"a{choose.randrange(20)}", f"s{n}") for n in range(1, 500)]
    shown_in(browser, tmp_path, page_of(*entries, ("s77", "steal", "s3"), entries=entries))
    assert browser.get_log("browser") == []
    assert len(browser.find_elements("css selector", ".side[data-side=spec] .state")) == 500
    height = "return document.querySelector(arguments[0]).getBoundingClientRect().height"
    assert browser.execute_script(height, ".state[data-state=s0] text") >= 11
    canvas, blamed = (
        browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", query)
        for query in (".side[data-side=impl] .canvas", ".side[data-side=impl] .state[data-state=s77]")
    )
    assert canvas["left"] <= blamed["left"] <= blamed["right"] <= canvas["right"]
    assert canvas["top"] <= blamed["top"] <= blamed["bottom"] <= canvas["bottom"]
    field = browser.find_element("id", "search")
    field.send_keys("s499\ue007")
    canvas, state = (
        browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", query)
        for query in (".canvas", ".state[data-state=s499] rect")
    )
    assert canvas["left"] <= state["left"] <= state["right"] <= canvas["right"]
    assert canvas["top"] <= state["top"] <= state["bottom"] <= canvas["bottom"]
    assert state["height"] >= 30


@tagged
def test_a_report_opens_with_the_cause_in_words_and_drawn(browser: Any, tmp_path: Path) -> None:
    """At 1400 by 900 nothing has to be scrolled: sentence, steps and drawings whole, in names that can be read."""
    browser.set_window_size(1400, 900)
    try:
        shown_in(browser, tmp_path, page_of(*PAID, entries=PAYMENT))
        boxes = browser.execute_script(
            "return ['.verdict', '.steps', '.side[data-side=spec]', '.side[data-side=impl]']"
            ".map(query => document.querySelector(query).getBoundingClientRect().toJSON()).concat([window.innerHeight])"
        )
        assert all(box["bottom"] <= boxes[-1] for box in boxes[:-1])
        assert (
            browser.execute_script("return document.querySelector('.state.lit text').getBoundingClientRect().height")
            > 12
        )
        assert browser.find_element("css selector", ".edge.extra.lit").get_attribute("data-source") == "captured"
        small = browser.find_element("css selector", ".side[data-side=spec] .bar small")
        assert small.text == "2 of 8 not seen (dashed)"
        red = "return getComputedStyle(document.querySelector(arguments[0])).fill"
        for state in browser.find_elements("css selector", ".state.same rect"):
            tint = [int(part) for part in re.findall(r"\d+", state.value_of_css_property("fill"))[:3]]
            assert max(tint) - min(tint) < 20, "equivalent states are nearly grey"
            assert tint[0] < max(tint), "and not red"
        assert browser.execute_script(red, ".edge.extra .head") == "rgb(179, 32, 27)"
    finally:
        browser.set_window_size(1300, 950)


@pytest.mark.long
@tagged
def test_a_slider_keeps_the_most_frequent_share(browser: Any, tmp_path: Path) -> None:
    """By mouse or arrow keys; the numbers and widths are those of all; a step that is not shown brings all back."""
    entries = [(f"s{n}", f"a{n}", f"s{n + 1}") for n in range(12)] + [("s0", "rare", "s9"), ("s3", "odd", "s1")]
    start = [(None, spex.INITIALISATION, "s0")]
    model = spex.ImplModel(specification="html.Often", transitions=[*start, *entries])
    taken = {
        t: 1 if t.action in ("rare", "odd") else 1000 - 50 * n for n, t in enumerate(sorted(model.transitions, key=str))
    }
    order = spex.Specification.define("html.Often", entries[:-1])
    view = view_of(model, order, spex.check(model, order), None, Frequencies(1000, taken))
    shown_in(browser, tmp_path, report([view], "Review"))
    assert browser.get_log("browser") == []
    actions = "return [...document.querySelectorAll('.side[data-side=impl] svg:not([hidden]) text.action')]"
    texts = f"{actions}.map(text => [...text.childNodes].slice(1).map(node => node.textContent).join(''))"
    slider, kept = browser.find_element("css selector", ".share"), browser.find_element("css selector", ".kept")
    browser.execute_script("arguments[0].focus()", slider)
    slider.send_keys("\ue010")
    assert kept.text == "100 %: 14 of 14 steps"
    whole = browser.execute_script(texts)
    slider.send_keys("\ue011")
    fewer = browser.execute_script(texts)
    assert set(fewer) < set(whole)
    assert "rare 1" not in fewer
    assert "odd 1" in fewer, "what deviates is always shown"
    assert slider.get_attribute("aria-valuetext") == kept.text
    assert kept.text.startswith("50 %: ")


PAYMENT = [
    ("created", "authorise", "authorised"), ("created", "cancel", "cancelled"), ("authorised", "capture", "captured"),
    ("authorised", "expire", "expired"), ("authorised", "void", "voided"), ("captured", "settle", "settled"),
    ("captured", "refund", "refunded"), ("settled", "refund", "refunded"),
]  # fmt: skip
PAID = [*(step for step in PAYMENT if step[1] not in ("cancel", "expire")), ("captured", "void", "voided")]
