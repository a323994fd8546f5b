"""Schemas of `logger`: where a run is told to, beside its own directory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thrifty.config.key import key


class WandbMode(Enum):
    """Where a wandb run goes."""

    offline = "offline"
    online = "online"
    disabled = "disabled"


@dataclass(kw_only=True)
class Logger:
    """Where a run is told to, beside its own directory."""

    name: str


@dataclass(kw_only=True)
class Wandb(Logger):
    """Weights & Biases; offline unless told, so no account, prompt or network is needed."""

    mode: WandbMode = key("offline writes to the run's directory; online needs WANDB_API_KEY")
    project: str = key("wandb's project")
    entity: str | None = key("wandb's user or team", null="your own")
    artifact: bool = key("keep the weights as a wandb artifact too")
