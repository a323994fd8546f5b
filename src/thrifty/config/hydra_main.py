"""Hydra's own command line over our configuration: --cfg, --info, completion, and sweeps by other sweepers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from thrifty.config.compose import register_schemas
from thrifty.config.explain import explain
from thrifty.config.paths import conf_directory


def hydra_main(arguments: Sequence[str], run: Callable[[list[str]], object]) -> None:
    """Give a command line to Hydra; `run` receives the overrides of every job it starts.

    Raises:
        BadConfiguration: what Hydra could not compose, in one line.
    """
    register_schemas()

    @hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")
    def job(config: DictConfig) -> None:
        run(list(HydraConfig.get().overrides.task))

    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [sys.argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back as exceptions, to be told in our way
    try:
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, [one for one in arguments if "=" in one]) from error
    finally:
        sys.argv = before[0]
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]
