"""One sentence on what became of a saving at each step from a model's parameters to its speed, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_FOLLOWS = 0.1
"""A ratio this near to another, relative to it, follows it."""
_BUSY = 0.5
"""Share of the measured ceiling from which on products are what takes the time."""


@dataclass(frozen=True)
class Facts:
    """Of a compressed model against its dense one; a ratio that is not known is not a number."""

    physical: bool
    """Whether its tensors are smaller, or have zeros in them."""
    scheme: str | None
    """The quantizer's name, of a quantised model."""
    engine: str
    """What executed the compressed model."""
    parameters: float
    """Ratio of the two, as all without a unit."""
    nonzero: float
    operations: float
    flops: float | None
    """Of one prediction of the compressed model, FLOP."""
    latency_s: float | None
    samples_per_s: float | None
    weights_mib: float | None
    peak_mib: float | None
    ceiling: float | None
    """FLOP/s of a matrix product on this machine."""
    fraction: bool
    """Whether the deciding metric is one."""
    otherwise: str | None = None
    """Of the dense model's own weights, what executes them in another way: `engine=openvino precision=bf16`."""


def why(name: str, ratio: float | None, low: float | None, high: float | None, facts: Facts) -> str:
    """The sentence of a step.

    Args:
        ratio: compressed over dense; of quality the difference.
    """
    if name.startswith("quality/"):
        return _quality(ratio, low, high, facts)
    if ratio is None:
        return "it could not be compared"
    if facts.scheme is not None:
        return _quantised(name, ratio, low, high, facts.scheme, facts)
    if facts.otherwise is not None:
        return _otherwise(name, ratio, facts.otherwise)
    return _SENTENCES[name](ratio, low, high, facts)


def _otherwise(name: str, ratio: float, how: str) -> str:
    match name:
        case "infer/latency_ms" | "infer/samples_per_s":
            return f"the same weights, executed otherwise: {how}"
        case "infer/load_s" | "infer/peak_host_mib":
            return f"what a process needs beside the weights: {how}"
        case "infer/flops_per_sample" | "infer/nonzero_flops_per_sample":
            return "the same operations"
        case _:
            return "the same weights" if ratio == 1 else "the same weights, kept in another type"


def _quantised(name: str, ratio: float, low: float | None, high: float | None, scheme: str, facts: Facts) -> str:
    if name in ("infer/latency_ms", "infer/samples_per_s"):
        times = (ratio, low, high) if name == "infer/latency_ms" else (1 / ratio, high and 1 / high, low and 1 / low)
        return _quantised_speed(*times, scheme, facts.engine)
    integers = scheme in _INTEGER_PRODUCTS
    match name:
        case "size/parameters":
            return "as many numbers as before, most of them in fewer bits"
        case "size/nonzero":
            return "no weight rounds to zero that was none before" if ratio == 1 else "the smallest weights round to zero"
        case "size/memory_mib":
            return "integers and their scales instead of floating point; embeddings, norms and biases stay as they are"
        case "size/file_mib":
            return "follows the bytes in memory"
        case "size/file_zstd_mib":
            return "integers gather about zero, which a compressor finds"
        case "infer/load_s":
            if ratio > 1:
                return "fewer bytes are read; what quantised layers need to be imported and built takes longer than that saves"
            return "fewer bytes are read, checked and given memory"
        case "infer/peak_host_mib":
            return _peak(ratio, low, high, facts)
        case _:
            if integers:
                return "as many operations as before, most of them on 8 bits"
            return "as many operations as before, in floating point: weights are turned back before they are multiplied"


_INTEGER_PRODUCTS = ("int8_dynamic", "int8_static", "qat_int8", "fp8_dynamic")


def _quantised_speed(ratio: float, low: float | None, high: float | None, scheme: str, engine: str) -> str:
    """Args: `ratio` of times, against the dense model as PyTorch runs it."""
    if low is None or high is None or low <= 1 <= high:
        return "no difference resolved against the dense model as PyTorch runs it"
    beside = "" if engine == "eager" else f"; engine={engine} has its part in it, which engine={engine} with method=train tells"
    if ratio > 1:
        if scheme == "int8_static" and engine == "eager":
            return "PyTorch itself only imitates the integers; engine=compile and engine=openvino compute with them"
        if scheme not in _INTEGER_PRODUCTS:
            return f"weights are turned back at every call, which takes longer than reading fewer bytes saves{beside}"
        return f"rounding activations, and calls for it, take longer than products of 8 bits save{beside}"
    if scheme not in _INTEGER_PRODUCTS:
        return f"fewer bytes of weights are read{beside}"
    return f"products of 8 bits take less time than those of 32{beside}"


def _parameters(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if not facts.physical:
        return "mask-only: every tensor keeps its shape"
    return "physical: whole units are gone, and with them their rows and columns"


def _nonzero(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "what is left is dense"
    return "what was pruned is zero; biases, norms, embeddings and the head stay as they are unless asked for"


def _memory(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    return "follows the parameters" if facts.physical else "a zero takes as many bytes as any other number"


def _file(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    return "follows the parameters" if facts.physical else "a dense file writes the zeros too"


def _zstd(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "weights look random to a compressor: it takes off about a tenth, of either model"
    if ratio > facts.nonzero * (1 + _FOLLOWS):
        return "a compressor finds the zeros, and pays some for saying where they are"
    return "a compressor finds the zeros"


def _sparse(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    return "one bit for each weight and the values that are left; it is unpacked to the whole when it is loaded"


def _load(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if not facts.physical:
        return "as many bytes are read, checked and given memory"
    if ratio > facts.parameters + 0.5 * (1 - facts.parameters):
        return "building the modules takes most of it, and there are as many of them"
    return "fewer bytes are read, checked and given memory"


def _peak(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.weights_mib is None or facts.peak_mib is None:
        return "libraries, activations and weights together"
    share = facts.weights_mib / facts.peak_mib
    if share < 0.25:
        return f"the weights are {facts.weights_mib:.3g} of {facts.peak_mib:.3g} MiB: the libraries take the rest, whatever the model"
    return "follows the bytes of the weights" if facts.physical else "the weights are held whole, zeros among them"


def _counted(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "operations whose weight is not zero: all of them"
    return "operations whose weight is not zero: what a machine that skips zeros would do; attention's own products have no weights"


def _executed(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "the products are smaller"
    return "dense kernels multiply by zero as by any other number: here a mask's saving gets lost"


def _latency(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    done = None if facts.flops is None or not facts.latency_s else facts.flops / facts.latency_s
    return _speed(ratio, low, high, facts, done, "one example at a time")


def _throughput(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    done = None if facts.flops is None or facts.samples_per_s is None else facts.flops * facts.samples_per_s
    inverse = (1 / ratio, None if not high else 1 / high, None if not low else 1 / low)
    return _speed(*inverse, facts, done, "in batches")


def _speed(ratio: float, low: float | None, high: float | None, facts: Facts, done: float | None, when: str) -> str:
    """Args: `ratio` of times; `done`, FLOP/s that were executed."""
    resolved = low is not None and high is not None and not low <= 1 <= high
    if facts.engine == "semi_structured":
        return "half of the multiplications are left out, and two of four weights are read with the places they belong to"
    if not facts.physical:
        if resolved and abs(ratio - 1) > 0.02:
            return "the same kernels on the same shapes: a difference is the machine's, not the mask's"
        return "the same kernels on the same shapes: no difference is to be expected"
    if low is not None and low > 1:
        return "takes more time than the dense one, though it computes less: odd widths suit the kernels badly, or there is more copying"
    if math.isnan(facts.operations):
        return "smaller products"
    if ratio <= facts.operations * (1 + _FOLLOWS):
        return "follows the operations"
    if done is None or facts.ceiling is None:
        return "saves less time than operations: calls, norms and activations cost as before"
    share = done / facts.ceiling
    rate = f"{done / 1e9:.3g} of the {facts.ceiling / 1e9:.3g} GFLOP/s this machine's products reach"
    if share >= _BUSY:
        return f"saves less time than operations, though products take most of it ({rate}): smaller ones are less efficient"
    return (
        f"saves less time than operations: {when} the time goes into calls and moving activations, not into products ({rate})"
    )


def _quality(ratio: float | None, low: float | None, high: float | None, facts: Facts) -> str:
    if ratio is None:
        return "it could not be compared"
    if low is None or high is None:
        return "too few examples to tell"
    unit = "points" if facts.fraction else "in the metric's unit"
    scale = 100 if facts.fraction else 1
    span = f"{scale * low:+.2f} to {scale * high:+.2f} {unit}"
    if low <= 0 <= high:
        return f"no difference resolved over the test examples ({span})"
    return f"paired over the test examples: {span}"


_SENTENCES: dict[str, Callable[[float, float | None, float | None, Facts], str]] = {
    "size/parameters": _parameters,
    "size/nonzero": _nonzero,
    "size/memory_mib": _memory,
    "size/file_mib": _file,
    "size/file_zstd_mib": _zstd,
    "size/file_sparse_mib": _sparse,
    "infer/load_s": _load,
    "infer/peak_host_mib": _peak,
    "infer/nonzero_flops_per_sample": _counted,
    "infer/flops_per_sample": _executed,
    "infer/latency_ms": _latency,
    "infer/samples_per_s": _throughput,
}
