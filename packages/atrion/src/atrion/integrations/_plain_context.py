"""The context of a plain function under ``grpc.aio``, with the methods of a ``grpc.server`` context that it lacks."""

from __future__ import annotations

from typing import Any

__all__ = ["PlainContext"]


class PlainContext:
    """A servicer's context that can be asked for the status code and the metadata that were set."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._code: Any = None
        self._metadata: tuple[tuple[str, str | bytes], ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def is_active(self) -> bool:
        """True: grpc.aio does not tell plain functions that their client has left."""
        return True

    def code(self) -> Any:
        """The status code that was set, or None."""
        return self._code

    def set_code(self, code: Any) -> None:
        """Set the status code of the call."""
        self._code = code
        self._context.set_code(code)

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata that was set."""
        return self._metadata

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Set the trailing metadata of the call."""
        self._metadata = tuple(metadata)
        self._context.set_trailing_metadata(self._metadata)

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        """End the call with a status code; raises."""
        self._code = code
        self._context.abort(code, details, tuple(trailing_metadata))
