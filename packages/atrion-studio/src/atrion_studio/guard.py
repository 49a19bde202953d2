"""What stands before every page of the Studio: headers, hosts, origins, login, and an end to every failure."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from atrion_studio.access import COOKIE, LONGEST, WITHIN, Access

__all__ = ["App", "Guard", "Receive", "Scope", "Send", "is_loopback"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger: logging.Logger = logging.getLogger("atrion.studio")

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SAFE = {"GET", "HEAD", "OPTIONS"}
PUBLIC = ("/login", "/assets/")
"""What a login itself needs; nothing of it tells anything of the routes."""
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
"""Headers of proxies, whose clients may be anywhere although the proxy is on this machine."""
MOST_LOGIN = 4096
"""Bytes that a login form may have."""


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets in who may look; what the Studio raises becomes a status of 500, and never reaches the application."""

    def __init__(self, app: App, access: Access, hosts: Sequence[str]) -> None:
        self._app = app
        self._access = access
        self._hosts = {host.lower() for host in hosts}
        self.failures: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; of other kinds, only websockets are refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        started = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            request = Request(scope, receive)
            response = await self._refusal(request)
            await (self._app if response is None else response)(scope, receive, sending)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                logger.exception("the Studio failed; the application that it is mounted in goes on")
            if not started:
                await PlainTextResponse("AtrionStudio failed; its log says why.", 500)(
                    scope, receive, sending
                )

    async def _refusal(self, request: Request) -> Response | None:
        """The answer where the request may not pass."""
        host = self._host_of(request)
        if host is None:
            return _refused(request, 400, "This Host header cannot be read.")
        if not self._host_is_right(host):
            return _refused(
                request,
                403,
                f"AtrionStudio does not answer to the name {host[:100]!r}. Give AtrionStudio(hosts=[…]) the names it "
                "has, or open it as 127.0.0.1.",
            )
        origin = request.headers.get("origin")
        if origin is not None and not self._is_own(origin, request):
            return _refused(
                request, 403, "Another site asked for this; AtrionStudio answers only its own pages."
            )
        if origin is None and request.method not in SAFE and "authorization" not in request.headers:
            return _refused(
                request, 403, "A change must say where it comes from: the Origin header is missing."
            )
        if not self._access.needed:
            client = request.client
            forwarded = any(name in request.headers for name in FORWARDED)
            if forwarded or (client is not None and not is_loopback(client.host)):
                return _refused(
                    request,
                    403,
                    "AtrionStudio is open to its own machine only. To look from another, give it a token: "
                    "AtrionStudio(atrion, token=…) or atrion studio --token.",
                )
            return None
        return await self._login(request)

    def _host_of(self, request: Request) -> str | None:
        try:
            return urlsplit(f"//{request.headers.get('host', '')}").hostname
        except ValueError:
            return None

    def _host_is_right(self, host: str) -> bool:
        """Names that an attacker's site may be given to reach us are refused, unless a token is demanded anyway."""
        if is_loopback(host) or host in self._hosts:
            return True
        return self._access.needed and not self._hosts

    def _is_own(self, origin: str, request: Request) -> bool:
        try:
            return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
        except ValueError:
            return False

    # --- login -----------------------------------------------------------------------------------------------

    async def _login(self, request: Request) -> Response | None:
        access, path = self._access, _path(request)
        home = request.scope.get("root_path", "") + "/"
        if path == "/login" and request.method == "POST":
            return await self._try_login(request, home)
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._answer_to(access.token_is_right(bearer.strip(), _address(request)), request, None)
        query = dict(parse_qsl(request.url.query))
        if path == "/" and "token" in query and request.method == "GET":
            token = query.pop("token")
            target = home + (f"?{urlencode(query)}" if query else "")
            return self._answer_to(access.token_is_right(token, _address(request)), request, target)
        if access.cookie_is_good(request.cookies.get(COOKIE, "")):
            return RedirectResponse(home, 303) if path == "/login" else None
        if path.startswith(PUBLIC):
            return None
        if path == "/":
            return RedirectResponse(home + "login", 303)
        return _refused(request, 401, "Log in first, or send the header Authorization: Bearer TOKEN.")

    async def _try_login(self, request: Request, home: str) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_LOGIN:
                return _refused(request, 413, "This is no login.")
        token = dict(parse_qsl(body.decode("utf-8", "replace"))).get("token", "")
        right = self._access.token_is_right(token.strip(), _address(request))
        if right is False:
            return RedirectResponse(home + "login?wrong=1", 303)
        if right is None:
            return RedirectResponse(home + "login?wait=1", 303)
        return self._answer_to(True, request, home) or RedirectResponse(home, 303)

    def _answer_to(self, right: bool | None, request: Request, target: str | None) -> Response | None:
        """Where a token led: on, to ``target`` with a cookie, or nowhere."""
        if right is None:
            refused = _refused(request, 429, "Too many wrong tokens; wait a minute.")
            refused.headers["retry-after"] = str(int(WITHIN))
            return refused
        if not right:
            return _refused(request, 401, "This token is wrong.")
        if target is None:
            return None
        response = RedirectResponse(target, 303)
        response.set_cookie(
            COOKIE,
            self._access.cookie(),
            max_age=LONGEST,
            path=request.scope.get("root_path", "") or "/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response


def _path(request: Request) -> str:
    """The path below the place where the Studio is mounted."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", "")) or "/"


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _refused(request: Request, status: int, text: str) -> Response:
    if "/api/" in request.scope["path"]:
        return JSONResponse({"error": text}, status)
    return PlainTextResponse(text, status)
