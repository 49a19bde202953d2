"""A dashboard for Atrion: what is being refused, why, since when, and when it will be over."""

from __future__ import annotations

from atrion_studio.app import AtrionStudio

__all__ = ["AtrionStudio"]
