"""What a search's fastest take in fresh processes: together, in rounds; where everything is measured, each against the dense model before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from thrifty.instrument.looks import Arms, status_of, told
from thrifty.instrument.pairs import PairFailed, Plan, measure
from thrifty.instrument.race import FINALISTS, Standing
from thrifty.instrument.rounds import Rounds
from thrifty.measure.comparison import Comparison


class Finalists:
    """Measures them; each is a finalist then, with its time over the dense model's, or has a reason why not.

    Args:
        floor: of the machine's noise, as a share.
        remaining: seconds that are left.
        tell: receives a sentence on what is being done.
    """

    def __init__(
        self, arms: Arms, baseline: Standing, floor: float, remaining: Callable[[], float], tell: Callable[[str], None]
    ) -> None:
        self.arms, self.baseline, self.floor, self.remaining, self.tell = arms, baseline, floor, remaining, tell
        self._together: tuple[list[Standing], Rounds] | None = None

    @property
    def cut_short(self) -> bool:
        """Whether the time was spent before they were measured as often as they should."""
        return self._together is not None and self._together[1].cut_short

    def each_against_dense(self, some: list[Standing]) -> list[Standing]:
        """Those that could be measured in pairs with it."""
        return [one for number, one in enumerate(some, 1) if self._against_dense(one, f"{number} of {len(some)}")]

    def unbeaten(self, some: list[Standing]) -> list[Standing]:
        """Those that nobody beat where they were measured together; of many only the fastest are."""
        order = sorted(some, key=lambda one: math.inf if one.ratio is None else one.ratio.value)
        few = order[:FINALISTS]
        for place, one in enumerate(order[FINALISTS:], FINALISTS):
            one.status, one.why = "dropped", f"{place} others were faster, each measured against the dense model"
        if few:
            self._measure_together(few)
        # A look at what was picked for having looked fast flatters it: beside what was measured in full it would win too often.
        return [one for one in some if one.ratio is not None and one.status == "finalist"]

    def over(self, first: Standing, second: Standing) -> Comparison | None:
        """The second's time over the first's, where they were measured together."""
        if self._together is None or first not in self._together[0] or second not in self._together[0]:
            return None
        here, rounds = self._together
        return rounds.comparison(here.index(first), here.index(second))

    def _against_dense(self, one: Standing, place: str) -> bool:
        """No look has held it to PyTorch's own predictions."""
        self.tell(f"measuring in full: {one.candidate.name} ({place})")
        begin = time.perf_counter()
        try:
            first, second = self.arms.together([self.baseline.candidate, one.candidate], held_to_eager=True)
            found = measure(first, second, Plan(lead_in=1), self.floor).comparison
            assert found is not None
            one.ratio, one.status = found.ratio, "finalist"
        except PairFailed as failed:
            whose = "" if failed.place else "the dense model, against which it was measured: "
            one.status, one.why = "unsupported" if failed.status == "unsupported" else "failed", f"{whose}{told(failed)}"
        one.seconds += time.perf_counter() - begin
        return one.ratio is not None

    def _measure_together(self, few: list[Standing]) -> None:
        """Rounds of fresh processes of all of them and the dense model."""
        here = [self.baseline, *few]

        def tell(number: int, left: list[int]) -> None:
            self.tell(f"measuring together, round {number}: {', '.join(here[one].candidate.name for one in left)}")

        begin = time.perf_counter()
        rounds = Rounds(self.arms.together([one.candidate for one in here]), self.remaining, self.floor, tell=tell)
        rounds.run()
        for one in few:
            one.seconds += (time.perf_counter() - begin) / len(few)
        too_many = any(failed.status == "oom" for failed in rounds.failed.values())
        if len(few) > 1 and too_many and all(rounds.comparison(0, place) is None for place in rounds.left):
            self._measure_fewer_together(few)
            return
        self._together = here, rounds
        for place, one in enumerate(few, 1):
            failed, found = rounds.failed.get(place), rounds.comparison(0, place)
            if failed is None and found is None:
                one.status, one.why = "failed", f"the dense model, beside which it was measured: {rounds.failed[0]}"
            elif failed is not None:
                one.status, one.why = status_of(failed), told(failed)
            elif place in rounds.beaten:
                by, times = rounds.beaten[place]
                one.status, one.why = "dropped", f"measured together, {times:.2f} times as long as {here[by].candidate.name}"
            else:
                one.status = "finalist"
            if found is not None and (one.ratio is None or one.status == "finalist"):
                one.ratio = found.ratio

    def _measure_fewer_together(self, few: list[Standing]) -> None:
        """Looks have shown that there is memory for two; who is left out has been slower in them."""
        half = (len(few) + 1) // 2 if len(few) > 2 else 1
        for place, one in enumerate(few[half:], half):
            one.status, one.why = "dropped", f"memory does not hold all finalists together, and {place} others were faster"
        self._measure_together(few[:half])
