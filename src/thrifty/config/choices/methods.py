"""Schemas of `method`: what is done to the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class Method:
    """What is done to the model."""

    name: str
