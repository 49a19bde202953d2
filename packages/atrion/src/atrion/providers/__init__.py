"""Providers for the memory of one process and for the workers of a host, and the lookup of providers by URL."""

from atrion.providers.memory import InMemoryProvider
from atrion.providers.provider_urls import provider_from, without_password

__all__ = ["InMemoryProvider", "provider_from", "without_password"]
