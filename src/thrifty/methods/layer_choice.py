"""Which layers of a quantised model to leave in higher precision, so that what the others cost keeps within a bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thrifty.measure.loss_bound import QualityLoss


@dataclass(frozen=True)
class Tried:
    """A set of layers that was spared, and what the rest cost."""

    spared: tuple[str, ...]
    loss: QualityLoss


class LayerChoice:
    """Spares the layers that cost most alone; how many is found by bisection, as more of them cost less.

    It goes by the loss found, not by what is certified, as `SparsitySearch` does.

    Args:
        layers: all that could be quantised.
        bound: quality points that may be lost; None bounds nothing.
        before: what was lost before any layer is quantised, by pruning or by training with rounded numbers; None is nothing.
    """

    def __init__(self, layers: Sequence[str], bound: float | None, before: QualityLoss | None = None) -> None:
        self.layers, self.bound, self.before = list(layers), bound, before
        self.tried: list[Tried] = []

    def rounds(self, costs: Mapping[str, float]) -> Iterator[list[str]]:
        """Sets of layers to spare; `tell` what became of each before the next is asked for.

        Args:
            costs: points that each layer costs alone.
        """
        worst = sorted(costs, key=lambda name: -costs[name])
        low, high = 0, len(worst)  # sparing none is known not to do, sparing all of them adds nothing
        if self.hopeless:
            return
        while self.bound is not None and high - low > 1:
            middle = (low + high) // 2
            yield worst[:middle]
            if self.tried[-1].loss.within(self.bound):
                high = middle
            else:
                low = middle
        if not self.met and high == len(worst):
            nothing = QualityLoss(0.0, 0.0, 0.0, self.tried[-1].loss.n if self.tried else 0)
            self.tried.append(Tried(tuple(worst), self.before or nothing))

    @property
    def hopeless(self) -> bool:
        """Whether too much was lost before, so that no choice of layers helps."""
        return self.bound is not None and self.before is not None and not self.before.within(self.bound)

    def tell(self, spared: Sequence[str], loss: QualityLoss) -> None:
        """What sparing these cost."""
        self.tried.append(Tried(tuple(spared), loss))

    @property
    def best(self) -> Tried | None:
        """The fewest layers spared within the bound."""
        fitting = [one for one in self.tried if self.bound is not None and one.loss.within(self.bound)]
        return min(fitting, key=lambda one: len(one.spared), default=None)

    @property
    def met(self) -> bool:
        """Whether some choice keeps within the bound."""
        return self.bound is None or self.best is not None

    @property
    def spared(self) -> tuple[str, ...]:
        """The layers to spare."""
        return () if self.best is None else self.best.spared

    def rows(self) -> list[dict[str, Any]]:
        """What was tried, in order, as the record has it: points lost, with their interval."""
        assert self.bound is not None
        return [
            {
                "spared": list(one.spared),
                "loss": one.loss.value,
                **{name: getattr(one.loss, name) for name in ("low", "high", "n")},
                "certified": one.loss.certified(self.bound),
            }
            for one in self.tried
        ]

    def flags(self) -> list[str]:
        """What the record should warn of."""
        assert self.bound is not None
        if self.best is None:
            return ["bound_not_met"]
        return [] if self.best.loss.certified(self.bound) else ["not_certified"]

    def sentence(self) -> str:
        """What was found, and how sure it is."""
        assert self.bound is not None
        head, best = f"max_quality_loss={self.bound:g}: ", self.best
        if best is None:
            earlier = (
                f": {self.before.value:.2f} points were lost before any was quantised" if self.before and self.hopeless else ""
            )
            return f"{head}no choice of layers keeps within it{earlier}"
        names = ", ".join(best.spared[:4]) + (f" and {len(best.spared) - 4} more" if len(best.spared) > 4 else "")
        what = (
            f"spared {len(best.spared)} of {len(self.layers)} layers ({names})" if best.spared else "no layer had to be spared"
        )
        loss = best.loss
        found = f"{head}{what}, {loss.value:.2f} points lost on validation ({loss.low:.2f} to {loss.high:.2f}, paired over {loss.n} examples)"
        if loss.certified(self.bound):
            return found
        needed = loss.examples_needed(self.bound)
        return f"{found}: cannot certify" + (f"; needs about {needed:,} examples" if needed is not None else "")
