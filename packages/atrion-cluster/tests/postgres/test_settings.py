"""URLs of PostgreSQL: what is refused, and that no text holds a password."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atrion import Atrion, AtrionError, ConfigurationError, ProviderError
from atrion_cluster import PostgresPersistenceAdapter

SECRET = "s3cret-of-the-tests"


@pytest.mark.parametrize(
    "url, word",
    [
        ("postgresql://u:topsecret@h/d?nonsense=1", "cannot be read"),
        ("postgresql://u:topsecret@[h/d", "must be postgresql://"),
        ("postgresql://u:topsecret@h/d?namespace=a/b", "namespace"),
        ("postgresql://u:topsecret@h/d?history=-1", "history"),
        ("postgresql://u:topsecret@h/d?history=long", "history"),
        ("postgresql://u:topsecret@h/d?forget_after=1", "forget_after"),
        ("postgresql://u:topsecret@h/d?deadline=0", "deadline"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words_without_the_password(url: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        Atrion(persistence=url)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("url", [None, 5, "mysql://h/d", ""])
def test_what_is_no_postgresql_url_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user"):
        PostgresPersistenceAdapter(url)


def test_both_schemes_are_registered(server: Any) -> None:
    for scheme in ("postgresql", "postgres"):
        engine = Atrion(provider=server.url(namespace="n").replace("postgresql", scheme))
        assert isinstance(engine.state.provider, PostgresPersistenceAdapter)


def test_no_text_holds_the_password(server: Any) -> None:
    async def main() -> None:
        adapter = PostgresPersistenceAdapter(server.url())
        assert SECRET not in repr(adapter) + str(vars(adapter))
        assert "127.0.0.1" in repr(adapter)
        await adapter.connect()
        await adapter.disconnect()
        wrong = PostgresPersistenceAdapter(server.url(password="wrong-one"))
        nowhere = PostgresPersistenceAdapter(server.url(port=1))
        for broken in (wrong, nowhere):
            with pytest.raises(ProviderError, match=r"PostgreSQL at 127\.0\.0\.1") as caught:
                await broken.connect()
            assert "wrong-one" not in str(caught.value)
            assert SECRET not in str(caught.value)
        with pytest.raises(AtrionError, match="not connected"):
            await wrong.get_vector("r")

    asyncio.run(main())
