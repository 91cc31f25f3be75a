"""Stores in PostgreSQL: who may write, what becomes of a batch whose connection breaks, and what errors say."""

from __future__ import annotations

import itertools
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.store import StoreLost
from spex_shards.runtime.store.failures import Fenced
from spex_shards.runtime.store.port import StoreOptions
from spex_shards.runtime.store.postgres import link, places
from spex_shards.runtime.store.postgres.namespace import Namespace
from spex_shards.runtime.store.postgres.places import PostgresStores
from spex_shards.runtime.store.postgres.postgres_store import PostgresStore
from spex_shards.runtime.store.postgres.statements import Statements
from tests.support.places import LONG
from tests.support.processes import wait_until
from tests.support.proxy import WHEN, Proxy

pytestmark = pytest.mark.postgres
TABLE = "instances"
OPTIONS = StoreOptions("disk")


def namespace(url: str, durability: str = "disk") -> PostgresStores:
    """Return the stores of a namespace with one shard, in a term of their own."""
    stores = PostgresStores(Namespace.of(url), durability)
    stores.begin(1)
    return stores


@pytest.fixture
def stores(store_url: str) -> PostgresStores:
    """Return the stores of a new namespace with one shard."""
    return namespace(store_url)


@pytest.fixture
def sql(store_url: str) -> Iterator[Callable[..., list[Any]]]:
    """Return a function that executes SQL in the namespace over a connection of its own, and returns the rows."""
    import psycopg

    address = Namespace.of(store_url)
    with psycopg.connect(address.url, autocommit=True) as connection:

        def run(text: str, *values: Any) -> list[Any]:
            cursor = connection.execute(text.replace('"NS"', f'"{address.name}"').encode(), values)
            return cursor.fetchall() if cursor.description else []

        yield run


# ---------------------------------------------------------------------- two owners


class WithoutFence(Statements):
    """Statements that do not ask who owns the shard: the control."""

    def _batch(self, puts: Any, deletes: Any) -> str:
        asks = " AND epoch = $2::bigint AND claim = $3::bytea AND seq = $4::bigint"
        fenced = super()._batch(puts, deletes)
        assert asks in fenced
        does_not = " AND ($2::bigint, $3::bytea, $4::bigint) IS NOT NULL"
        return fenced.replace(asks, does_not)


class Race:
    """A batch of the old owner that reaches the server while another one's claim is being executed."""

    def __init__(self, stores: PostgresStores, sql: Callable[..., list[Any]], fenced: bool) -> None:
        import psycopg

        self._stores, self._sql = stores, sql
        if not fenced:
            stores._statements = WithoutFence(stores.namespace.name)
        self._gate = psycopg.connect(stores.namespace.url)
        self._owner = stores.open(0, OPTIONS)
        self.refused = self.late = self.unseen = 0

    def run(self, number: int) -> None:
        """Have the shard change hands once."""
        old, key, late_key = self._owner, b"%05d acknowledged" % number, b"%05d late" % number
        old.apply({TABLE: {key: b""}})
        self._gate.execute(
            f'SELECT FROM "{self._stores.namespace.name}".owners FOR UPDATE'.encode()
        )  # holds both back, in their order
        claimed: list[PostgresStore] = []
        outcome: list[BaseException | None] = []
        claim = threading.Thread(target=lambda: claimed.append(self._stores.open(0, OPTIONS)))
        write = threading.Thread(target=lambda: outcome.append(self._write(old, late_key)))
        for waiting, thread in enumerate((claim, write), 1):
            thread.start()
            wait_until(lambda waiting=waiting: self._waiting() == waiting, "the statement waits")
        self._gate.rollback()
        claim.join(60)
        self._owner = claimed[0]
        seen = self._owner.get(TABLE, key)
        write.join(60)
        old.close()
        self.refused += isinstance(outcome[0], StoreLost)
        self.unseen += seen is None
        self.late += self._owner.get(TABLE, late_key) is not None

    def _write(self, owner: PostgresStore, key: bytes) -> BaseException | None:
        try:
            owner.apply({TABLE: {key: b""}})
        except StoreLost as error:
            return error
        return None

    def _waiting(self) -> int:
        name = f"%{self._stores.namespace.name}%"
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE %s"
        return int(self._sql(query, name)[0][0])

    def close(self) -> None:
        """Close the connections."""
        self._gate.close()
        self._owner.close()


@pytest.mark.parametrize("fenced", [True, False], ids=["fenced", "control"])
def test_nothing_of_the_old_owner_follows_a_claim(
    stores: PostgresStores, sql: Callable[..., list[Any]], fenced: bool
) -> None:
    """In each race the late batch is refused, and all that was acknowledged is seen; without the fence, none is."""
    races = (150 if fenced else 20) if LONG else 15
    race = Race(stores, sql, fenced)
    for number in range(races):
        race.run(number)
    race.close()
    assert (race.refused, race.late, race.unseen) == ((races, 0, 0) if fenced else (0, races, 0))


def test_what_was_read_counts_only_while_the_shard_is_owned(stores: PostgresStores) -> None:
    """The end of a batch that only read raises after another process has claimed the shard; and so does all else."""
    old = stores.open(0, OPTIONS)
    old.get(TABLE, b"k")
    old.release()
    new = stores.open(0, OPTIONS)
    assert old.get(TABLE, b"k") is None
    for call in (old.release, lambda: old.apply({}), lambda: old.get(TABLE, b"k")):
        with pytest.raises(StoreLost, match="another process has claimed the shard"):
            call()
    new.release()
    old.close()
    new.close()


def test_a_shard_that_another_member_has_claimed_is_not_taken_back_by_a_restart(store_url: str) -> None:
    """But by whoever is told to run it; and if the server has lost the other claim, nobody else has the shard."""
    one, other = (PostgresStores(Namespace.of(store_url), user=user, joins=True) for user in ("one", "other"))
    for member in (one, other):
        member.begin(1)
    with ExitStack() as stack:

        def opened(member: PostgresStores, resumes: int = 0) -> int:
            store = member.open(0, StoreOptions("disk", resumes=resumes))
            stack.callback(store.close)
            return store.claim

        restarted = opened(one, opened(one))
        taken = opened(other)
        with pytest.raises(Fenced, match="another process has claimed the shard"):
            opened(one, restarted)
        assert opened(other, taken) == taken + 1
        later = opened(one, taken + 5)
        assert opened(one) == later + 1


def test_the_manager_that_began_last_has_the_namespace(store_url: str) -> None:
    """It is told who had it; the one before keeps what it has until a shard is claimed, and claims none any more."""
    first, second = (
        PostgresStores(Namespace.of(store_url), user="one"),
        PostgresStores(Namespace.of(store_url), user="two"),
    )
    assert first.begin(1) == []
    owner = first.open(0, OPTIONS)
    shown = Namespace.of(store_url).shown
    assert second.begin(1) == [f"{shown} is taken over from one, which can store nothing there any more"]
    owner.apply({TABLE: {b"k": b"1"}})
    taken = second.open(0, OPTIONS)
    with pytest.raises(StoreLost, match="two has claimed the shard: epoch 2, batch 1 in the store"):
        owner.apply({TABLE: {b"k": b"2"}})
    with pytest.raises(spex.DataDirError, match="another manager has taken the namespace over"):
        first.open(0, OPTIONS)
    with pytest.raises(spex.DataDirError, match="was taken over by two, which is left to use it"):
        first.begin(1, resumes=True)
    assert taken.get(TABLE, b"k") == b"1"
    assert second.begin(1, resumes=True) == []
    second.leave()
    assert first.begin(1, resumes=True) == []
    owner.close()
    taken.close()


def test_a_claim_that_fails_leaves_no_connection(store_url: str, sql: Callable[..., list[Any]]) -> None:
    """As in a namespace that was dropped: who tries again and again would use up all that the server allows."""
    stores = namespace(store_url)
    name = f"spex_shards {Namespace.of(store_url).name} 0"
    sql('ALTER TABLE "NS".owners RENAME TO hidden')
    refused = []
    for _ in range(3):
        with pytest.raises(spex.StoreError) as caught:
            stores.open(0, OPTIONS)
        refused.append(caught)  # the tracebacks keep what is not closed
    wait_until(
        lambda: not sql("SELECT pid FROM pg_stat_activity WHERE application_name = %s", name), "all are closed", 20.0
    )
    assert len(refused) == 3


def test_a_namespace_that_is_locked_is_not_waited_for_without_end(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a session that is idle in a transaction; a manager that starts would hang, and one that ends as well."""
    import psycopg

    stores = namespace(store_url)
    monkeypatch.setattr(places, "_ANSWER", 0.2)
    monkeypatch.setattr(places, "_TO_LEAVE", 0.2)
    address = Namespace.of(store_url)
    with psycopg.connect(address.url) as holding:
        holding.execute(f'SELECT FROM "{address.name}".place FOR UPDATE'.encode())
        with pytest.raises(StoreLost, match=r"does not answer at .*: the server gave no answer within 0\.2 s"):
            namespace(store_url)
        stores.leave()
        holding.rollback()
    row = stores.look()
    assert row is not None
    assert row.holder


def test_a_namespace_that_was_made_again_is_another_one(
    stores: PostgresStores, store_url: str, sql: Callable[..., list[Any]]
) -> None:
    """Its owner writes nothing there, and can claim nothing, even though terms and epochs are the same."""
    owner = stores.open(0, OPTIONS)
    sql('DROP SCHEMA "NS" CASCADE')
    other = namespace(store_url)
    with pytest.raises(StoreLost, match="has claimed the shard"):
        owner.apply({TABLE: {b"k": b"1"}})
    with pytest.raises(spex.DataDirError, match="cannot be claimed"):
        stores.open(0, OPTIONS)
    other.open(0, OPTIONS).close()
    owner.close()


# ---------------------------------------------------------------------- connections that break


class AssumesKept(PostgresStore):
    """A store that takes every batch for committed whose connection broke: a control."""

    def _was_kept(self, *, possible: bool) -> bool:
        self._link.open()
        self.last = self._look()
        return True


class AssumesLost(PostgresStore):
    """A store that takes every batch for lost whose connection broke: a control."""

    def _was_kept(self, *, possible: bool) -> bool:
        self._link.open()
        self.last = self._look()
        raise spex.StoreError("it is said to be lost")


@pytest.fixture
def proxied(store_url: str) -> Iterator[tuple[Proxy, PostgresStores]]:
    """Return a proxy, and the stores of a new namespace behind it."""
    url, _, rest = store_url.partition("?host=")
    folder, _, parameters = rest.partition("&")
    with tempfile.TemporaryDirectory(prefix="spex-pg-", dir="/tmp") as own:
        proxy = Proxy(Path(own), Path(folder) / ".s.PGSQL.5432")
        yield proxy, namespace(f"{url}?host={own}&{parameters}")
        proxy.close()


def written_through(proxy: Proxy, store: PostgresStore, batches: int, at: int, when: str) -> list[str]:
    """Write batches, with one cut; return what contradicts what the store said of each."""
    said: dict[int, bool] = {}
    proxy.cut(at, when)
    for number in range(batches):
        try:
            store.apply({TABLE: {b"%03d" % number: b"x", b"count": struct.pack(">I", number)}, "history": {b"k": None}})
            said[number] = True
        except spex.StoreError:
            said[number] = False
    stored = {key for key, _ in store.range(TABLE, b"", None)}
    return [
        f"batch {number}: {'acknowledged' if kept else 'refused'}"
        for number, kept in said.items()
        if (b"%03d" % number in stored) is not kept
    ]


@pytest.mark.parametrize("when", WHEN)
def test_a_batch_whose_connection_breaks_is_kept_once(proxied: tuple[Proxy, PostgresStores], when: str) -> None:
    """Wherever the connection is cut, each batch is there as a whole and acknowledged, and none is counted twice."""
    proxy, stores = proxied
    for at in itertools.count():
        store = stores.open(0, OPTIONS)
        before, cuts = store.last, proxy.cuts
        store.apply({TABLE: dict.fromkeys([key for key, _ in store.range(TABLE, b"", None)])})
        assert written_through(proxy, store, 5, at, when) == []
        assert store.last - before in (6, 7)  # one more, if a batch was found to be kept
        store.close()
        if proxy.cuts == cuts:
            assert at >= 5
            break


def test_a_store_that_guesses_is_found_out(proxied: tuple[Proxy, PostgresStores]) -> None:
    """The controls: who takes such batches for kept, or for lost, says what is not true."""
    proxy, stores = proxied
    found = {}
    for cls, when in ((AssumesKept, "before"), (AssumesLost, "after")):
        store: Any = stores.open(0, OPTIONS)
        store.__class__ = cls
        found[cls] = written_through(proxy, store, 5, 3, when)
        store.close()
    assert [len(contradictions) for contradictions in found.values()] == [1, 1]


@pytest.mark.parametrize(
    "when", [pytest.param(one, marks=pytest.mark.long) if one == "during" else one for one in WHEN]
)
def test_a_read_whose_connection_breaks_is_repeated(proxied: tuple[Proxy, PostgresStores], when: str) -> None:
    """Reads of keys and ranges, and the confirmation of a batch that only read, give what they would have given."""
    proxy, stores = proxied
    store = stores.open(0, OPTIONS)
    store.apply({TABLE: {b"%03d" % number: b"x" for number in range(100)}})
    for at in range(8):
        proxy.cut(at, when)
        assert store.get(TABLE, b"001") == b"x"
        assert len(list(store.range(TABLE, b"", None))) == 100
        store.release()
        assert store.get_many(TABLE, [b"002", b"x"]) == {b"002": b"x", b"x": None}
    store.close()


def test_a_store_that_found_no_server_is_lost_for_good(
    proxied: tuple[Proxy, PostgresStores], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have had the shard meanwhile: it reads and writes nothing when the server is back."""
    proxy, stores = proxied
    monkeypatch.setattr(places, "_PATIENCE", 0.2)
    store = stores.open(0, OPTIONS)
    proxy.refuse()
    proxy.cut(0, "before")
    with pytest.raises(StoreLost, match="PostgreSQL cannot be reached"):
        store.get(TABLE, b"k")
    proxy.accept()
    for call in (lambda: store.get(TABLE, b"k"), store.release, lambda: store.apply({TABLE: {b"k": b"x"}})):
        with pytest.raises(StoreLost, match="PostgreSQL cannot be reached"):
            call()
    store.close()


def test_sessions_that_are_ended_again_and_again_lose_nothing(
    stores: PostgresStores, sql: Callable[..., list[Any]]
) -> None:
    """A thread ends the store's session at any moment of a batch, twenty times, while batches are written."""
    store = stores.open(0, OPTIONS)
    done = threading.Event()
    ended = [0]
    name = f"spex_shards {stores.namespace.name} 0"

    def attack() -> None:
        while not done.is_set() and ended[0] < 20:
            ended[0] += len(
                sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", name)
            )
            done.wait(0.02)

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        number = 0
        while ended[0] < 20:
            store.apply({TABLE: {b"%05d" % number: b"x"}})
            number += 1
    finally:
        done.set()
        attacker.join(10)
    assert len(list(store.range(TABLE, b"", None))) == number
    store.close()


def test_a_server_that_has_lost_batches_is_found_out(stores: PostgresStores, sql: Callable[..., list[Any]]) -> None:
    """As after a failover to a replica that lacked them: the owner is told how many, and writes nothing more."""
    store = stores.open(0, OPTIONS)
    for number in range(5):
        store.apply({TABLE: {b"%d" % number: b"x"}})
    sql('UPDATE "NS".owners SET seq = seq - 2')
    with pytest.raises(StoreLost, match="the store has 3 batches, where this owner had 5"):
        store.apply({TABLE: {b"6": b"x"}})
    assert sql('SELECT count(*) FROM "NS".t_instances') == [(5,)]
    store.close()


def test_a_commit_with_a_warning_is_followed_by_another(stores: PostgresStores, sql: Callable[..., list[Any]]) -> None:
    """The server warns when it gives up waiting for a replica; the batch is acknowledged after one more commit."""
    store = stores.open(0, OPTIONS)
    body = "BEGIN RAISE WARNING ''cut''; RETURN NEW; END"
    sql(f"CREATE FUNCTION \"NS\".warns() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    sql('CREATE TRIGGER warns BEFORE INSERT ON "NS".t_instances FOR EACH ROW EXECUTE FUNCTION "NS".warns()')
    store.apply({TABLE: {b"k": b"x"}})
    store.apply({"history": {b"k": b"x"}})
    assert store.last == 3
    assert sql('SELECT seq FROM "NS".owners') == [(3,)]
    store.close()


def test_commits_follow_until_one_draws_no_warning(stores: PostgresStores, sql: Callable[..., list[Any]]) -> None:
    """An operator may cut several waits off; a batch that no replica has confirmed is not acknowledged."""
    store = stores.open(0, OPTIONS)
    body = "BEGIN IF NEW.seq < 4 THEN RAISE WARNING ''cut''; END IF; RETURN NEW; END"
    sql(f"CREATE FUNCTION \"NS\".warns() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    sql('CREATE TRIGGER warns BEFORE UPDATE ON "NS".owners FOR EACH ROW EXECUTE FUNCTION "NS".warns()')
    store.apply({TABLE: {b"k": b"x"}})
    assert store.last == 4
    assert sql('SELECT seq FROM "NS".owners') == [(4,)]
    store.close()


def test_a_batch_is_not_taken_for_kept_that_cannot_be(stores: PostgresStores, sql: Callable[..., list[Any]]) -> None:
    """Nothing was lost on the way, and yet the store has one batch more than its owner knows of."""
    store = stores.open(0, OPTIONS)
    sql('UPDATE "NS".owners SET seq = seq + 1')
    with pytest.raises(StoreLost, match="the store has 1 batches, where this owner had 0"):
        store.apply({TABLE: {b"k": b"x"}})
    assert sql('SELECT count(*) FROM "NS".t_instances') == [(0,)]
    store.close()


def test_a_store_is_lost_if_the_server_does_not_say_what_became_of_a_batch(
    proxied: tuple[Proxy, PostgresStores], sql: Callable[..., list[Any]]
) -> None:
    """The batch is kept, and its owner must neither say that it is not, nor go on with the number that it knows."""
    proxy, stores = proxied
    store: Any = stores.open(0, OPTIONS)
    opens = store._open

    def refusing(deadline: float) -> None:
        sql('ALTER TABLE "NS".owners RENAME TO hidden')
        opens(deadline)

    store._open = refusing
    proxy.cut(1, "after")
    with pytest.raises(StoreLost, match="what became of a batch cannot be found out: PostgreSQL refused a statement"):
        store.apply({TABLE: {b"k": b"x"}})
    sql('ALTER TABLE "NS".hidden RENAME TO owners')
    assert sql('SELECT count(*) FROM "NS".t_instances') == [(1,)]
    with pytest.raises(StoreLost, match="cannot be found out"):
        store.apply({TABLE: {b"l": b"x"}})
    store.close()


def test_a_batch_that_the_server_refuses_is_not_kept_and_the_next_one_is(
    stores: PostgresStores, sql: Callable[..., list[Any]]
) -> None:
    """As when its disk is full: a `StoreError` with the server's words; the store goes on."""
    store = stores.open(0, OPTIONS)
    sql('ALTER TABLE "NS".t_instances ADD CHECK (length(value) < 3)')
    with pytest.raises(spex.StoreError, match="violates check constraint") as caught:
        store.apply({TABLE: {b"k": b"long"}, "history": {b"k": b"x"}})
    assert not isinstance(caught.value, StoreLost)
    assert store.get("history", b"k") is None
    store.apply({TABLE: {b"k": b"x"}})
    assert (store.get(TABLE, b"k"), store.last) == (b"x", 1)
    store.close()


def test_a_store_that_takes_anothers_place_knows_what_is_kept(stores: PostgresStores) -> None:
    """The old one refuses all calls; the new one has all batches, and their number."""
    old = stores.open(0, OPTIONS)
    old.apply({TABLE: {b"k": b"1"}})
    new = old.reopened(in_use=False)
    assert (new.last, new.get(TABLE, b"k")) == (1, b"1")
    with pytest.raises(spex.StoreError, match="left behind"):
        old.apply({TABLE: {b"k": b"2"}})
    new.begin_view()
    assert new.get(TABLE, b"k") == b"1"
    new.close()


def test_statements_look_keys_up_whatever_the_server_knows_of_the_tables(stores: PostgresStores) -> None:
    """A plan that is made while a table is small, and never analysed, reads no whole table when it has grown."""
    store = stores.open(0, OPTIONS)
    statements, connection = store._statements, store._link.connection
    store.apply({TABLE: {b"%04d" % number: b"x" for number in range(2000)}})
    wide, key, keys = "0, 1, '', 1", "'\\x00'", "'{}'"
    texts = [
        (statements.get(TABLE), f"0, {key}"),
        (statements.get_many(TABLE), f"0, {keys}"),
        (statements.page(TABLE, True, False, True), f"0, {key}, {key}, 4"),
        (statements.page(TABLE, True, True, False), f"0, {key}, {key}, 4"),
        (statements.page(TABLE, False, True, False), f"0, {key}, 4"),
        (statements.batch((), (TABLE,)), f"{wide}, {keys}"),
    ]
    for number, (text, values) in enumerate(texts):
        connection.execute(f"PREPARE p{number} AS {text}".encode())
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN EXECUTE p{number}({values})".encode()))
        assert "AND (key" in plan, plan
        assert not [word for word in ("Seq Scan on t_", "Bitmap", "Sort", "Hash", "Materialize") if word in plan], plan
    store.close()


# ---------------------------------------------------------------------- errors


def refusal(url: str, **options: Any) -> str:
    """Return the text of the error that beginning to use a namespace gives."""
    with pytest.raises((spex.DataDirError, spex.StoreError)) as caught:
        PostgresStores(Namespace.of(url), **options).begin(1)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def test_errors_name_the_place_and_never_a_password(
    postgres_url: str, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no server, no such database, no such role; the URL has an unknown parameter."""
    monkeypatch.setattr(places, "_TO_START", 0.2)
    nowhere = refusal("postgresql://me:geheim@127.0.0.1:1/db?namespace=orders")
    assert "PostgreSQL cannot be reached at postgresql://me:***@127.0.0.1:1/db?namespace=orders" in nowhere
    assert "refused" in nowhere
    socket = postgres_url.partition("?")[2]
    assert 'database "nowhere" does not exist' in refusal(f"postgresql:///nowhere?{socket}")
    assert 'role "me" does not exist' in refusal(f"postgresql://me:geheim@/postgres?{socket.partition('&')[0]}")
    unknown = refusal(f"postgresql://me:geheim@/db?{socket}&color=red")
    assert "cannot be read by PostgreSQL's library" in unknown
    assert all("geheim" not in text for text in (nowhere, unknown))


def test_a_namespace_of_another_version_or_number_of_shards_is_refused(
    stores: PostgresStores, store_url: str, sql: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each error says what is there and what is wanted; so does that of a server that is too old."""
    with pytest.raises(spex.LayoutMismatch, match="was made for 1 shards, not 2"):
        PostgresStores(Namespace.of(store_url)).begin(2)
    sql('UPDATE "NS".place SET version = 7')
    assert "has tables of version 7, and this version reads version 1" in refusal(store_url)
    monkeypatch.setattr(link, "OLDEST_SERVER", 990000)
    assert "and this version needs 99 or later" in refusal(store_url)


def test_without_psycopg_the_error_says_what_to_install(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(spex.DataDirError, match=r"needs psycopg: install spex-shards\[postgres\]"):
        PostgresStores(Namespace.of(store_url)).begin(1)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:a/geheim@h/db", "postgresql://me:a?geheim@h/db", "postgresql://me:a#geheim@h/db",
        "postgresql://me:geheim/db", "mysql://me:geheim@h/db", "postgresql://me:geheim@h:port/db", "geheim",
        "postgresql://me:geheim@h/db?namespace=Orders", "postgresql://me:geheim@h/db?namespace=pg_x",
        "postgresql://me:geheim@h/db?namespace=a&namespace=b",
    ],
)  # fmt: skip
def test_a_malformed_url_is_refused_without_showing_it(url: str) -> None:
    """A password with characters that end it early is not shown, wherever its rest ends up."""
    with pytest.raises(ValueError, match=r"the (store|namespace)") as caught:
        Namespace.of(url)
    assert "geheim" not in str(caught.value)


def test_an_address_shows_no_password() -> None:
    """It is hidden in its place, and in the query; the namespace may be in the URL or beside it."""
    address = Namespace.of("postgres://me:ge%40heim@h1:1,h2/db?sslpassword=x&namespace=orders")
    assert address.url == "postgresql://me:ge%40heim@h1:1,h2/db?sslpassword=x"
    assert repr(address) == "Namespace('postgresql://me:***@h1:1,h2/db?sslpassword=***&namespace=orders')"
    assert address.cleaned("no ge@heim and\n no ge%40heim") == "no *** and no ***"
    assert (
        Namespace.of("postgresql:///db?host=/run/pg", "orders").text == "postgresql:///db?host=/run/pg&namespace=orders"
    )
    assert Namespace.of("postgresql:///").name == "spex_shards"
