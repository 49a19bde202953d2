"""A guard for clients of language models: those of OpenAI, Azure and Anthropic, and others that are generated alike."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Final, TypeVar, Unpack

from atrion.control.base import Key
from atrion.engine import Atrion
from atrion.errors import ConfigurationError
from atrion.integrations._httpx import AsyncBody, Body, carry
from atrion.integrations._llm_costs import estimate, usable
from atrion.integrations._llm_headers import reports, wait
from atrion.integrations._missing import needs
from atrion.integrations._outgoing import ClientOptions, Clients, Sent, holds, until_answered
from atrion.integrations._quotas import Cost, Mark, Quotas
from atrion.physics.voltage import TierLike, level_at, level_of
from atrion.propagation import Peers, current

with needs("atrion.integrations.llm", "llm"):
    if find_spec("openai") is None and find_spec("anthropic") is None:
        raise ImportError("neither openai nor anthropic is installed")

__all__ = ["Cost", "estimate", "guard"]
