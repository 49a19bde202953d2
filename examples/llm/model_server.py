"""A server of two models with batch slots and rate limits: python examples/llm/model_server.py 8001."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SLOTS = 4  # requests that are computed at once; others wait
PROMPT = 100_000.0  # tokens of prompts that a slot reads in a second
ANSWER = 500.0  # tokens of answers that a slot writes in a second
MINUTE = {"large": 30.0, "small": 6000.0}  # requests that each model takes in a minute

slots = asyncio.Semaphore(SLOTS)
left = {model: (limit, time.monotonic()) for model, limit in MINUTE.items()}


def take(model: str) -> tuple[bool, dict[str, str]]:
    """Whether a request fits into the model's limit, which fills continuously, and what is said of it."""
    limit, (before, at) = MINUTE[model], left[model]
    now = time.monotonic()
    remaining = min(before + (now - at) * limit / 60.0, limit)
    fits = remaining >= 1.0
    remaining -= fits
    left[model] = remaining, now
    return fits, {
        "x-ratelimit-limit-requests": f"{limit:.0f}",
        "x-ratelimit-remaining-requests": f"{int(remaining)}",
        "x-ratelimit-reset-requests": f"{(limit - remaining) * 60.0 / limit:.3f}s",
    }


async def complete(request: Request) -> Response:
    body = await request.json()
    model, tokens = body["model"], body.get("max_tokens", 50)
    prompt = len(json.dumps(body["messages"])) // 4
    fits, headers = take(model)
    if not fits:
        error = {
            "message": f"rate limit of {model} reached",
            "type": "requests",
            "code": "rate_limit_exceeded",
        }
        return JSONResponse({"error": error}, 429, headers)
    usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
    head = {"id": "chat-1", "created": int(time.time()), "model": model}
    if body.get("stream"):
        return StreamingResponse(stream(head, tokens, prompt, usage), 200, headers, "text/event-stream")
    async with slots:
        await asyncio.sleep(prompt / PROMPT + tokens / ANSWER)
    message = {"role": "assistant", "content": "ohm " * tokens}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    return JSONResponse(
        {**head, "object": "chat.completion", "choices": [choice], "usage": usage}, 200, headers
    )


async def stream(
    head: dict[str, object], tokens: int, prompt: int, usage: dict[str, int]
) -> AsyncIterator[str]:
    head = {**head, "object": "chat.completion.chunk"}
    async with slots:
        await asyncio.sleep(prompt / PROMPT)
        for _ in range(tokens):
            await asyncio.sleep(1.0 / ANSWER)
            choice = {"index": 0, "delta": {"content": "ohm "}, "finish_reason": None}
            yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
    yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Serve in a process of its own, on a free port; gives the address."""
    command = [sys.executable, __file__, "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def end_with_parent() -> None:
    """The other end of standard input closes when the process that began this one ends, however that is."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    if sys.argv[1] == "0":
        threading.Thread(target=end_with_parent, daemon=True).start()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])
