"""One choice with its own configuration, for tests of what it does: quicker than composing everything around it."""

from __future__ import annotations

from typing import Any

from thrifty.config.choice import choice_of
from thrifty.config.values import choice_values


def chosen(selection: str, **changes: Any) -> Any:
    """The configuration of `group=name` as conf/ has it, with changes: `chosen("optimizer=adam", lr=0.1)`."""
    group, name = selection.split("=")
    return choice_of(group, {**choice_values(group, name), **changes})
