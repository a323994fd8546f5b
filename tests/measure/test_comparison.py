"""Comparisons of simulated samples, whose truth is known, under the noise that machines make."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from thrifty.measure.comparison import SMALLEST_CLAIM, Comparison, Pair, compare
from thrifty.measure.statistics import share_interval

Noise = Callable[[np.random.Generator, int], np.ndarray]
"""Log of what disturbs successive blocks, the two arms' in turn."""
PAIRS, BLOCKS, TRIES = 8, 30, 200


def quiet(generator: np.random.Generator, n: int) -> np.ndarray:
    return generator.normal(0, 0.03, n)


def heavy_tails(generator: np.random.Generator, n: int) -> np.ndarray:
    """One block in ten loses its core for as long as it lasts, some for much longer."""
    hit = generator.random(n) < 0.1
    return quiet(generator, n) + np.log1p(hit * generator.pareto(1.5, n))


def autocorrelated(generator: np.random.Generator, n: int) -> np.ndarray:
    """The machine goes to and fro between two speeds, a quarter apart, and stays some ten blocks in each."""
    return quiet(generator, n) + 0.25 * (np.cumsum(generator.random(n) < 0.1) % 2)


def drift(generator: np.random.Generator, n: int) -> np.ndarray:
    """It gets half as slow again from the first block of a pair to its last."""
    return quiet(generator, n) + np.linspace(0, 0.4, n)


def moody(generator: np.random.Generator, n: int) -> np.ndarray:
    """A third of the pairs meets a machine that changes its pace all the time, by half as much again and more."""
    return quiet(generator, n) + (generator.random() < 1 / 3) * generator.normal(0, 0.4, n)


NOISES = [quiet, heavy_tails, autocorrelated, drift, moody]


def simulated(noise: Noise, truth: float, seed: int, between: float = 0.006, pairs: int = PAIRS) -> Comparison:
    """A comparison in which the second arm takes `truth` times as long; processes differ by `between`."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(pairs):
        disturbance = np.exp(noise(generator, 2 * BLOCKS)).reshape(BLOCKS, 2)
        second_led = bool(generator.random() < 0.5)
        first = disturbance[:, int(second_led)]
        second = disturbance[:, int(not second_led)] * truth * math.exp(generator.normal(0, between))
        found.append(Pair(first.tolist(), second.tolist(), second_led))
    return compare(found)


def one_turn(ratio: float) -> Pair:
    return Pair([1.0], [ratio])


def share_at_least(successes: int, least: float) -> bool:
    """Whether so many of TRIES are in keeping with a share of at least `least`."""
    high = share_interval(successes, TRIES).high
    return high is not None and high >= least


@pytest.mark.parametrize("noise", NOISES)
def test_a_model_against_itself_is_not_claimed_to_differ(noise: Noise) -> None:
    false = sum(simulated(noise, 1.0, seed).differs for seed in range(TRIES))
    assert false <= 0.02 * TRIES


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("truth", "least"), [(1.03, 0.90), (0.97, 0.90), (1.05, 0.98)])
def test_a_known_difference_is_found(noise: Noise, truth: float, least: float) -> None:
    found = [simulated(noise, truth, 1000 + seed) for seed in range(TRIES)]
    right = sum(one.differs and (one.ratio.value > 1) == (truth > 1) for one in found)
    assert share_at_least(right, least), f"{right} of {TRIES}"


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("truth", [1.0, 1.05])
def test_the_interval_holds_the_truth_as_often_as_it_says(noise: Noise, truth: float) -> None:
    covered = 0
    for seed in range(TRIES):
        ratio = simulated(noise, truth, 2000 + seed).ratio
        assert ratio.low is not None
        assert ratio.high is not None
        covered += ratio.low <= truth <= ratio.high
    assert share_at_least(covered, 0.95), f"{covered} of {TRIES}"


def test_stopping_at_a_narrow_interval_keeps_what_it_says() -> None:
    """As the instrument does: from 6 pairs on, as soon as the half width is below a share."""
    covered = claims = 0
    for seed in range(TRIES):
        generator = np.random.default_rng(seed)
        pairs: list[Pair] = []
        while len(pairs) < 6 or (compare(pairs).half_width > 0.01 and len(pairs) < 20):
            disturbance = np.exp(quiet(generator, 2 * BLOCKS)).reshape(BLOCKS, 2)
            second = disturbance[:, 1] * math.exp(generator.normal(0, 0.012))
            pairs.append(Pair(disturbance[:, 0].tolist(), second.tolist()))
        found = compare(pairs)
        assert found.ratio.low is not None
        assert found.ratio.high is not None
        covered += found.ratio.low <= 1 <= found.ratio.high
        claims += found.differs
    assert covered >= 0.90 * TRIES
    assert claims <= 0.02 * TRIES


def test_pairs_of_a_restless_machine_count_for_less() -> None:
    """Their mean scatters as if they had not been there; Student's over all pairs alike scatters with them."""
    weighted, alike = [], []
    for seed in range(TRIES):
        generator = np.random.default_rng(seed)
        pairs = []
        for _ in range(PAIRS):
            disturbance = np.exp(moody(generator, 2 * BLOCKS)).reshape(BLOCKS, 2)
            pairs.append(Pair(disturbance[:, 0].tolist(), disturbance[:, 1].tolist()))
        weighted.append(math.log(compare(pairs).ratio.value))
        alike.append(np.mean([pair.log_ratio()[0] for pair in pairs]))
    assert np.std(weighted) < np.std(alike) / 2


def test_the_value_of_a_pair_by_hand() -> None:
    """Every neighbour says 10 % more, but for one block that something fell into."""
    pair = Pair([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.1, 1.1, 1.1, 9.0, 1.1, 1.1])
    assert pair.log_ratio()[0] == pytest.approx(math.log(1.1))


@pytest.mark.parametrize("second_led", [False, True])
def test_a_steady_drift_cancels_by_hand(second_led: bool) -> None:
    """Each block takes 1 % more than the block before; the arms are the same."""
    times = [1.01**number for number in range(24)]
    first, second = times[second_led::2], times[1 - second_led :: 2]
    assert Pair(first, second, second_led).log_ratio()[0] == pytest.approx(0, abs=0.002)


def test_the_error_of_a_pair_holds_though_every_block_has_two_neighbours() -> None:
    """Blocks of white noise: the deviation of many pairs' values is what each says of itself."""
    generator = np.random.default_rng(0)
    blocks = np.exp(generator.normal(0, 0.05, (400, 2, 40)))
    pairs = [Pair(first.tolist(), second.tolist()) for first, second in blocks]
    values, errors = np.array([pair.log_ratio() for pair in pairs]).T
    assert math.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.15)


def test_the_ratio_and_its_interval_by_hand() -> None:
    """Student's t over the logs of 1.02, 1.04, 1.06: mean, and 4.3027 standard errors to either side."""
    logs = np.log([1.02, 1.04, 1.06])
    found = compare([one_turn(math.exp(one)) for one in logs])
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)
    assert found.ratio.value == pytest.approx(math.exp(logs.mean()))
    assert found.ratio.low == pytest.approx(math.exp(logs.mean() - half))
    assert found.ratio.high == pytest.approx(math.exp(logs.mean() + half))
    assert found.half_width == pytest.approx(half)


def test_below_two_percent_nothing_is_claimed_however_sure() -> None:
    pairs = [one_turn(1.019 + 1e-5 * number) for number in range(8)]
    assert not compare(pairs).differs
    assert compare([one_turn(1.021 + 1e-5 * number) for number in range(8)]).differs


def test_below_the_noise_floor_nothing_is_claimed() -> None:
    pairs = [one_turn(1.04 + 1e-5 * number) for number in range(8)]
    assert compare(pairs, noise_floor=0.03).differs
    assert not compare(pairs, noise_floor=0.05).differs


def test_halves_that_disagree_withhold_the_claim() -> None:
    pairs = [one_turn(1.03 + 1e-4 * number) for number in range(4)] + [one_turn(1.09 + 1e-4 * number) for number in range(4)]
    found = compare(pairs)
    assert not found.halves_agree
    assert not found.differs


def test_what_could_be_resolved_is_what_is_as_a_rule_found() -> None:
    wide = compare([one_turn(math.exp(one)) for one in np.random.default_rng(0).normal(0, 0.03, 8)])
    narrow = compare([one_turn(math.exp(one)) for one in np.random.default_rng(0).normal(0, 0.001, 8)])
    assert wide.resolvable > wide.half_width
    assert SMALLEST_CLAIM < narrow.resolvable < 0.022


def test_a_single_pair_claims_nothing() -> None:
    found = compare([one_turn(2.0)])
    assert not found.differs
    assert math.isinf(found.half_width)


def test_what_spoils_a_comparison_withholds_its_claim() -> None:
    pairs = [one_turn(1.2 + 0.001 * number) for number in range(8)]
    assert compare(pairs).differs
    spoilt = compare(pairs, spoilt=["swapping", "throttled"])
    assert not spoilt.differs
    assert spoilt.withheld == "swapping, throttled"


def test_a_difference_that_others_could_have_made_is_withheld_and_a_larger_one_is_not() -> None:
    pairs = [one_turn(1.2 + 0.001 * number) for number in range(8)]
    withheld = compare(pairs, disturbed=0.3)
    assert not withheld.differs
    assert withheld.withheld == "what others took of the cores meanwhile could be all of it"
    assert withheld.resolvable > 0.3
    assert compare(pairs, disturbed=0.1).differs
    assert compare([one_turn(1.001)] * 8, disturbed=0.3).withheld is None, "nothing was to be claimed anyway"


def test_pairs_that_agree_by_chance_are_no_surer_than_their_blocks() -> None:
    """Six pairs of blocks that scatter by a tenth, each with the same mean: twelve blocks tell it to some percent, not exactly."""
    scattered = [1.0, 1.1, 0.9, 1.05, 0.95, 1.08, 0.92, 1.0, 1.1, 0.9, 1.05, 0.95]
    pairs = [Pair([1.0] * 12, scattered)] * 6
    value, error = pairs[0].log_ratio()
    found = compare(pairs)
    assert found.ratio.value == pytest.approx(math.exp(value))
    assert found.half_width == pytest.approx(float(stats.t.ppf(0.975, 5)) * error / math.sqrt(6))
    assert found.half_width > 0.01
