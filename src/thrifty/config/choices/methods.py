"""Schemas of `method`: what is done to the model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thrifty.config.key import key
from thrifty.errors import BadConfiguration


class Pace(Enum):
    """When weights go."""

    one_shot = "one_shot"
    iterative = "iterative"
    gradual = "gradual"


@dataclass(kw_only=True)
class Method:
    """What is done to the model."""

    name: str


@dataclass(kw_only=True)
class Prune(Method):
    """Remove weights or units of a dense model, and train what is left a little more."""

    pace: Pace = key(
        "when weights go: all before fine-tuning, an equal share of what is left at the begin of each round, or along a cubic curve"
    )
    rounds: int = key("rounds of pace=iterative", at_least=1)
    finetune: float = key(
        "steps of training after or while pruning, as a share of those this budget gives the dense model", at_least=0
    )
    rewind: bool = key(
        "train what is left from the dense model's first weights on, for all of its steps, instead of fine-tuning (lottery ticket)"
    )
    sensitivity: list[float] = key(
        "shares at which each layer is first pruned alone, to see which to spare, such as [0.5,0.8,0.9]; none are tried where empty",
        above=0,
        below=1,
    )
    calibration: int = key(
        "training examples whose activations or gradients rank the weights, where a pruner looks at them", at_least=8
    )

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.pace is not Pace.one_shot and self.finetune == 0:
            raise BadConfiguration(
                f"{path}pace={self.pace.name} {path}finetune=0: do not go together; weights go while fine-tuning goes on, so give "
                "some of it, or pace=one_shot"
            )
        if self.rewind and self.pace is Pace.gradual:
            raise BadConfiguration(
                f"{path}rewind=true {path}pace=gradual: do not go together; a ticket is drawn before it is trained, so take "
                "one_shot or iterative"
            )


@dataclass(kw_only=True)
class Quantize(Method):
    """Give the numbers of a trained model fewer bits."""

    calibration: int = key(
        "training examples by which scales of activations are chosen, where a quantizer fixes them", at_least=8
    )
    finetune: float = key(
        "steps of training with rounded numbers, as a share of those this budget gives the dense model; of the qat_* quantizers only",
        at_least=0,
    )
    sensitivity: bool = key("first quantise each layer alone, to see which to spare")


@dataclass(kw_only=True)
class PruneQuantize(Quantize):
    """Prune a dense model as method=prune does, then give what is left fewer bits."""


NO_QUANTIZER = "none"
"""In a list of quantizers, the model as it is."""


@dataclass(kw_only=True)
class Optimize(Method):
    """Find the best of quantizer x precision x engine x threads x batch size for a dense model, and leave it ready to use."""

    seconds: float = key(
        "time for the search, the dense training not counted; what it leaves untried is listed", unit="s", above=0
    )
    quantizers: list[str] = key("quantizers to try; none is the model as it is")
    precisions: list[str] = key("precisions to predict in that are tried")
    engines: list[str] = key("engines to try")
    threads: list[int] = key(
        "numbers of threads to try; where empty as many as `threads` has, and one", at_least=1, at_most=1024
    )
    batch_sizes: list[int] = key(
        "batch sizes to try with objective=throughput, beside that of the training; those that take longer than a second are left",
        at_least=1,
    )
    exhaustive: bool = key("measure everything beside the dense model, whatever time it takes: to see what the search misses")
    calibration: int = key(
        "training examples by which scales of activations are chosen, where a quantizer fixes them", at_least=8
    )
