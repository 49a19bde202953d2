"""Who may look: this machine, or who has the token; and what every answer says to browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from atrion import Atrion, ConfigurationError
from atrion_studio import AtrionStudio
from atrion_studio.access import Access

TOKEN = "correct horse battery"
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def looking(
    peer: str = "127.0.0.1", host: str = "127.0.0.1", engine: Atrion | None = None, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    studio = AtrionStudio(engine or Atrion(), **options)
    transport = httpx.ASGITransport(app=studio, client=(peer, 4000))
    try:
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            yield client
    finally:
        studio.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]:8000", "127.0.0.1:81"])
async def test_this_machine_may_look(host: str) -> None:
    async with looking(host=host) as client:
        assert (await client.get("/api/meta")).status_code == 200


async def test_another_machine_may_not_and_is_told_what_to_do() -> None:
    async with looking(peer="10.0.0.7") as client:
        answer = await client.get("/api/meta")
    assert answer.status_code == 403
    assert "token" in answer.json()["error"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_clients_of_a_proxy_on_this_machine_need_a_token(header: str) -> None:
    async with looking() as client:
        answer = await client.get("/api/meta", headers={header: "127.0.0.1"})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"])
async def test_a_name_that_was_bound_to_us_by_others_is_refused(host: str) -> None:
    async with looking(host=host) as client:
        answer = await client.get("/api/snapshot")
    assert answer.status_code == 403
    assert "hosts" in answer.json()["error"]


async def test_names_of_ones_own_are_answered_to() -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    async with looking(host="ops.example", hosts=["Ops.example"], token=TOKEN) as client:
        assert (await client.get("/api/meta", headers=bearer)).status_code == 200
    async with looking(host="evil.example", hosts=["ops.example"], token=TOKEN) as client:
        assert (
            await client.get("/api/meta", headers={"authorization": f"Bearer {TOKEN}"})
        ).status_code == 403


async def test_another_origin_may_neither_read_nor_change() -> None:
    async with looking(allow_changes=True) as client:
        for origin in ("http://evil.example", "null", "http://127.0.0.1:9", "http://[bad"):
            assert (await client.get("/api/snapshot", headers={"origin": origin})).status_code == 403
            assert (await client.post("/api/changes", headers={"origin": origin}, json={})).status_code == 403
        assert (await client.post("/api/changes", json={})).status_code == 403  # no origin, no token


async def test_every_answer_has_the_headers() -> None:
    async with looking() as client, looking(peer="10.0.0.7") as stranger:
        for answer in (await client.get("/"), await client.get("/nothing"), await stranger.get("/")):
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'self';")
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "same-origin"
        assert (await client.get("/api/meta")).headers["cache-control"] == "no-store"


# --- with a token -------------------------------------------------------------------------------------------


async def test_without_the_token_nothing_is_told_also_to_this_machine() -> None:
    async with looking(token=TOKEN) as client:
        for path in ("/api/snapshot", "/api/events", "/api/meta", "/api/history", "/api/lab"):
            assert (await client.get(path)).status_code == 401
        answer = await client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")


async def test_login_gives_a_cookie_that_scripts_cannot_read() -> None:
    async with looking(peer="10.0.0.7", host="ops.example", token=TOKEN) as client:
        origin = {"origin": "http://ops.example"}
        answer = await client.post("/login", data={"token": TOKEN}, headers=origin)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert (await client.get("/api/meta")).status_code == 200
        assert (await client.get("/login")).headers["location"] == "/"


async def test_a_token_in_the_url_is_taken_once_and_leaves_it() -> None:
    async with looking(token=TOKEN) as client:
        answer = await client.get("/", params={"token": TOKEN, "page": "1"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/?page=1")
        assert (await client.get("/api/meta")).status_code == 200


async def test_programs_send_the_token_as_a_header() -> None:
    async with looking(token=TOKEN) as client:
        right = await client.get("/api/snapshot", headers={"authorization": f"Bearer {TOKEN}"})
        wrong = await client.get("/api/snapshot", headers={"authorization": "Bearer nonsense"})
    assert (right.status_code, wrong.status_code) == (200, 401)


async def test_attempts_are_limited_and_then_even_the_right_token_waits() -> None:
    async with looking(token=TOKEN) as client:
        wrong = [
            (await client.get("/api/meta", headers={"authorization": f"Bearer {n}"})).status_code
            for n in range(7)
        ]
        assert wrong == [401] * 5 + [429] * 2
        answer = await client.get("/api/meta", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "60"
        login = await client.post("/login", data={"token": TOKEN}, headers={"origin": "http://127.0.0.1"})
        assert login.headers["location"] == "/login?wait=1"


async def test_a_wrong_login_leads_back() -> None:
    async with looking(token=TOKEN) as client:
        origin = {"origin": "http://127.0.0.1"}
        answer = await client.post("/login", data={"token": "wrong"}, headers=origin)
        assert answer.headers["location"] == "/login?wrong=1"
        assert "set-cookie" not in answer.headers
        assert (await client.post("/login", content=b"x" * 5000, headers=origin)).status_code == 413


def test_attempts_are_forgotten_after_a_minute_and_memory_is_bounded() -> None:
    now = [1000.0]
    access = Access(TOKEN, lambda: now[0])
    for _ in range(5):
        assert access.token_is_right("wrong", "a") is False
    assert access.token_is_right(TOKEN, "a") is None
    assert access.token_is_right(TOKEN, "b") is True
    now[0] += 61.0
    assert access.token_is_right(TOKEN, "a") is True
    tried = [access.token_is_right("wrong", str(n)) for n in range(100)]
    assert tried.count(False) == 50  # from however many addresses


def test_cookies_end_and_cannot_be_made_up() -> None:
    now = [1000.0]
    access = Access(TOKEN, lambda: now[0])
    cookie = access.cookie()
    assert access.cookie_is_good(cookie)
    assert Access(TOKEN, lambda: now[0]).cookie_is_good(cookie)  # another worker of the same application
    assert not Access("another long token", lambda: now[0]).cookie_is_good(cookie)
    expiry, signature = cookie.split(".")
    for forged in ("", ".", "9999999999.", f"9999999999.{signature}", f"{expiry}.", f"{expiry}.é"):
        assert not access.cookie_is_good(forged)
    now[0] += 13 * 3600.0
    assert not access.cookie_is_good(cookie)


def test_short_tokens_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 16"):
        AtrionStudio(Atrion(), token="secret")


# --- failures -----------------------------------------------------------------------------------------------


class Broken:
    """A source that always fails."""

    title = "broken"
    engine = None

    def attach(self) -> None:
        raise RuntimeError("no")

    def detach(self) -> None:
        raise RuntimeError("no")

    async def read(self) -> Any:
        raise RuntimeError("no")

    async def close(self) -> None:
        raise RuntimeError("no")


async def test_a_studio_that_fails_does_not_reach_the_application() -> None:
    studio = AtrionStudio(Broken())
    transport = httpx.ASGITransport(app=studio, client=("127.0.0.1", 1), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        with anyio.fail_after(20):
            answer = await client.get("/api/snapshot")
    studio.close()
    assert answer.status_code == 503
    assert "could not be read" in answer.json()["error"]


async def test_what_a_page_raises_is_a_500_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr("atrion_studio.app.JSONResponse", fail)
    async with looking() as client:
        answer = await client.get("/api/meta")
    assert answer.status_code == 500
    assert "x-frame-options" in answer.headers
