"""Compressors: a trained scene in, the bytes of a `.srz` file out. base.py has what they share."""

from __future__ import annotations

from scenerep.compress.base import Goal, Job

__all__ = ["Goal", "Job"]
