"""Schema of `budget`: how long a run trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thrifty.config.key import BY_TASK, key
from thrifty.errors import BadConfiguration


@dataclass(kw_only=True)
class Budget:
    """How long a run trains."""

    name: str
    steps: int | None = key("optimiser steps", unit="steps", at_least=1, null=BY_TASK)
    epochs: float | None = key("passes over the training split, where steps are not given", above=0, null=BY_TASK)
    flops: float | None = key(
        "operations of training, forward and backward: as many steps as they allow, so that models of other sizes cost the same",
        unit="FLOP",
        above=0,
        null="none",
    )
    seconds: float | None = key("cap on training time; a run that meets it is flagged", unit="s", above=0, null="none")

    def steps_for(self, examples: int, batch_size: int, flops_per_example: int | None = None) -> int:
        """Optimiser steps it comes to; the budget is resolved.

        Args:
            examples: of the training split.
            batch_size: of them in a step.
            flops_per_example: of a forward and a backward pass; needed where the budget is in operations.
        """
        if self.flops is not None:
            assert flops_per_example is not None
            return max(1, round(self.flops / (flops_per_example * batch_size)))
        return self.steps or max(1, math.ceil((self.epochs or 1) * examples / batch_size))

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.steps is not None and self.epochs is not None:
            raise BadConfiguration(f"{path}steps={self.steps} and {path}epochs={self.epochs:g}: give one of the two")
        if self.flops is not None and (self.steps is not None or self.epochs is not None):
            other = f"steps={self.steps}" if self.epochs is None else f"epochs={self.epochs:g}"
            raise BadConfiguration(f"{path}flops={self.flops:g} and {path}{other}: give one of the two")
