"""A program that uses slowapi."""

from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

limiter = Limiter(key_func=get_remote_address)


@limiter.limit("180/minute")
async def item(request: Request):
    try:
        return PlainTextResponse(request.app.state.work())
    except ValueError as error:
        return PlainTextResponse(str(error), 400)


app = Starlette(routes=[Route("/item", item)])
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
