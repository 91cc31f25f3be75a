"""The command ``replay``: sends an event log to shards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..domain.specification import Specification
from ..errors import DataDirError
from ..event_log import Attributes, EventLog, LogError
from ..event_log.replay import Replayed, check_log, replay
from ..formats.model_files import file_name, write_model
from ..formats.notebook import counted
from ..manager import ShardedInstanceManager
from ..review.offline import held
from ..review.sidecar import write_frequencies
from ..runtime.store.location import shards_of
from .logs import ActionOption, CaseOption, LogArgument, StateOption, TimestampOption, attributes_of, read_events
from .output import Format, Output, command, imported
from .overrides import chosen_from
from .progress import Interruption, bar

NOT_EQUIVALENT = 1
CALL_TIMEOUT = 60.0
"""The least number of seconds to wait for room on the way to a shard: a replay is faster than any disk."""
_EVENTS_PER_UPDATE = 512


class Durability(StrEnum):
    """What an observation survives."""

    PROCESS = "process"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Job:
    """A replay: the log, its specification, whether to judge, the data directory, and the manager's options."""

    log: EventLog
    specification: type[Specification]
    judges: bool
    data_dir: Path | None
    options: dict[str, Any]


def replay_log(
    log: LogArgument,
    specification: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Learn a fresh model and check it against this.")
    ] = None,
    learn: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Learn a model and write it to the models directory as NAME.spex."),
    ] = None,
    case: CaseOption = None,
    action: ActionOption = None,
    state: StateOption = None,
    timestamp: TimestampOption = None,
    shards: Annotated[
        int | None,
        typer.Option(help="Number of shards. Default: the data directory's, else the option distribution_factor."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to keep what is observed. Default: a temporary one, removed at the end.")
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Where --learn writes to. Default: the option impl_models_dir.")
    ] = None,
    durability: Annotated[
        Durability | None, typer.Option(help="What an observation survives. Default: the option durability.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.TEXT,
) -> None:
    """Replay an event log: every case becomes an instance, every event a transition, in time order across cases.

    NAMES are attributes of the log, several joined by '+'; their values are joined by '/'. Exits with 0 when a model
    was learned, or is equivalent to the specification; with 1 when it is not; with 2 when it could not be done.
    """
    with command(form) as output:
        options = chosen_from(distribution_factor=shards, impl_models_dir=models_dir, durability=durability)
        cls = _specification(specification, learn)
        attributes = attributes_of(log, case=case, action=action, state=state, timestamp=timestamp)
        read = _read(log, attributes)
        if shards is None and data_dir is not None:
            options["distribution_factor"] = shards_of(data_dir) or options["distribution_factor"]
        done = _run(Job(read, cls, learn is None, data_dir, options))
        _finish(output, done, Path(options["impl_models_dir"]) if learn is not None else None)


def _specification(specification: str | None, learn: str | None) -> type[Specification]:
    if (specification is None) == (learn is None):
        raise ValueError("give either --specification MODULE:NAME (to check) or --learn NAME (to learn a model)")
    if specification is not None:
        return imported([specification])[0]
    if ":" in str(learn):
        name = str(learn).replace(":", ".")
        raise ValueError(f"--learn must be the name that a specification has, with a dot as in {name}, got: {learn!r}")
    file_name(str(learn))
    return Specification.define(str(learn), ())


def _read(path: Path, attributes: Attributes) -> EventLog:
    log = read_events(path, attributes)
    if not log.events:
        what = "no case" if not log.cases else f"no event, only {counted(len(log.cases), 'empty case')}"
        raise LogError(f"{path}: a log must have an event to be replayed, and there is {what}; nothing was written")
    try:
        check_log(log)
    except LogError as error:
        raise LogError(f"{path}: {error}") from None
    return log


def _run(job: Job) -> Replayed:
    if job.data_dir is not None and shards_of(job.data_dir) is not None:
        _refuse_known_cases(job.data_dir, job.log)
    interruption, sent = Interruption(), _Sent(len(job.log.events))
    with _directories(job.data_dir) as (data_dir, models_dir), interruption.awaited():
        with _manager(job.options, data_dir, models_dir) as manager, bar("replaying", sent.total, counts=True) as step:

            def progress(events: int) -> None:
                sent.events = events
                if interruption:
                    raise KeyboardInterrupt(sent.text(job.data_dir))
                if events % _EVENTS_PER_UPDATE == 0 or events == sent.total:
                    step(events)

            done = replay(job.log, manager, job.specification, judge=job.judges, progress=progress)
        if interruption:
            raise KeyboardInterrupt(sent.text(job.data_dir))
        return done


@dataclass(slots=True)
class _Sent:
    total: int
    events: int = 0

    def text(self, data_dir: Path | None) -> str:
        kept = "nothing is kept" if data_dir is None else f"these are kept in {data_dir}"
        return f"interrupted after {self.events} of {self.total} events; {kept}"


def _refuse_known_cases(data_dir: Path, log: EventLog) -> None:
    known = held(data_dir, log.cases)
    if known:
        raise DataDirError(
            f"the data directory {data_dir} holds {len(known)} of the log's cases already, {known[0]!r} among them; "
            "give another --data-dir, or none for a temporary one"
        )


@contextmanager
def _directories(data_dir: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield a data directory, and an empty directory of models so that nothing but the log is learned."""
    with tempfile.TemporaryDirectory(prefix="spex-shards-", ignore_cleanup_errors=True) as folder:
        yield Path(folder, "data") if data_dir is None else data_dir, Path(folder, "models")


def _manager(options: dict[str, Any], data_dir: Path, models_dir: Path) -> ShardedInstanceManager:
    return ShardedInstanceManager(
        data_dir=data_dir,
        impl_models_dir=models_dir,
        distribution_factor=options["distribution_factor"],
        durability=options["durability"],
        learning_mode=True,
        specifications=(),
        prune_interval=None,
        call_timeout=max(CALL_TIMEOUT, options["call_timeout"]),
    )


def _finish(output: Output, done: Replayed, models_dir: Path | None) -> None:
    speed = f"{done.seconds:.2f} s ({done.events_per_second:.0f} a second)"
    events = f"{done.events} events of {done.instances} instances"
    lines = [f"{events} in {speed}, {done.deviations} deviations, {done.restarts} restarts"]
    for learned in done.models:
        name, size = learned.model.specification, len(learned.model.transitions)
        if models_dir is not None:
            path = write_model(models_dir, learned.model)
            write_frequencies(path, name, learned.frequencies)
            lines.append(f"{name}: {size} transitions learned, written to {path}")
        else:
            lines.append(f"{name}: {size} transitions learned, {learned.verdict}")
    output.write("\n".join(lines), done.plain())
    raise typer.Exit(0 if done.conforms else NOT_EQUIVALENT)
