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
    seconds: float | None = key("cap on training time; a run that meets it is flagged", unit="s", above=0, null="none")

    def steps_for(self, examples: int, batch_size: int) -> int:
        """Optimiser steps it comes to; the budget is resolved.

        Args:
            examples: of the training split.
            batch_size: of them in a step.
        """
        return self.steps or max(1, math.ceil((self.epochs or 1) * examples / batch_size))

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.steps is not None and self.epochs is not None:
            raise BadConfiguration(f"{path}steps={self.steps} and {path}epochs={self.epochs:g}: give one of the two")
