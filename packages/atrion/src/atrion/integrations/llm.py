"""A guard for clients of language models: those of OpenAI, Azure and Anthropic, and others that are generated alike."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, TypeVar, Unpack

from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._httpx import AsyncBody, Body
from atrion.integrations._llm_costs import TAIL, estimate
from atrion.integrations._llm_events import Errors
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, until_answered
from atrion.integrations._prompts import CostOf, Models, Prompt
from atrion.integrations._quotas import Cost

with needs("atrion.integrations.llm", "llm"):
    if find_spec("openai") is None and find_spec("anthropic") is None:
        raise ImportError("neither openai nor anthropic is installed")

__all__ = ["Cost", "estimate", "guard"]

C = TypeVar("C")

ADMITTED = "atrion.admitted"
"""The extension of a request that has been admitted."""
ENDS = (b"[DONE]", b"message_stop", b"response.completed")
"""What the last event of a stream has; vendors' clients read no further."""


def guard(
    client: C,
    atrion: Atrion,
    *,
    cost: CostOf | None = None,
    http: Mapping[str, Any] | None = None,
    **options: Unpack[ClientOptions],
) -> C:
    """Copy a client of a language model, so that its requests are admitted or shed.

    One line switches it on: ``client = guard(OpenAI(), atrion)``. The route of a request is the host and the model,
    such as ``api.openai.com/gpt-5``. A shed request raises :class:`FlowRejected` before it is sent, and the client does
    not try it again. What answers say of the provider's rate limits becomes resistance once these would run out: lower
    tiers are then shed first.

    Timeouts, connections that fail and 5xx are failures, 4xx are not; 429, 503 and 529 raise the resistance for the
    time that they ask for. An error within a stream counts as the answer with its status would. A request is in flight
    until its response, or stream, has been read or closed.

    Args:
        client: An ``OpenAI``, ``AzureOpenAI``, ``Anthropic``, or the asynchronous form of one.
        atrion: The engine that decides.
        cost: A function of the request's body that returns its :class:`Cost`, or tokens, or None for the estimate:
            a token for four characters, and the most tokens that the answer may have.
        http: Arguments of the vendor's ``DefaultHttpxClient``, which sends: proxies, certificates, limits.
        options: Those of :class:`ClientOptions`.

    Raises:
        ConfigurationError: an option is unusable, or the client is of another kind.
    """
    models = Models(atrion, cost, **options)
    base, library = _http_client(client)
    asynchronous = hasattr(client, "__aenter__")
    guarding: type = _AsyncGuarding if asynchronous else _Guarding
    stream = library.AsyncByteStream if asynchronous else library.SyncByteStream
    members = {
        "models": models,
        "body": type("GuardedBody", (_AsyncStreamed if asynchronous else _Streamed, stream), {}),
        "callers": (library.UnsupportedProtocol, library.LocalProtocolError, library.InvalidURL),
    }
    sends = type("GuardedClient", (guarding, base), members)(**(http or {}))
    copy: C = client.copy(http_client=sends)  # type: ignore[attr-defined]  # _http_client has seen that it has one
    return copy


def _http_client(client: object) -> tuple[type, Any]:
    """The vendor's HTTP client, and the library that it is of: httpx, or httpx2 for newer ones."""
    name = "DefaultAsyncHttpxClient" if hasattr(client, "__aenter__") else "DefaultHttpxClient"
    for kind in type(client).__mro__:
        base = getattr(sys.modules.get(kind.__module__.partition(".")[0]), name, None)
        if isinstance(base, type) and callable(getattr(client, "copy", None)):
            for inherited in base.__mro__:
                library = sys.modules.get(inherited.__module__.partition(".")[0])
                if hasattr(library, "AsyncByteStream"):
                    return base, library
    raise ConfigurationError("client", client, "give a client such as OpenAI(), AzureOpenAI() or Anthropic()")


class _Admitted:
    """A request that has been admitted, and ends if it is never sent."""

    def __init__(self, prompt: Prompt | None) -> None:
        self._prompt = prompt

    def take(self) -> Prompt | None:
        prompt, self._prompt = self._prompt, None
        return prompt

    def __del__(self) -> None:
        if self._prompt is not None:
            self._prompt.sent.ignore()
            self._prompt.sent.end()


class _Building:
    """Admits requests where they are built: vendors take what is raised later for a broken connection, and retry."""

    models: Models
    body: type
    callers: tuple[type[BaseException], ...]

    def build_request(self, *arguments: Any, **options: Any) -> Any:
        request = super().build_request(*arguments, **options)  # type: ignore[misc]  # of the vendor's HTTP client
        request.extensions[ADMITTED] = _Admitted(self.models.admit(request))
        return request

    def admitted(self, request: Any) -> Prompt | None:
        found = request.extensions.pop(ADMITTED, None)
        return self.models.admit(request) if found is None else found.take()


class _Guarding(_Building):
    def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        prompt = self.admitted(request)
        if prompt is None:
            return super().send(request, stream=stream, **options)  # type: ignore[misc]  # as above
        with until_answered(prompt.sent, self.callers):
            response = super().send(request, stream=True, **options)  # type: ignore[misc]
            prompt.answered(response.status_code, response.headers)
            if stream:
                response.stream = self.body(response, prompt)
                return response
            try:
                prompt.read(response.read()[-TAIL:])
            except BaseException:
                response.close()
                raise
        prompt.sent.end()
        return response


class _AsyncGuarding(_Building):
    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        prompt = self.admitted(request)
        if prompt is None:
            return await super().send(request, stream=stream, **options)  # type: ignore[misc]  # as above
        with until_answered(prompt.sent, self.callers):
            response = await super().send(request, stream=True, **options)  # type: ignore[misc]
            prompt.answered(response.status_code, response.headers)
            if stream:
                response.stream = self.body(response, prompt)
                return response
            try:
                prompt.read((await response.aread())[-TAIL:])
            except BaseException:
                await response.aclose()
                raise
        prompt.sent.end()
        return response


class _Seen:
    """What is seen of a stream as it passes: its errors, and its last bytes, which tell at its end what it used."""

    def __init__(self, prompt: Prompt, response: Any) -> None:
        self._prompt = prompt
        self._bytes = b""
        kind = response.headers.get("content-type", "")
        events = response.status_code < 300 and "text/event-stream" in kind.lower()
        self._errors = Errors() if events else None

    def add(self, chunk: bytes) -> bytes:
        self._bytes = (self._bytes + chunk)[-TAIL:]
        if self._errors is not None:
            self._note(self._errors.add(chunk))
        return chunk

    def close(self) -> None:
        if self._errors is not None:
            self._note(self._errors.close())
        if any(end in self._bytes for end in ENDS):
            self._prompt.read(self._bytes)

    def _note(self, status: int | None) -> None:
        if status is not None:
            self._errors = None
            self._prompt.broke(status)


class _Streamed(Body):
    def __init__(self, response: Any, prompt: Prompt) -> None:
        super().__init__(response.stream, prompt.sent)
        self._seen = _Seen(prompt, response)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._seen.add, super().__iter__())

    def close(self) -> None:
        self._seen.close()
        super().close()


class _AsyncStreamed(AsyncBody):
    def __init__(self, response: Any, prompt: Prompt) -> None:
        super().__init__(response.stream, prompt.sent)
        self._seen = _Seen(prompt, response)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in super().__aiter__():
            yield self._seen.add(chunk)

    async def aclose(self) -> None:
        self._seen.close()
        await super().aclose()
