"""State fields of django-fsm-2: what is reported, in a Django of this process with a database in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings

import spex_shards as spex
from tests.adapters.test_transitions import history

if not settings.configured:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()

from django.db import connection, models, transaction
from django_fsm import GET_STATE, RETURN_VALUE, FSMField, TransitionNotAllowed
from django_fsm import transition as fsm_transition

from spex_shards.adapters.django_fsm import observe, specification_from


class Order(models.Model):
    """An order with a state field."""

    state = FSMField(default="new")

    class Meta:
        """Which app it belongs to."""

        app_label = "shop"

    @fsm_transition(field=state, source="new", target="paid", on_error="failed")
    def pay(self, *, fail: bool = False) -> None:
        if fail:
            raise RuntimeError("no money")

    @fsm_transition(field=state, source="paid", target="shipped", conditions=[lambda order: order.pk != 13])
    def ship(self) -> None:
        """Ship."""

    @fsm_transition(field=state, source="*", target="cancelled")
    def cancel(self) -> None:
        """Cancel."""

    @fsm_transition(field=state, source="shipped", target=RETURN_VALUE("returned", "lost"))
    def give_back(self, where: str) -> str:
        return where

    @fsm_transition(field=state, source="shipped", target=None)
    def remind(self) -> None:
        """Change nothing."""


class Later(models.Model):
    """An order that is reported after the commit."""

    state = FSMField(default="new")

    class Meta:
        """Which app it belongs to."""

        app_label = "shop"

    @fsm_transition(field=state, source="new", target=GET_STATE(lambda later: "paid", states=["paid"]))
    def pay(self) -> None:
        """Pay."""


observe(Order)
observe(Later, identifier="pk", after_commit=True)


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """Create the tables, and remove them."""
    with connection.schema_editor() as editor:
        editor.create_model(Order)
        editor.create_model(Later)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Later)
        editor.delete_model(Order)


def test_transitions_are_reported_under_the_primary_key(observed: Any) -> None:
    """Also of an object that is loaded again."""
    Order.objects.create(pk=1).pay()
    order = Order.objects.get(pk=1)
    order.pay()
    order.save()
    again = Order.objects.get(pk=1)
    again.ship()
    again.remind()
    again.give_back("lost")
    steps = [("pay", "paid"), ("pay", "paid"), ("ship", "shipped"), ("remind", "shipped"), ("give_back", "lost")]
    assert history(observed, ("shop.Order", 1)) == [(spex.INITIALISATION, "new"), *steps]


def test_an_object_without_a_key_is_reported_when_it_is_saved(observed: Any) -> None:
    """All its steps in order."""
    order = Order()
    order.pay()
    order.ship()
    assert observed.all_instances() == []
    order.save()
    order.save()
    assert history(observed, ("shop.Order", order.pk))[1:] == [("pay", "paid"), ("ship", "shipped")]


def test_the_state_that_an_error_sets_is_reported(observed: Any) -> None:
    """And what is refused is not; both exceptions are the library's or the method's own."""
    order = Order.objects.create(pk=13)
    with pytest.raises(RuntimeError, match="no money"):
        order.pay(fail=True)
    assert order.state == "failed"
    with pytest.raises(TransitionNotAllowed):
        order.ship()
    assert history(observed, ("shop.Order", 13))[1:] == [("pay", "failed")]


def test_after_commit_means_after_the_commit(observed: Any) -> None:
    """A rollback drops the report."""
    later = Later.objects.create(pk=5)
    with transaction.atomic():
        later.pay()
        assert observed.all_instances() == []
    assert history(observed, 5)[1:] == [("pay", "paid")]
    other = Later.objects.create(pk=6)
    with transaction.atomic():
        other.pay()
        transaction.set_rollback(True)
    assert len(observed.all_instances()) == 1


def test_the_derived_specification_has_the_declared_transitions() -> None:
    """Wildcards, computed targets and errors included."""
    cls = specification_from(Order)
    assert cls.initial_state == "new"
    assert {("new", "pay", "paid"), ("new", "pay", "failed"), ("shipped", "give_back", "lost"),
            ("shipped", "remind", "shipped"), ("cancelled", "cancel", "cancelled")} <= set(cls.transitions)  # fmt: skip
    assert cls.name.endswith("test_django_fsm.Order")


def test_the_model_must_have_such_a_field() -> None:
    """The text lists those that there are."""
    with pytest.raises(TypeError, match=r"one of the state fields of the model \(state\), got: 'status'"):
        observe(Order, field="status")
    with pytest.raises(TypeError, match="none"):
        observe(int)
