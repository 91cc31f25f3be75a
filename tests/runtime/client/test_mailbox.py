"""The messages of handlers until they are taken: order, limits, one thread, and the end."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from spex_shards.runtime.client.mailbox import MOST_WAITING, Mailbox
from tests.support.processes import wait_until


def test_messages_are_given_out_in_the_order_of_their_arrival_once() -> None:
    """Without a timeout, only messages that have arrived are yielded."""
    box = Mailbox(None)
    for number in range(5):
        box.put(number % 2, number)
    assert list(box.messages()) == [0, 1, 2, 3, 4]
    assert list(box.messages()) == []


def test_messages_waits_for_the_next_one_up_to_its_timeout() -> None:
    """The timeout starts with the last message taken; a close ends the wait."""
    box = Mailbox(None)
    got: list[Any] = []
    reader = threading.Thread(target=lambda: got.extend(box.messages(timeout=30)))
    reader.start()
    for number in range(3):
        box.put(0, number)
        wait_until(lambda: len(box._waiting) == 0, "it is taken")
    box.close()
    reader.join(10)
    assert got == [0, 1, 2]
    started = time.monotonic()
    assert list(Mailbox(None).messages(timeout=0.05)) == []
    assert time.monotonic() - started > 0.04


def test_an_iterator_that_is_left_takes_no_message_along() -> None:
    """The next iterator yields the messages that were not taken."""
    box = Mailbox(None)
    for number in range(3):
        box.put(0, number)
    for message in box.messages():
        assert message == 0
        break
    assert list(box.messages()) == [1, 2]


def test_the_oldest_go_when_too_many_wait_counted_by_shard() -> None:
    """The newest 10,000 are kept."""
    box = Mailbox(None)
    for number in range(MOST_WAITING + 7):
        box.put(number % 3, number)
    assert dict(box.dropped) == {0: 3, 1: 2, 2: 2}
    assert list(box.messages()) == list(range(7, MOST_WAITING + 7))


def test_on_message_is_called_on_one_daemon_thread_that_is_there_before_the_first_message() -> None:
    """Its exceptions are logged; closing waits until everything has been delivered."""
    threads: list[threading.Thread] = []
    got: list[int] = []

    def on_message(message: int) -> None:
        threads.append(threading.current_thread())
        got.append(message)
        if message % 2:
            raise ZeroDivisionError

    before = threading.active_count()
    box = Mailbox(on_message)
    box.start()
    assert threading.active_count() == before + 1
    for number in range(500):
        box.put(0, number)
    box.close()
    assert got == list(range(500))
    assert len(set(threads)) == 1
    assert threads[0].daemon
    assert not threads[0].is_alive()


@pytest.mark.parametrize("on_message", [None, print])
def test_a_mailbox_without_messages_closes_at_once(on_message: Any) -> None:
    """It can be closed twice."""
    box = Mailbox(on_message)
    box.start()
    box.close()
    box.close()
    assert list(box.messages(timeout=30)) == []


def test_on_message_may_close_its_mailbox() -> None:
    """It does not wait for itself."""
    closed = threading.Event()

    def on_message(_: Any) -> None:
        box.close()
        closed.set()

    box = Mailbox(on_message)
    box.start()
    box.put(0, "end")
    assert closed.wait(10)


def test_the_caller_of_a_handlers_record_is_looked_for_in_managers_only() -> None:
    """If no manager is on the stack, there is no place to name."""
    from spex_shards.runtime.client.call_site import call_site

    assert call_site() is None
