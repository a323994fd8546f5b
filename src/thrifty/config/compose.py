"""Overrides -> Config. The one consumer of Hydra: the command line, workers, sweeps and tests all come through here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from enum import Enum
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thrifty.config.explain import explain
from thrifty.config.overrides import check_overrides
from thrifty.config.paths import conf_directory
from thrifty.config.registry import CHOICES
from thrifty.config.resolve import resolve
from thrifty.config.schema import Config


@functools.cache
def register_schemas() -> None:
    """Tell Hydra the types, once a process: the root first in the defaults list, each choice first in its own file."""
    store = ConfigStore.instance()
    store.store(group="schema", name="config", node=Config, package="_global_")
    for group, names in CHOICES.items():
        for name, choice in names.items():
            store.store(group=f"schema/{group}", name=name, node=choice.schema)


def compose(overrides: Sequence[str]) -> Config:
    """The whole, checked configuration that a command line's overrides stand for.

    Args:
        overrides: as typed, such as `["model=large", "optimizer=adam", "optimizer.lr=1e-3"]`.

    Raises:
        BadConfiguration: one line naming the key, what was given, what is allowed and the nearest right name.
    """
    check_overrides(overrides)
    register_schemas()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
            composed = hydra_compose("config", overrides=list(overrides))
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from error
    assert isinstance(config, Config)
    return resolve(config)


def plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON can hold it: enums by name. OmegaConf's own way takes longer than a small model's training."""
    return _plain(config)


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.name
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _ if dataclasses.is_dataclass(value):
            return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
        case _:
            return value
