"""``receive`` and ``send`` of an ASGI application, observed by an exchange. They stay Python, being coroutines."""

from __future__ import annotations

from atrion.integrations._exchange import Exchange, Message, Receive, Send

__all__ = ["receiving", "sending"]


def receiving(exchange: Exchange, receive: Receive) -> Receive:
    """``receive`` whose messages the ``exchange`` sees."""

    async def observed() -> Message:
        waits = exchange.receives()
        try:
            message = await receive()
        finally:
            if waits:
                exchange.go_on()
        exchange.received(message)
        return message

    return observed


def sending(exchange: Exchange, send: Send) -> Send:
    """``send`` whose messages the ``exchange`` sees; the last one ends the call."""

    async def observed(message: Message) -> None:
        last = exchange.sends(message)
        if exchange.refused is not None:  # the middleware answers instead
            exchange.go_on()
            return
        try:
            await send(message)
        except OSError:  # servers signal a disconnected client like this
            exchange.gone = True
            raise
        finally:
            exchange.go_on()
        if last:
            exchange.close(None)

    return observed
