"""Attributes of SQLAlchemy: what is reported, and when."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import spex_shards as spex
from spex_shards.adapters.sqlalchemy import observe
from tests.adapters.test_transitions import history


class Order(spex.Specification):
    """What the tables here are observed against; changes are named after both states."""

    name = "adapters.SqlOrder"
    transitions = [("new", "pay", "paid"), ("paid", "paid->shipped", "shipped")]


class Base(DeclarativeBase):
    """The tables."""


class Status(enum.Enum):
    """Values whose names are the states."""

    open = 1
    closed = 2


class Row(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="new")


class Special(Row):
    """An order of a derived class."""


class Ticket(Base):
    """A ticket without a default."""

    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[Status | None]


observe(Row.status, Order, actions={("new", "paid"): "pay"})
observe(
    Ticket.status,
    spex.Specification.define("adapters.Ticket", [("open", "close", "closed")]),
    identifier=lambda ticket: ("ticket", ticket.id),
    actions=lambda old, new: "close" if new is Status.closed else None,
)


@pytest.fixture
def session(observed: Any) -> Iterator[Session]:
    """Return a session on a database in memory, which begins transactions itself, as savepoints need."""
    engine = create_engine("sqlite://")
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    Base.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def test_changes_are_reported_when_they_are_committed(session: Session, observed: Any) -> None:
    """Each assignment is a step, also if several are written at once."""
    row = Row()
    session.add(row)
    session.flush()
    assert observed.all_instances() == []
    session.commit()
    row.status = "paid"
    row.status = "shipped"
    assert history(observed, ("orders", 1)) == [(spex.INITIALISATION, "new")]
    session.commit()
    assert history(observed, ("orders", 1))[1:] == [("pay", "paid"), ("paid->shipped", "shipped")]


def test_what_is_rolled_back_is_not_reported(session: Session, observed: Any) -> None:
    """Neither what was written nor what was only assigned."""
    row = Row(status="new")
    session.add(row)
    session.commit()
    row.status = "paid"
    session.flush()
    session.rollback()
    row.status = "shipped"
    session.rollback()
    assert row.status == "new"
    row.status = "paid"
    session.commit()
    assert history(observed, ("orders", 1)) == [(spex.INITIALISATION, "new"), ("pay", "paid")]


def test_a_savepoint_that_is_rolled_back_takes_its_changes_along(session: Session, observed: Any) -> None:
    """One that is released does not; nothing is reported before the outer commit."""
    row = Row()
    session.add(row)
    session.commit()
    with session.begin_nested():
        row.status = "paid"
    savepoint = session.begin_nested()
    row.status = "lost"
    session.flush()
    savepoint.rollback()
    assert len(history(observed, ("orders", 1))) == 1
    session.commit()
    assert history(observed, ("orders", 1))[1:] == [("pay", "paid")]


def test_a_closed_session_reports_nothing(session: Session, observed: Any) -> None:
    """Closing it rolls back."""
    session.add(Row())
    session.flush()
    session.close()
    assert observed.all_instances() == []


def test_an_object_that_was_loaded_begins_in_the_state_that_it_had(session: Session, observed: Any) -> None:
    """If no instance is known of it; the old value is loaded where it was expired."""
    session.add(Row(status="new"))
    session.commit()
    observed.delete_instance(("orders", 1))
    session.expire_all()
    row = session.get(Row, 1)
    assert row is not None
    session.expire(row)
    row.status = "paid"
    session.commit()
    assert history(observed, ("orders", 1)) == [(spex.INITIALISATION, "new"), ("pay", "paid")]


def test_the_same_value_again_is_no_step(session: Session, observed: Any) -> None:
    """And an update that passes the objects by is not seen."""
    row = Row(status="new")
    session.add(row)
    session.commit()
    row.status = "new"
    session.commit()
    session.execute(update(Row).values(status="paid"))
    session.commit()
    assert history(observed, ("orders", 1)) == [(spex.INITIALISATION, "new")]


def test_derived_classes_enumerations_and_functions(session: Session, observed: Any) -> None:
    """A value that comes late is the first state; a change that the function does not name is no step."""
    session.add_all([Special(), ticket := Ticket()])
    session.commit()
    assert {instance.identifier for instance in observed.all_instances()} == {("orders", 1)}
    ticket.status = Status.open
    session.commit()
    ticket.status = Status.closed
    session.commit()
    ticket.status = Status.open
    session.commit()
    assert history(observed, ("ticket", 1)) == [(spex.INITIALISATION, "open"), ("close", "closed")]


def test_a_commit_within_an_event_loop_does_not_wait(session: Session, observed: Any) -> None:
    """Its report comes a moment later."""

    async def use() -> None:
        session.add(Row())
        session.commit()

    asyncio.run(use())
    assert history(observed, ("orders", 1)) == [(spex.INITIALISATION, "new")]


def test_arguments_are_checked() -> None:
    """The text says what is expected."""
    with pytest.raises(TypeError, match=r"such as Order\.status"):
        observe("status", Order)
    with pytest.raises(TypeError, match="specification"):
        observe(Row.status, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="actions"):
        observe(Row.status, Order, actions=3)  # type: ignore[arg-type]
