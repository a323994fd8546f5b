"""Layers that `pruner.protect` names."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from thrifty.config.choices.pruners import PROTECTED_KINDS
from thrifty.errors import BadConfiguration, nearest


def protected_layers(model: nn.Module, protect: list[str]) -> set[str]:
    """Names of the modules that an entry matches, itself or through a module around it; kinds of parameters are no names.

    Raises:
        BadConfiguration: an entry that matches nothing, as a slip of the pen would protect nothing in silence.
    """
    names = [name for name, _ in model.named_modules() if name]
    found: set[str] = set()
    for pattern in protect:
        if pattern in PROTECTED_KINDS:
            continue
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise BadConfiguration(
                f"pruner.protect: no layer is called {pattern!r}{nearest(pattern, names)}; give {', '.join(PROTECTED_KINDS)}, or a "
                f"layer's name or pattern such as {names[-1] if names else '*'}"
            )
        found.update(name for name in names if any(name == one or name.startswith(f"{one}.") for one in matched))
    return found
