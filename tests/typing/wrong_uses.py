"""Wrong uses, each of which mypy and pyright must refuse in the line that is marked; never run."""

from __future__ import annotations

import spex_shards as spex


class Order(spex.Specification):
    """A specification that is right."""

    transitions = [("new", "pay", "paid")]


class Wrong(spex.Specification):
    """A specification with options of wrong types."""

    transition_timeout = "30"  # error: assignment, reportAssignmentType
    prunable_states = 3  # error: assignment, reportAssignmentType
    equivalence = 1  # error: assignment, reportAssignmentType


spex.ShardedInstanceManager(distribution_factor="4")  # error: arg-type, reportArgumentType
spex.ShardedInstanceManager(distribution_facto=4)  # error: call-arg, reportCallIssue
spex.ShardedInstanceManager(durability="ram")  # error: arg-type, reportArgumentType
spex.ShardedInstanceManager(call_timeout=None)  # error: arg-type, reportArgumentType
spex.SimpleInstanceManager("data")  # error: call-arg, reportCallIssue
spex.SimpleInstanceManager(manager="simple")  # error: call-arg, reportCallIssue
spex.configure(distribution_factor="4")  # error: arg-type, reportArgumentType
spex.configure(manager="shards")  # error: arg-type, reportArgumentType
spex.configure(mode="watch")  # error: arg-type, reportArgumentType
spex.configure(shards=4)  # error: call-arg, reportCallIssue
spex.configure(connect=4)  # error: arg-type, reportArgumentType
spex.connect(17)  # error: arg-type, reportArgumentType
spex.connect("data", call_timeout="5")  # error: arg-type, reportArgumentType
spex.connect("data", specifications=[17])  # error: list-item, reportArgumentType
spex.scratch(learning_mode="yes")  # error: arg-type, reportArgumentType
spex.init_instance("Order", 1)  # error: arg-type, reportArgumentType
spex.init_instance(Order, 1, meta=[1])  # error: arg-type, reportArgumentType
spex.init_instance(Order, 1, initial_state=3)  # error: arg-type, reportArgumentType
spex.transition(1, "pay")  # error: call-arg, reportCallIssue
spex.transition(1, 2, "paid")  # error: arg-type, reportArgumentType
spex.mock_instance(Order, 1)  # error: call-arg, reportCallIssue
spex.get_instance(1, history_limit="all")  # error: arg-type, reportArgumentType
spex.delete_instances("all")  # error: arg-type, reportArgumentType
spex.flush("now")  # error: arg-type, reportArgumentType
spex.LTS(None, [])  # error: arg-type, reportArgumentType
spex.check("model.spex")  # error: call-overload, reportArgumentType
spex.Specification.define(transitions=[])  # error: call-arg, reportCallIssue
spex.no_such_name  # error: attr-defined, reportAttributeAccessIssue
state: str = spex.get_instance(1).current_state  # error: assignment, reportAssignmentType
