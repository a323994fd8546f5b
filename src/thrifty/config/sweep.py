"""Schema of `sweep`: how many experiments are run, and by what they are judged. No part of an experiment's own configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thrifty.config.key import key
from thrifty.config.slurm import Slurm


class Sampler(Enum):
    """Who proposes the next trial, by Optuna's names."""

    tpe = "tpe"
    random = "random"
    gp = "gp"
    cmaes = "cmaes"
    nsgaii = "nsgaii"
    nsgaiii = "nsgaiii"
    qmc = "qmc"
    brute_force = "brute_force"


class Stopper(Enum):
    """Who ends trials that are not worth going on with: Optuna's pruners by their names, less those that other keys do the work of."""

    none = "none"
    median = "median"
    percentile = "percentile"
    successive_halving = "successive_halving"
    hyperband = "hyperband"
    wilcoxon = "wilcoxon"


class Where(Enum):
    """Where the experiments run."""

    local = "local"
    slurm = "slurm"


class Print(Enum):
    """For whom the commands are printed."""

    sbatch = "sbatch"
    torchrun = "torchrun"


@dataclass(kw_only=True)
class Sweep:
    """A search: what it looks for, and how long."""

    objectives: list[str] = key(
        "metrics to optimise and which way, such as validation/accuracy: maximize; several give a Pareto set"
    )
    constraints: list[str] = key("what a trial must keep to count, such as size/file_mib <= 10")
    n_trials: int | None = key("trials in all, those of the sweep before it was resumed included", at_least=1, null="no bound")
    seconds: float | None = key("no trial starts after so long", unit="s", above=0, null="no bound")
    sampler: Sampler = key("who proposes the next trial")
    seed: int = key("of the sampler", at_least=0)
    stopper: Stopper = key(
        "who ends a trial that its validations show to be hopeless: Optuna's pruner; for several objectives successive_halving"
    )
    reduction: int = key("one in so many trials stays at each rung of successive_halving and hyperband", at_least=2)
    spared: int = key("trials, the first of the search, that no stopper ends", at_least=0)
    storage: str | None = key(
        "where Optuna keeps the trials, such as postgresql://USER:PASSWORD@HOST/NAME, for searches of many machines",
        null="a journal in the sweep's directory",
    )
    parallel: int = key(
        "experiments at a time: on this machine each with cores, or a GPU, of its own; on a cluster jobs of a search",
        at_least=1,
    )
    reuse: bool = key("whether a run that an earlier sweep of this store has finished counts, or is made once more")
    resume: str | None = key("directory of a sweep to go on with; what is finished is not run again", null="a new sweep")
    into: str | None = key(
        "of one experiment, without -m: the sweep's directory that it belongs to; finished there it is not run again, cut off it goes on",
        null="no sweep's",
    )
    where: Where = key("where the experiments run: on this machine, or as jobs of a cluster")
    print: Print | None = key(
        "prints a command for each experiment of a grid, to be given to sbatch or to be run, and runs none", null="runs them"
    )
    slurm: Slurm
