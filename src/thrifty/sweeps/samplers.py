"""Who proposes the trials of a search: Optuna's samplers by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thrifty.config.sweep import Sampler
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.sweeps.storage import quietly

if TYPE_CHECKING:
    import optuna


def sampler_of(which: Sampler, seed: int, objectives: int) -> optuna.samplers.BaseSampler:
    """Who proposes trials for so many objectives.

    Raises:
        BadConfiguration: one that goes with a single objective.
        Unsupported: a library that it needs is not installed.
    """
    import optuna

    samplers: dict[Sampler, Any] = {
        Sampler.tpe: lambda: optuna.samplers.TPESampler(seed=seed),
        Sampler.random: lambda: optuna.samplers.RandomSampler(seed=seed),
        Sampler.gp: lambda: optuna.samplers.GPSampler(seed=seed),
        Sampler.cmaes: lambda: optuna.samplers.CmaEsSampler(seed=seed),
        Sampler.nsgaii: lambda: optuna.samplers.NSGAIISampler(seed=seed),
        Sampler.nsgaiii: lambda: optuna.samplers.NSGAIIISampler(seed=seed),
        Sampler.qmc: lambda: optuna.samplers.QMCSampler(seed=seed),
        Sampler.brute_force: lambda: optuna.samplers.BruteForceSampler(seed=seed),
    }
    if which is Sampler.cmaes and objectives > 1:
        raise BadConfiguration("sweep.sampler=cmaes: goes with one objective; take tpe, gp or nsgaii for several")
    try:
        with quietly():
            return samplers[which]()
    except ModuleNotFoundError as error:
        raise Unsupported(f"sweep.sampler={which.name}: needs {error.name}; pip install {error.name}, or take tpe") from error
