"""The command ``cluster``: starts, shows, drains and stops the shards that Ray places."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..manager.options import Chosen
from ..runtime.cluster.token import token_from
from ..runtime.placement.director import started
from ..runtime.placement.session import answer, director_of, session
from ..runtime.store.location import shards_of
from ..runtime.store.postgres.namespace import Namespace
from .gate_options import GateTokenFileOption, ShippedOption
from .output import Format, Output, command
from .overrides import DurabilityOption, LearnOption, ModelsDirOption, NamespaceOption, StoreOption, chosen_with_origins

_MEMBER: Final = "spex_shards.manager.clustered:ClusterMember"
_OF_SERVICE: Final = "spex_shards.runtime.shards:run_partition"
_SHOWN: Final = {
    "durability": "--durability",
    "token": "--gate-token-file",
    "num_cpus": "--cpus",
    "resources": "--resource",
    "impl_models_dir": "--models-dir",
    "learning_mode": "--learn",
    "allow_shipped_code": "--allow-shipped-code",
    "member": "--service",
    "service": "--service",
}
"""What was typed for each value that a director makes its members of."""
_PARTITIONS: Final = 4
_WITHIN: Final = 180.0


class Action(StrEnum):
    """What to do with the cluster."""

    UP = "up"
    STATUS = "status"
    DRAIN = "drain"
    MOVE = "move"
    RESUME = "resume"
    DOWN = "down"


_NEEDS_NODE: Final = (Action.DRAIN, Action.MOVE, Action.RESUME)


def cluster(
    action: Annotated[Action, typer.Argument(help="What to do.")],
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="drain, move, resume: its address or Ray's id.")
    ] = None,
    shard: Annotated[int | None, typer.Option(metavar="NUMBER", help="move: which shard.")] = None,
    address: Annotated[str, typer.Option(metavar="ADDRESS", help="The Ray cluster's, as for ray.init.")] = "auto",
    partitions: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="up: the number of shards, fixed for a namespace. Default 4.")
    ] = None,
    cpus: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, help="up: processors that Ray reserves for each shard.")
    ] = 0.0,
    resource: Annotated[
        list[str] | None, typer.Option(metavar="NAME=AMOUNT", help="up: what else of Ray's a shard needs; repeatable.")
    ] = None,
    store: StoreOption = None,
    namespace: NamespaceOption = None,
    models_dir: ModelsDirOption = None,
    durability: DurabilityOption = None,
    learn: LearnOption = False,
    gate_token_file: GateTokenFileOption = None,
    allow_shipped_code: ShippedOption = False,
    service: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="up: run this service of the shard runtime, instead of Spex."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.TEXT,
) -> None:
    """Run shards on a Ray cluster, with their state in a PostgreSQL database.

    up: starts an actor for each shard that has none, spread over the machines, and returns when all are ready. status:
    shows where each shard is. drain: moves all shards away from a machine, and places none there until resume. move:
    moves one shard to a machine. down: stops all shards; their state stays in the database.

    Exits with 0; with 1 for "status" when a shard is not ready; with 2 when it cannot be done.
    """
    with command(form) as output:
        if (node is None) == (action in _NEEDS_NODE):
            raise ValueError(f"cluster {action} {'needs' if node is None else 'takes no'} NODE")
        if (shard is None) == (action is Action.MOVE):
            raise ValueError(f"cluster {action} {'needs' if shard is None else 'takes no'} --shard")
        options = chosen_with_origins(
            store=store, namespace=namespace, impl_models_dir=models_dir, durability=durability,
            learning_mode=learn or None, token_file=gate_token_file, allow_shipped_code=allow_shipped_code or None,
        )  # fmt: skip
        if options["store"].value is None:
            raise ValueError("a cluster needs --store: the URL of the PostgreSQL database with the state")
        place = Namespace.of(options["store"].value, options["namespace"].value)
        with session(address) as ray:
            if action is Action.UP:
                made = {"num_cpus": cpus, "resources": _resources(resource or []), "store": place.text}
                asked = {name for name in ("num_cpus", "resources") if made[name]}
                made |= _durable(options["durability"], asked)
                made |= _token(options["token_file"].value, asked)
                made |= _of_spex(options, asked) if service is None else _of_service(service, asked)
                director = started(ray, place.name, _shards(place, partitions), made)
                answered = answer(ray, director.adopt.remote(made, sorted(asked)), _WITHIN)
                different = sorted({_SHOWN[name] for name in answered})
                if different:
                    text = f"the shards of {place.shown} run with another {' and '.join(different)}"
                    raise ValueError(f"{text}: stop them first, by spex-shards cluster down")
                _up(output, ray, director, place)
                return
            director = director_of(ray, place.name)
            if action is Action.MOVE:
                moved = answer(ray, director.move.remote(shard, node), _WITHIN)
                text = "is moved" if moved else "was there already"
                output.write(f"shard {shard} {text}: {node}", {"moved": moved, "shard": shard, "node": node})
                return
            _others(output, ray, director, action, node)


def _resources(given: list[str]) -> dict[str, float]:
    found = {}
    for text in given:
        name, equals, amount = text.partition("=")
        try:
            found[name] = float(amount)
        except ValueError:
            equals = ""
        if not name or not equals or not found[name] > 0:
            raise ValueError(f"--resource must be NAME=AMOUNT with an amount above 0, got: {text!r}")
    return found


# Each of the following returns a part of what a director makes its members of, and adds to `asked` what somebody has
# asked for: it is refused where shards run otherwise, while a default is not.


def _durable(durability: Chosen, asked: set[str]) -> dict[str, Any]:
    if durability.origin == "default":
        return {"durability": "disk"}
    asked.add("durability")
    return {"durability": durability.value}


def _token(file: str | None, asked: set[str]) -> dict[str, Any]:
    token = token_from(None, file)
    if not token:
        return {"token": secrets.token_urlsafe(32)}
    asked.add("token")
    return {"token": token.decode()}


def _of_spex(options: Mapping[str, Chosen], asked: set[str]) -> dict[str, Any]:
    names = ("impl_models_dir", "learning_mode", "allow_shipped_code")
    asked |= {name for name in names if options[name].origin != "default"}
    made = {name: options[name].value for name in names}
    return {**made, "member": _MEMBER, "impl_models_dir": str(Path(made["impl_models_dir"]).absolute())}


def _of_service(service: str, asked: set[str]) -> dict[str, Any]:
    module, colon, name = service.partition(":")
    if not module or not colon or not name:
        raise ValueError(f'--service must name a class as "module:Name", got: {service!r}')
    asked |= {"member", "service"}
    return {"member": _OF_SERVICE, "service": service}


def _shards(place: Namespace, asked: int | None) -> int:
    """Return the number of shards: that of the namespace, if there is one already.

    Raises:
        ValueError: Another one was asked for, or no possible one.
    """
    found = shards_of(place.text)
    if asked is not None and not 1 <= asked <= 1024:
        raise ValueError(f"--partitions must be an int from 1 to 1024, got: {asked}")
    if found is not None and asked not in (None, found):
        raise ValueError(f"{place.shown} was made for {found} shards, not --partitions {asked}")
    return found or asked or _PARTITIONS


def _up(output: Output, ray: Any, director: Any, place: Namespace) -> None:
    addresses = answer(ray, director.up.remote(), _WITHIN)
    lines = [f"shard {shard}: {address}" for shard, address in enumerate(addresses)]
    output.write("\n".join([*lines, f"{place.shown} is up"]), {"shards": addresses})


def _others(output: Output, ray: Any, director: Any, action: Action, node: str | None) -> None:
    match action:
        case Action.STATUS:
            status = answer(ray, director.status.remote())
            output.write(_shown(status), status)
            ready = sum(row["status"] == "READY" for row in status["shards"])
            raise typer.Exit(0 if ready == status["partitions"] else 1)
        case Action.DRAIN:
            moved = answer(ray, director.drain.remote(node), _WITHIN)
            text = ", ".join(map(str, moved)) or "none"
            output.write(f"{node} is drained; shards that were moved: {text}", {"moved": moved})
        case Action.RESUME:
            answer(ray, director.resume.remote(node))
            output.write(f"{node} may have shards again", {"resumed": node})
        case _:
            answer(ray, director.down.remote(), _WITHIN)
            ray.kill(director, no_restart=True)
            output.write("all shards are stopped; their state is in the database", {"stopped": True})


def _shown(status: dict[str, Any]) -> str:
    hosts = {node["node"]: node["host"] for node in status["nodes"]}
    lines = [
        f"shard {row['shard']}: {row['status']}"
        + (f" on {hosts.get(row['node'], '?')} at {row['address']}" if row["address"] else "")
        + (f": {row['why']}" if row["why"] else "")
        for row in status["shards"]
    ]
    for node in status["nodes"]:
        state = "gone" if not node["alive"] else "drained" if node["drained"] else "alive"
        lines.append(f"machine {node['host']} ({node['node'][:8]}): {state}, {len(node['shards'])} shards")
    return "\n".join(lines)
