"""The web server of `serve`: who may read, and what a client may cost."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spex_shards.errors import SpexError
from spex_shards.web import Access, Address, Asked, Response, WebServer, server
from spex_shards.web.access import token_from
from tests.support.processes import wait_until

TOKEN = "0123456789abcdef"
Answer = tuple[int, dict[str, str], str]


def hello(asked: Asked) -> Response:
    """Answer with what was asked, or fail as it says."""
    if asked.query.get("fail") == "value":
        raise ValueError("that is no value")
    if asked.query.get("fail") == "spex":
        raise SpexError("no shard answers")
    if asked.query.get("fail") == "other":
        raise KeyError("surprise")
    return Response(f"hello {asked.query.get('name', '')}")


@pytest.fixture
def opened() -> Iterator[Callable[..., WebServer]]:
    """Return a function that opens a server; all are closed."""
    servers: list[WebServer] = []

    def start(token: str | None = None, address: str = "0", *, local: bool = True) -> WebServer:
        access = Access(token, local=local)
        refusal = (lambda: Response("<form>", "text/html", 401)) if token else None
        where = Address.parsed("--console", address)
        servers.append(WebServer("--console", where, access, {"/": hello}, refusal))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def ask(one: WebServer, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """Send a request; return status, headers and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", one.port, timeout=20)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def test_an_answer_has_headers_that_forbid_what_a_page_need_not_do(opened: Callable[..., WebServer]) -> None:
    """HEAD has the same headers, and no body."""
    one = opened()
    status, headers, body = ask(one, "/?name=you")
    assert (status, body) == (200, "hello you")
    assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    again = ask(one, "/?name=you", "HEAD")
    assert (again[0], again[1]["content-length"], again[2]) == (200, headers["content-length"], "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(opened: Callable[..., WebServer], method: str) -> None:
    """Every other method is refused."""
    status, headers, _ = ask(opened(), "/", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_without_a_token_only_names_of_this_machine_are_known(opened: Callable[..., WebServer]) -> None:
    """So a page of another site whose name was made to lead here (DNS rebinding) reads nothing."""
    one = opened()
    for host in ("localhost", "localhost.", "LOCALHOST:80", "127.0.0.1:1", "127.8.8.8", "[::1]:9"):
        assert ask(one, Host=host)[0] == 200, host
    for host in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "[",
        "a@localhost:x",
    ):
        assert ask(one, Host=host)[0] == 421, host


def test_a_token_is_needed_where_there_is_one(opened: Callable[..., WebServer]) -> None:
    """It comes as a bearer token, or a browser exchanges it for a cookie that scripts and other sites do not get."""
    one = opened(TOKEN)
    status, headers, body = ask(one)
    assert (status, headers["www-authenticate"], body) == (401, "Bearer", "<form>")
    assert ask(one, "/other")[2] == "a token is needed: Authorization: Bearer TOKEN\n"
    for wrong in ("Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}0", "Bearer é"):
        assert ask(one, Authorization=wrong.encode().decode("latin-1"))[0] == 401
    assert ask(one, Authorization=f"Bearer {TOKEN}")[2] == "hello "
    assert ask(one, "/?token=wrong")[0] == 401
    cookie = ask(one, f"/?token={TOKEN}")[1]["set-cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert TOKEN not in cookie
    pair = cookie.partition(";")[0]
    assert ask(one, Cookie=f"other=1; {pair}")[0] == 200
    for wrong in (pair[:-1], f"spex_shards_{one.port}={TOKEN}", f"spex_shards_{one.port}=", "\x07"):
        assert ask(one, Cookie=wrong)[0] == 401
    assert ask(one, Authorization=f"Bearer {TOKEN}", Host="evil.example")[0] == 421


def test_with_a_token_other_machines_may_use_any_name(opened: Callable[..., WebServer]) -> None:
    """A page of another site does not have the token, and cookies are for one name."""
    one = opened(TOKEN, local=False)
    assert ask(one, Host="shards.example", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(one, Host="shards.example")[0] == 401


def test_what_fails_is_told_to_its_client(opened: Callable[..., WebServer]) -> None:
    """The server goes on."""
    one = opened()
    assert ask(one, "/?fail=value")[::2] == (400, "that is no value\n")
    assert ask(one, "/?fail=spex")[::2] == (503, "no shard answers\n")
    assert ask(one, "/?fail=other")[::2] == (500, "unexpected: KeyError: 'surprise'\n")
    assert ask(one, "/other")[::2] == (404, "there is only /\n")
    assert ask(one, "/?" + "&".join("a=1" for _ in range(20)))[0] == 400
    assert ask(one)[0] == 200


def test_a_long_request_is_refused(opened: Callable[..., WebServer]) -> None:
    """Its first line or its headers."""
    one = opened()
    assert ask(one, "/" + "x" * 17_000)[0] in (414, 431)
    assert ask(one, "/", **{f"X-{number}": "y" * 1000 for number in range(30)})[0] == 431
    with socket.create_connection(("127.0.0.1", one.port), 20) as plain:
        plain.sendall(b"nonsense\r\n\r\n")
        assert b"Bad request syntax" in plain.recv(1000)


def test_clients_that_send_nothing_are_few_and_are_sent_away(
    opened: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are told that there are too many, and get in when these are gone."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(server, "LONGEST_REQUEST", 0.5)
    one = opened()
    silent = [socket.create_connection(("127.0.0.1", one.port), 20) for _ in range(2)]
    try:
        assert ask(one)[0] == 503
        for plain in silent:
            assert plain.recv(1) == b""
        wait_until(lambda: ask(one)[0] == 200, "the others are gone")
    finally:
        for plain in silent:
            plain.close()


def test_an_address_in_use_is_named(opened: Callable[..., WebServer]) -> None:
    """With the option that was typed."""
    one = opened()
    with pytest.raises(OSError, match=rf"^--console 127\.0\.0\.1:{one.port}: Address already in use$"):
        opened(address=f"127.0.0.1:{one.port}")


@pytest.mark.parametrize("text", ["", "x", ":", "80.1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "no.invalid:80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """The error names the option and the value."""
    with pytest.raises(ValueError, match=r"^--metrics(: the host 'no\.invalid' is unknown| must be PORT or HOST:PORT)"):
        Address.parsed("--metrics", text)


def test_a_port_alone_is_of_this_machine() -> None:
    """Only what is said to be for others is."""
    assert Address.parsed("--metrics", "80") == ("127.0.0.1", 80, "127.0.0.1")
    assert Address.parsed("--metrics", "[::1]:80").is_loopback
    assert Address.parsed("--metrics", "[::1]:80").url(80) == "http://[::1]:80/"
    assert not Address.parsed("--metrics", "0.0.0.0:80").is_loopback
    assert not Address.parsed("--metrics", "[::]:80").is_loopback


def test_a_token_must_be_hard_to_guess(tmp_path: Path) -> None:
    """It is typed, or the content of a file."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert (token_from(None, tmp_path / "token"), token_from(TOKEN, None), token_from(None, None)) == (
        TOKEN,
        TOKEN,
        None,
    )
    with pytest.raises(ValueError, match=r"^--token must have at least 16 letters.*, got: 5 characters; make one by:"):
        token_from("short", None)
    with pytest.raises(ValueError, match=r"^--token must have at least 16 letters"):
        token_from("0123456789 abcdef", None)
    with pytest.raises(ValueError, match=r"^--token and --token-file must not be given together$"):
        token_from(TOKEN, tmp_path / "token")
