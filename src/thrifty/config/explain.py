"""Hydra's and OmegaConf's errors in one line: what was given, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from omegaconf.errors import OmegaConfBaseException

from thrifty.config.table import all_keys
from thrifty.errors import BadConfiguration, nearest


def explain(error: BaseException, overrides: Sequence[str]) -> BadConfiguration:
    """The error as the user should read it."""
    for one in _chain(error):
        if isinstance(one, OmegaConfBaseException) and one.full_key:
            return _about(str(one.full_key), one, overrides)
    reasons = [line.strip() for line in str(error).splitlines() if line.strip()]
    return BadConfiguration("; ".join(reasons[:2]))


def _about(name: str, error: OmegaConfBaseException, overrides: Sequence[str]) -> BadConfiguration:
    name = name.split("[")[0]
    given = next((text for text in reversed(overrides) if text.lstrip("+").split("=")[0] == name), name)
    key = next((key for key in all_keys() if key.name == name), None)
    if key is None:
        reason = str(error).splitlines()[0]
        return BadConfiguration(f"{given}: {reason}; see `thrifty keys`")
    if key.type == "choice":
        wanted = f"one of {key.allowed}" + nearest(given.split("=", 1)[-1], key.allowed.split(", "))
    else:
        wanted = key.type + (f", {key.allowed}" if key.allowed else "")
        value = given.partition("=")[2]
        if key.type.startswith("list of") and value and value[0] not in "[{('\"":
            wanted += f", as [{value}] is"
    return BadConfiguration(f"{given}: is not allowed; must be {wanted}; see `thrifty keys {name}`")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
