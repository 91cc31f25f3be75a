"""The console in a browser, with a real server: models, deviations as they come, histories, and nothing to write."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.cli.test_serve import Server, serve
from tests.cli.test_serve_sites import TOKEN, address
from tests.render.test_html_report import HOSTILE, browser, requests_of, tagged
from tests.support.processes import wait_until

__all__ = ["browser", "serve"]  # fixtures
pytestmark = pytest.mark.usefixtures("specifications_as_before")
STEPS = [("new", "pay", "paid"), ("paid", "ship", "shipped")]


@pytest.fixture
def manager(serve: Callable[..., Server], places: dict[str, Path]) -> Iterator[tuple[str, spex.InstanceManager]]:
    """Return the console's address, and a manager that is attached to its server, which has a model."""
    places["impl_models_dir"].mkdir()
    model = spex.ImplModel(
        specification="console.Order", transitions=[(None, spex.INITIALISATION, "new"), *STEPS], learning_mode=False
    )
    (places["impl_models_dir"] / "console.Order.spex").write_text(model.serialise())
    server = serve("--console", "0", "--shards", "2", learn=False).ready()
    with spex.connect(places["data_dir"]) as attached:
        yield address(server, "console")["url"], attached
    assert server.end(signal.SIGTERM) == 0


def text_of(browser: Any, query: str) -> str:
    """Return the text of an element."""
    return str(
        browser.execute_script(
            "const one = document.querySelector(arguments[0]); return one?.innerText ?? one?.textContent ?? ''", query
        )
    )


def open_page(browser: Any, url: str) -> None:
    """Open a page, after leaving the one before and clearing the log."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(url)


def look_for(browser: Any, identifier: str) -> None:
    """Search for an instance."""
    field = browser.find_element("id", "identifier")
    field.clear()
    field.send_keys(identifier + "\ue007")


@pytest.mark.long
@tagged
def test_it_shows_what_happens_without_being_opened_again(
    browser: Any, manager: tuple[str, spex.InstanceManager]
) -> None:
    """Shards, the model beside its specification, deviations, counts, and an instance's history. It only asks."""
    url, attached = manager
    order = spex.Specification.define("console.Order", STEPS)
    for number in range(3):
        attached.init_instance(order, ("order", number))
        attached.transition(("order", number), "pay", "paid")
    open_page(browser, url)
    browser.execute_script("window.opened = 'once'")
    wait_until(lambda: text_of(browser, ".verdict").startswith("equivalent"), "the model is shown")
    assert text_of(browser, "#shards").count("READY") == 2
    assert text_of(browser, "#deviations") == "None so far."
    assert len(browser.find_elements("css selector", ".side")) == 2
    wait_until(lambda: text_of(browser, "#states") == "paid\n3", "instances are counted")
    wait_until(lambda: "of 3" in text_of(browser, ".legend"), "their steps as well")

    attached.try_transition(("order", 1), "steal", HOSTILE)
    wait_until(lambda: "steal" in text_of(browser, "#deviations"), "the deviation is shown")
    assert f"paid ─ steal → {HOSTILE}" in text_of(browser, "#deviations").replace("\xa0", " ")
    wait_until(lambda: text_of(browser, ".verdict").startswith("violation"), "the verdict is about it")
    wait_until(lambda: "1" in text_of(browser, ".edge.extra .count, .action.extra .count"), "it is counted")

    look_for(browser, "('order', 1)")
    wait_until(lambda: "steal" in text_of(browser, "#instance"), "the history is shown")
    lines = text_of(browser, "#instance .history").replace("\n", " ")
    assert [part in lines for part in ("start → new", "pay → paid", f"steal → {HOSTILE}", "deviates")] == [True] * 4
    look_for(browser, "no such one")
    wait_until(lambda: text_of(browser, "#instance") == "There is no such instance.", "there is none")

    assert browser.execute_script("return window.opened") == "once"
    assert browser.title.startswith("Console of ")
    assert browser.get_log("browser") == []
    asked = {one.partition("?")[0].removeprefix(url) for one in requests_of(browser)}
    assert asked - {"favicon.ico"} == {"", "state", "view", "instance"}


@pytest.mark.long
@tagged
def test_what_its_reader_has_chosen_stays_when_something_comes(
    browser: Any, manager: tuple[str, spex.InstanceManager]
) -> None:
    """The chosen state and the model; and the page goes on after its server was away."""
    url, attached = manager
    order = spex.Specification.define("console.Order", STEPS)
    other = spex.Specification.define("console.Another", [("a", "b", "c")])
    attached.init_instance(order, 1)
    open_page(browser, url + "#console.Order")
    chosen = "return document.querySelector('[data-side=impl] .chosen')?.dataset.state"
    wait_until(lambda: text_of(browser, ".verdict").startswith("equivalent"), "the model is shown")
    browser.find_element("css selector", '[data-side="impl"] .canvas').send_keys("s")
    state = browser.execute_script(chosen)
    assert state is not None
    attached.init_instance(other, 2)
    attached.try_transition(1, "steal", "gone")
    wait_until(lambda: text_of(browser, ".verdict").startswith("violation"), "the new view is there")
    assert browser.execute_script(chosen) == state
    options = "return [...document.getElementById('which').options].map(one => one.value)"
    wait_until(lambda: "console.Another" in browser.execute_script(options), "the other model is listed")
    assert browser.execute_script("return document.getElementById('which').value") == "console.Order"
    browser.execute_script(
        "const which = document.getElementById('which'); which.value = 'console.Another';"
        "which.dispatchEvent(new Event('change'))"
    )
    wait_until(lambda: "console.Another" in browser.execute_script(
        "return document.querySelector('section.view').getAttribute('aria-label')"), "it is shown")  # fmt: skip
    assert browser.current_url.endswith("#console.Another")
    assert browser.get_log("browser") == []


@pytest.mark.long
@tagged
def test_it_passes_the_checks_of_axe(browser: Any, manager: tuple[str, spex.InstanceManager]) -> None:
    """All rules, including contrast, in both themes, with a deviation and a history."""
    from axe_core_python.selenium import Axe

    url, attached = manager
    order = spex.Specification.define("console.Order", STEPS)
    attached.init_instance(order, 1, meta={"total": 12})
    attached.try_transition(1, "steal", "gone")
    open_page(browser, url)
    look_for(browser, "1")
    wait_until(lambda: "steal" in text_of(browser, "#instance"), "the history is shown")
    wait_until(lambda: text_of(browser, "#states"), "instances are counted")
    for theme in ("light", "dark"):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        wait_until(lambda: not browser.execute_script("return document.getAnimations().length"), "nothing moves")
        found = Axe().run(browser)
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []


@pytest.mark.long
@tagged
def test_a_token_is_asked_for_once(browser: Any, serve: Callable[..., Server]) -> None:
    """It is exchanged for a cookie, and does not stay in the address; a wrong one opens nothing."""
    server = serve("--console", "0", "--token", TOKEN).ready()
    url = address(server, "console")["url"]
    browser.get(url)
    field = browser.find_element("css selector", "input[type=password]")
    field.send_keys("wrong-wrong-wrong\ue007")
    wait_until(lambda: "token=wrong" in browser.current_url, "the wrong one was sent")
    assert browser.find_elements("id", "shards") == []
    browser.find_element("css selector", "input[type=password]").send_keys(TOKEN + "\ue007")
    wait_until(lambda: text_of(browser, "#live") == "live", "it is open")
    assert TOKEN not in browser.current_url
    assert "READY" in text_of(browser, "#shards")
    assert browser.execute_script("return document.cookie") == ""
    [cookie] = [one for one in browser.get_cookies() if one["name"].startswith("spex_shards_")]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    browser.get(url)
    wait_until(lambda: text_of(browser, "#live") == "live", "it is open again")
    browser.delete_all_cookies()
    wait_until(lambda: "a token is needed" in text_of(browser, "#trouble"), "it says what is missing")
    assert server.end(signal.SIGTERM) == 0
    wait_until(lambda: "does not answer" in text_of(browser, "#trouble"), "it says that the server is away")
    assert text_of(browser, "#live") == "not live"
    browser.get("about:blank")
    browser.get_log("browser")
