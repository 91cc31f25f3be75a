"""Every public name as a typed program uses it; checked by mypy and pyright, and never run."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

import spex_shards as spex
from spex_shards.aio import AsyncClusterInstanceManager, AsyncInstanceManager, connect
from spex_shards.checking.properties import Property, PropertyResult


class Word(enum.Enum):
    """Names as members."""

    PAY = "pay"


class Order(spex.Specification):
    """A specification with every option."""

    name = "typing.Order"
    transitions = [("new", "pay", "paid"), ["paid", Word.PAY, "paid"], ("paid", "ship", "shipped")]
    initial_state = "new"
    transition_timeout = timedelta(seconds=30)
    prune_timeout = 3600.0
    prunable_states = spex.TERMINAL
    equivalence = spex.Equivalence.STRONG
    judge = "both"
    mode = "observe"
    inputs = {"pay"}
    outputs = ["ship"]
    properties = [spex.properties.never("pay", after="ship"), spex.properties.answered("pay", by="ship")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: spex.Caller | None) -> spex.SpexError | None:
        """Tell the caller, and decide as the default handler does."""
        if caller is not None:
            caller.send({"pid": caller.pid, "thread": caller.thread, "client": caller.client_id})
        return super().error_handler(error, caller)


class Everything(spex.Specification):
    """Options of the other types."""

    prunable_states = spex.ALL
    prune_timeout = 5
    transitions = (spex.Transition("a", spex.INTERNAL, "b"),)


def declared() -> None:
    """Use what is derived from a declaration."""
    made = spex.Specification.define("typing.Made", [("a", "b", "c")], transition_timeout=1.5, judge="run")
    assert_type(made, type[spex.Specification])
    assert_type(made.states, tuple[str, ...])
    assert_type(made.actions, tuple[str, ...])
    assert_type(made.terminal_states, tuple[str, ...])
    assert_type(made.lts, spex.LTS | None)
    step = spex.Transition("a", "b", "c")
    assert_type(step.source, str | None)
    assert_type(step.action, str)
    reserved: tuple[str, str] = (spex.INITIALISATION, spex.INTERNAL)
    fast: bool = spex.compiled
    print(reserved, fast)


def observing(manager: spex.InstanceManager) -> None:
    """Call everything that a manager has."""
    assert_type(manager.init_instance(Order, ("order", 17), meta={"total": 12}, initial_state="new"), None)
    assert_type(manager.try_init_instance(Order, 18), spex.SpexError | None)
    manager.init_instance_nowait(Order, datetime.now(UTC), {"a": [1, None]})
    manager.transition(("order", 17), "pay", "paid")
    assert_type(manager.try_transition(18, "pay", "paid"), spex.SpexError | None)
    manager.transition_nowait(18, "ship", "shipped")
    assert_type(manager.transition_many([(18, "pay", "paid"), (("a", 1), "pay", "paid")]), None)
    with manager.pipeline() as pipeline:
        assert_type(pipeline, spex.Pipeline)
        assert_type(pipeline.init_instance(Order, 20, {"a": 1}, initial_state="new"), None)
        assert_type(pipeline.transition(20, "pay", "paid"), None)
        assert_type(pipeline.send(), None)
    manager.flush(timeout=1.5)
    instance = manager.get_instance(18, history_limit=10)
    assert_type(instance, spex.Instance)
    assert_type(instance.specification, type[spex.Specification])
    assert_type(instance.current_state, str | None)
    assert_type(instance.history, tuple[spex.TransitionRecord, ...])
    record = instance.history[0]
    named: tuple[str, str, datetime] = (record.action, record.to_state, record.timestamp)
    assert_type(manager.all_instances(Order, history_limit=0), list[spex.Instance])
    assert_type(manager.iter_instances(), Iterator[spex.Instance])
    assert_type(manager.all_impl_models(), list[spex.ImplModel])
    assert_type(manager.export_impl_models(), list[tuple[str, str]])
    assert_type(manager.deviations(Order), list[spex.Deviation])
    assert_type(manager.delete_instances(lambda one: one.current_state == "paid"), int)
    manager.delete_instance(18)
    manager.mock_instance(Order, 19, "paid", meta=None)
    assert_type(manager.stats(), list[dict[str, Any]])
    assert_type(manager.losses(), spex.Losses)
    assert_type(manager.mode, str)
    manager.mode = "warn"
    manager.revive(0)
    for message in manager.messages(timeout=0.5):
        print(message, named)
    info: list[spex.ShardInfo] = manager.shards()
    assert_type(info[0].pid, int | None)
    ready: bool = info[0].status is spex.ShardStatus.READY
    manager.close()
    print(ready)


def managers(folder: Path) -> None:
    """Make managers of every kind."""
    with spex.SimpleInstanceManager(data_dir=folder, specifications=[Order, "a.b:C"]) as simple:
        assert_type(simple, spex.SimpleInstanceManager)
        observing(simple)
    sharded = spex.ShardedInstanceManager(
        distribution_factor=4, data_dir="here", impl_models_dir=folder, check_transition_timeouts_on_start=False,
        prune_interval=None, durability="disk", store=None, namespace=None, specifications=(Order,),
        learning_mode=True, max_restarts=3, max_seconds=5, retry_failed=None, call_timeout=timedelta(seconds=5),
        max_unacknowledged=10, max_frame_bytes=1 << 20, hang_timeout=None, shutdown_timeout=1.0, on_message=print,
    )  # fmt: skip
    assert_type(sharded.start(), spex.ShardedInstanceManager)
    attached: spex.InstanceManager = spex.connect(
        folder, specifications=[Order], call_timeout=5, on_message=print, mode="observe", sample=0.5
    )
    attached.close()
    with spex.ClusterMember(
        listen="127.0.0.1:0", advertise=None, hosts="0-3", partitions=4, token_file=folder, store="postgresql:///x",
        tls={"tls_authority": folder, "tls_certificate": "c.pem"}, learning_mode=True,
    ) as member:  # fmt: skip
        assert_type(member, spex.ClusterMember)
    cluster = spex.ClusterInstanceManager(
        store="postgresql:///x", namespace=None, address="static", partitions=4, token="t", specifications=[Order],
        call_timeout=30, takeover_timeout=15.0, ping=2.0, allow_shipped_code=False, on_message=print, mode="warn",
    )  # fmt: skip
    assert_type(cluster.start(), spex.ClusterInstanceManager)
    with spex.scratch(distribution_factor=2, learning_mode=True) as manager:
        assert_type(manager, spex.InstanceManager)


def module_level() -> None:
    """Use the default manager."""
    spex.configure(manager="sharded", distribution_factor=2, durability="process", mode="warn")
    spex.configure(connect="data")
    assert_type(spex.init_instance(Order, 1, {"a": 1}, "new"), None)
    assert_type(spex.try_init_instance(Order, 1), spex.SpexError | None)
    spex.init_instance_nowait(Order, 2)
    spex.transition(1, "pay", "paid")
    assert_type(spex.try_transition(1, "pay", "paid"), spex.SpexError | None)
    spex.transition_nowait(1, "ship", "shipped")
    spex.flush()
    assert_type(spex.get_instance(1), spex.Instance)
    assert_type(spex.all_instances(), list[spex.Instance])
    assert_type(spex.iter_instances(Order), Iterator[spex.Instance])
    spex.delete_instance(1)
    assert_type(spex.delete_instances(lambda one: one.meta is None), int)
    spex.mock_instance(Order, 3, "paid")
    assert_type(spex.all_impl_models(), list[spex.ImplModel])
    assert_type(spex.export_impl_models(), list[tuple[str, str]])
    assert_type(spex.deviations(), list[spex.Deviation])
    assert_type(spex.messages(0.1), Iterator[Any])
    assert_type(spex.shards(), list[spex.ShardInfo])
    assert_type(spex.stats(), list[dict[str, Any]])
    losses = spex.losses()
    assert_type(losses, spex.Losses)
    warnings.simplefilter("error", spex.DeviationWarning)
    assert_type(spex.close(), None)


def checking(model: spex.ImplModel, deviation: spex.Deviation) -> None:
    """Compare, check and explain."""
    one = spex.LTS("a", [("a", "b", "c")])
    result = spex.compare(one, spex.LTS(1, {(1, "b", 2)}), "strong", hide=["x"], rename={"y": "z"})
    assert_type(result, spex.Result)
    assert_type(result.equivalent, bool)
    assert_type(result.verdict, spex.Verdict)
    explanation: spex.Explanation | None = spex.check(model, Order, spex.Equivalence.BRANCHING).explanation
    if explanation is not None:
        print(explanation.text, explanation.missing, explanation.extra)
    related = spex.compare(one, one, relation=spex.Relation.IOCO, inputs=["b"])
    assert_type(related, spex.RelationResult)
    holding: spex.Holding = related.verdict
    counterexample: spex.Counterexample | None = spex.check(model, relation="trace inclusion").counterexample
    assert_type(spex.explain(deviation), spex.Explanation | None)
    assert_type(deviation.count, int)
    both: spex.LTS = spex.parallel(one, Order, sync=["pay"])
    hidden: spex.ImplModel = spex.relabelled(model, hide=["pay"])
    difference: spex.Difference = model.diff(hidden)
    left: spex.Parting | None = spex.parting(Order, ["pay", "ship"])
    rule: Property = spex.properties.at_most(1, "pay")
    decided: PropertyResult = rule.of(both)
    restored: spex.ImplModel = spex.ImplModel.deserialise(model.serialise())
    stands_for = spex.Reference("enum", ("module", "Word", "PAY"))
    print(holding, counterexample, difference, left, decided, restored, stands_for)


def errors(error: spex.SpexError) -> str:
    """Tell the errors apart."""
    assert_type(error.reason, str)
    assert_type(error.context, dict[str, Any])
    match error:
        case spex.DeviationStillEquivalent() | spex.DeviationNotEquivalent() | spex.DeviationFromSpecification():
            return "deviation"
        case spex.TransitionTimeout() | spex.TransitionError():
            return "transition"
        case spex.IdentifierInUse() | spex.InstanceNotFound() | spex.InstanceError():
            return "instance"
        case spex.ImplModelNotFound() | spex.DeserialisationFailed() | spex.ImplModelError():
            return "model"
        case spex.PoisonRequest() | spex.ShardFailed() | spex.CallTimeout() | spex.ShardDown() | spex.ShardError():
            assert_type(error.shard, int | None)
            assert_type(error.maybe_executed, bool)
            return "shard"
        case spex.LayoutMismatch() | spex.DataDirLocked() | spex.DataDirError():
            return "directory"
        case spex.PredicateError() | spex.HandlerError() | spex.OperationFailed() | spex.ServiceError():
            return "code of the application"
        case spex.StoreError() | spex.ManagerClosed() | spex.SpecificationError():
            return "other"
        case _:
            return "a class of the application"


async def on_an_event_loop() -> None:
    """The asyncio manager."""
    async with AsyncInstanceManager(specifications=[Order], distribution_factor=2, mode="observe") as manager:
        assert_type(await manager.init_instance(Order, 1, {"by": "ann"}), None)
        assert_type(await manager.try_transition(1, "pay", "paid"), spex.SpexError | None)
        assert_type(manager.transition_nowait(1, "ship", "shipped"), None)
        assert_type(await manager.transition_many((1, "pay", "paid") for _ in range(2)), None)
        assert_type(await manager.drain(1), None)
        assert_type(await manager.get_instance(1), spex.Instance)
        assert_type([instance async for instance in manager.iter_instances(Order)], list[spex.Instance])
        assert_type([message async for message in manager.messages(timeout=None)], list[Any])
    async with await connect("spex_data", call_timeout=timedelta(seconds=1), mode="warn") as attached:
        assert_type(attached, AsyncInstanceManager)
    async with AsyncClusterInstanceManager(store="postgresql://db/app", token="secret", ping=1) as cluster:
        assert_type(cluster, AsyncClusterInstanceManager)
        assert_type(await attached.shards(), list[spex.ShardInfo])
