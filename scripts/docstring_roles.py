"""Turns the roles of docstrings, such as :class:`~atrion.Atrion`, into code: the API reference is Markdown.

MkDocs loads this file as an extension of Griffe, which reads the docstrings.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`~?([^`]+)`")


class DocstringRoles(Extension):
    """Writes the last part of each name as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """An object of the packages was read."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", obj.docstring.value)
