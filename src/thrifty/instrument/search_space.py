"""What a search may try, cheapest to prepare first, and what it need not try, by rules that each say why."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from thrifty.config.choices.methods import NO_QUANTIZER, Optimize
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.known import Known

_PREPARING = ("eager", "semi_structured", "onnxruntime", "openvino", "compile", "aot")
"""Engines by how long they take to prepare: nothing, a file to export, code to compile."""
_COMPILING = ("compile", "aot")
"""Engines that take a minute or two before a first look."""
_WEIGHTS_ONLY = ("int8_weight", "int4_weight", "fp8_weight")
"""Quantizers that leave products in floating point: an engine computes with them as without."""
_LONGEST_CALL = 1.0
"""Seconds."""


def candidates(method: Optimize, baseline: Candidate, objective: str) -> list[Candidate]:
    """All that may be tried, in the order in which they are: cheapest to prepare first, the plainest of those first.

    Args:
        baseline: the dense model as PyTorch runs it, on as many threads as are asked for.
    """
    timed = objective in ("latency", "throughput")
    threads = list(dict.fromkeys(method.threads or [baseline.threads, 1])) if timed else [baseline.threads]
    sizes = [baseline.batch_size, *method.batch_sizes] if objective == "throughput" else [baseline.batch_size]
    if objective == "file":  # which neither engine nor precision changes
        kinds = itertools.product(["eager"], method.quantizers, [baseline.precision], threads, sizes)
    else:
        engines = sorted(dict.fromkeys(method.engines), key=_PREPARING.index)
        precisions = method.precisions if timed else [baseline.precision]
        kinds = itertools.product(engines, method.quantizers, precisions, threads, sizes)
    found = [Candidate(quantizer, precision, engine, *rest) for engine, quantizer, precision, *rest in kinds]
    return [one for one in dict.fromkeys(found) if one != baseline]


def by_promise(candidate: Candidate, known: Known) -> tuple[bool, float, bool, bool, bool]:
    """What is looked at next has the smallest: first each engine once that need not compile, with nothing quantised; then what differs in
    one setting from the fastest; then what does so from the second fastest, and so on. Of those, what compiles comes last, then quantizers
    that leave products as they are, then another engine.
    """
    compiles, weights_only = candidate.engine in _COMPILING, candidate.quantizer in _WEIGHTS_ONLY
    first = candidate.quantizer == NO_QUANTIZER and not compiles and all(one.engine != candidate.engine for one in known.tried)
    near = [(known.log(one), one.engine != candidate.engine) for one in known if _settings_apart(one, candidate) == 1]
    beside, on_another_engine = min(near, default=(math.inf, True))
    return not first, beside, compiles, weights_only, on_another_engine


def _settings_apart(one: Candidate, other: Candidate) -> int:
    return sum(mine != theirs for mine, theirs in zip(vars(one).values(), vars(other).values(), strict=True))


@dataclass(frozen=True)
class Rule:
    """What need not be tried, given what was."""

    says: str
    """The sentence in the table; what `applies` returns is put into its braces."""
    applies: Callable[[Candidate, Known], str | None]
    """What to name in the sentence, or None where the rule does not apply."""


def _imitated(candidate: Candidate, known: Known) -> str | None:
    return candidate.engine if (candidate.quantizer, candidate.engine) == ("int8_static", "eager") else None


def _lost_alone(setting: str, times: float) -> Callable[[Candidate, Known], str | None]:
    """A setting that clearly took `times` as long as another one, all else equal and nothing quantised, on the same engine."""

    def applies(candidate: Candidate, known: Known) -> str | None:
        mine = getattr(candidate, setting)
        for first, second in itertools.permutations(known, 2):
            if (
                first.quantizer == NO_QUANTIZER
                and first.engine == candidate.engine
                and getattr(first, setting) == mine
                and first != candidate
                and known.allowed(second)
                and getattr(second, setting) != mine
                and replace(first, **{setting: getattr(second, setting)}) == second
                and (look := known.over(first, second)).clearly_above(times)
            ):
                return f"{mine} took {look.times:.2f} times as long as {getattr(second, setting)}"
        return None

    return applies


def _engine_lost(times: float) -> Callable[[Candidate, Known], str | None]:
    """An engine that clearly took `times` as long as another with nothing quantised, for quantizers that leave its products as they are."""

    def applies(candidate: Candidate, known: Known) -> str | None:
        if candidate.quantizer not in _WEIGHTS_ONLY:
            return None
        plain = [one for one in known if one.quantizer == NO_QUANTIZER]
        own = [one for one in plain if one.engine == candidate.engine]
        if not own:
            return None
        mine, fastest = (min(some, key=known.log) for some in (own, filter(known.allowed, plain)))
        look = known.over(mine, fastest)
        return f"{mine.engine} took {look.times:.2f} times as long as {fastest.engine}" if look.clearly_above(times) else None

    return applies


RULES = (
    Rule("{} only imitates its integers, in floating point; other engines compute with them", _imitated),
    Rule("on this engine precision {}, nothing quantised", _lost_alone("precision", 1.5)),
    Rule("on this engine threads {}, nothing quantised", _lost_alone("threads", 1.3)),
    Rule("on this engine batch size {}, nothing quantised", _lost_alone("batch_size", 1.2)),
    Rule("{} with nothing quantised, and this quantizer leaves its products as they are", _engine_lost(2.0)),
)
"""In the order in which they are asked."""


def why_not(candidate: Candidate, known: Known, rules: Sequence[Rule] = RULES) -> str | None:
    """The sentence of the first rule by which it need not be tried; None where it is to be."""
    return next(_sentences(candidate, known, rules), None)


def _sentences(candidate: Candidate, known: Known, rules: Sequence[Rule]) -> Iterator[str]:
    for rule in rules:
        named = rule.applies(candidate, known)
        if named is not None:
            yield rule.says.format(named)


def too_long(candidate: Candidate, seconds: float) -> str | None:
    """Why a batch is not tried whose call takes too long, an example taking `seconds` as the baseline has it."""
    taken = candidate.batch_size * seconds
    return f"a call would take about {taken:.1f} s" if candidate.batch_size > 1 and taken > _LONGEST_CALL else None
