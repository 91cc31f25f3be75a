"""Declare how something must behave, report what it did, and find out whether it conforms.

A `Specification` is a labelled transition system. An instance manager receives the transitions of each instance,
derives the implementation model from them, and decides by branching bisimilarity whether that model conforms to the
specification::

    import spex_shards as spex


    class Order(spex.Specification):
        transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped")]


    spex.init_instance(Order, ("order", 17))
    spex.transition(("order", 17), "pay", "paid")

Importing the package starts nothing. ``docs/design.md`` says how it works.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

# Imported before the function of the same name: the first import of a package's module sets the name in the package.
from . import messages as _messages  # noqa: F401
from .checking.bisimulation import Equivalence
from .checking.comparing import compare
from .checking.conformance import Result, Verdict
from .checking.runs import Parting, parting
from .domain.declaration import ALL, TERMINAL
from .domain.difference import Difference
from .domain.impl_model import ImplModel
from .domain.instance import Deviation, Instance, TransitionRecord
from .domain.lts import LTS
from .domain.specification import Specification
from .domain.transition import INITIALISATION, INTERNAL, Transition
from .errors import (
    CallTimeout,
    DataDirError,
    DataDirLocked,
    DeserialisationFailed,
    DeviationFromSpecification,
    DeviationNotEquivalent,
    DeviationStillEquivalent,
    DeviationWarning,
    HandlerError,
    IdentifierInUse,
    ImplModelError,
    ImplModelNotFound,
    InstanceError,
    InstanceNotFound,
    LayoutMismatch,
    ManagerClosed,
    OperationFailed,
    PoisonRequest,
    PredicateError,
    ServiceError,
    ShardDown,
    ShardError,
    ShardFailed,
    SpecificationError,
    SpexError,
    StoreError,
    TransitionError,
    TransitionTimeout,
)
from .facade import (
    all_impl_models,
    all_instances,
    check,
    close,
    configure,
    delete_instance,
    delete_instances,
    deviations,
    explain,
    export_impl_models,
    flush,
    get_instance,
    init_instance,
    init_instance_nowait,
    iter_instances,
    losses,
    messages,
    mock_instance,
    shards,
    stats,
    transition,
    transition_nowait,
    try_init_instance,
    try_transition,
)
from .log_fields import complete as _complete
from .runtime.shard_info import ShardInfo, ShardStatus
from .runtime.system.importing import later as _later

if TYPE_CHECKING:
    from .checking import properties
    from .checking.composition import parallel
    from .checking.counterexample import Counterexample
    from .checking.explanation import Explanation
    from .checking.relabelling import relabelled
    from .checking.relations import Holding, Relation, RelationResult
    from .manager import InstanceManager, ShardedInstanceManager, SimpleInstanceManager, connect
    from .manager.clustered import ClusterInstanceManager, ClusterMember
    from .manager.gathering import Pipeline
    from .manager.ledger import Losses
    from .manager.scratch import scratch
    from .runtime.call import Call as Caller
    from .runtime.protocol.reference import Reference
    from .runtime.system.form import COMPILED as compiled  # noqa: N811 - a plain name reads better from outside

__version__ = "0.1.0"
__all__ = [
    "ALL",
    "INITIALISATION",
    "INTERNAL",
    "LTS",
    "TERMINAL",
    "CallTimeout",
    "Caller",
    "ClusterInstanceManager",
    "ClusterMember",
    "Counterexample",
    "DataDirError",
    "DataDirLocked",
    "DeserialisationFailed",
    "Deviation",
    "DeviationFromSpecification",
    "DeviationNotEquivalent",
    "DeviationStillEquivalent",
    "DeviationWarning",
    "Difference",
    "Equivalence",
    "Explanation",
    "HandlerError",
    "Holding",
    "IdentifierInUse",
    "ImplModel",
    "ImplModelError",
    "ImplModelNotFound",
    "Instance",
    "InstanceError",
    "InstanceManager",
    "InstanceNotFound",
    "LayoutMismatch",
    "Losses",
    "ManagerClosed",
    "OperationFailed",
    "Parting",
    "Pipeline",
    "PoisonRequest",
    "PredicateError",
    "Reference",
    "Relation",
    "RelationResult",
    "Result",
    "ServiceError",
    "ShardDown",
    "ShardError",
    "ShardFailed",
    "ShardInfo",
    "ShardStatus",
    "ShardedInstanceManager",
    "SimpleInstanceManager",
    "Specification",
    "SpecificationError",
    "SpexError",
    "StoreError",
    "Transition",
    "TransitionError",
    "TransitionRecord",
    "TransitionTimeout",
    "Verdict",
    "all_impl_models",
    "all_instances",
    "check",
    "close",
    "compare",
    "compiled",
    "configure",
    "connect",
    "delete_instance",
    "delete_instances",
    "deviations",
    "explain",
    "export_impl_models",
    "flush",
    "get_instance",
    "init_instance",
    "init_instance_nowait",
    "iter_instances",
    "losses",
    "messages",
    "mock_instance",
    "parallel",
    "parting",
    "properties",
    "relabelled",
    "scratch",
    "shards",
    "stats",
    "transition",
    "transition_nowait",
    "try_init_instance",
    "try_transition",
]

logging.getLogger("spex_shards").addHandler(logging.NullHandler())
logging.getLogger("spex_shards").addFilter(_complete)

# These names are imported when they are first used: they need msgpack, xxhash, the process machinery or the explanation
# code. So a module that only declares specifications is quick to import.
_LATER = {
    "Caller": ".runtime.call:Call",
    "Counterexample": ".checking.counterexample",
    "Explanation": ".checking.explanation",
    "Holding": ".checking.relations",
    "InstanceManager": ".manager",
    "Losses": ".manager.ledger",
    "Pipeline": ".manager.gathering",
    "Reference": ".messages.values",
    "Relation": ".checking.relations",
    "RelationResult": ".checking.relations",
    "ShardedInstanceManager": ".manager",
    "ClusterInstanceManager": ".manager.clustered",
    "ClusterMember": ".manager.clustered",
    "SimpleInstanceManager": ".manager",
    "compiled": ".runtime.system.form:COMPILED",
    "connect": ".manager",
    "parallel": ".checking.composition",
    "properties": ".checking.properties:THIS",
    "relabelled": ".checking.relabelling",
    "scratch": ".manager.scratch",
}

if not TYPE_CHECKING:  # for a type checker, a module with this function has every name
    __getattr__ = _later(__name__, _LATER, globals())
