"""Of every m neighbouring weights of an output the n largest stay, as sparse tensor cores want it.

Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
"""

from __future__ import annotations

from torch import nn

from thrifty.config.choices.pruners import NM, nearest_pattern
from thrifty.errors import Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner, Masks
from thrifty.pruners.selection import of_all, of_groups
from thrifty.pruners.targets import Targets, find_targets


class NMPruner(MaskPruner):
    """Scores by absolute value, within groups along what an output sums over: inputs, or input channels times kernel, flattened."""

    config: NM

    def masks(
        self, model: nn.Module, sparsity: float, calibration: Calibration | None = None, held: Masks | None = None
    ) -> Masks:
        """Masks of the pattern, whose sparsity 1 - n/m is, wherever that asked for is within half a weight in m of it or above.

        Below that, as on the way to it, exactly `sparsity` goes: the smallest of what the pattern would remove, so that no
        group has lost more than it may in the end.

        Raises:
            Unsupported: a tensor whose rows m does not divide, or that has none.
        """
        targets = find_targets(model, self.config.protect)
        pattern = self.config.pattern or nearest_pattern(sparsity)
        n, m = (int(one) for one in pattern.split(":"))
        self._hold_to_pattern(targets, pattern, m)
        sizes = {name: one.detach().abs() for name, one in targets.weights.items()}
        whole = of_groups(sizes, n, m, held)
        self.about = [targets.protected_sentence]
        if sparsity * m >= m - n - 0.5 - 1e-9:
            self.about.append(f"of every {m} neighbouring weights of an output {n} stay")
            return whole
        self.about.append(f"on the way to {n} of every {m} neighbouring weights of an output")
        # What stays in the end ranks behind all that goes.
        top = max(float(one.max()) for one in sizes.values())
        ranked = {name: one.double() + whole[name] * (2 * top + 1) for name, one in sizes.items()}
        return of_all(ranked, sparsity, held)

    def _hold_to_pattern(self, targets: Targets, pattern: str, m: int) -> None:
        for name, weight in targets.weights.items():
            if weight.ndim < 2:
                raise Unsupported(
                    f"pruner=n_m: {name} is a vector, and {pattern} is along the inputs of an output; add biases and norms to "
                    f"pruner.protect, or {name}"
                )
            size = weight[0].numel()
            if size % m:
                raise Unsupported(
                    f"pruner=n_m: an output of {name} sums over {size} weights, which {m} does not divide, so {pattern} does not "
                    f"fit; add {name.removesuffix('.weight')} to pruner.protect, or give another pruner.pattern"
                )


def build(config: NM) -> MaskPruner:
    """The pruner of a configuration."""
    return NMPruner(config)
