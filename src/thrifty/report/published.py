"""Published results that a run repeats, to stand beside its own."""

from __future__ import annotations

from typing import Any

_MNIST = 70_000
"""Images of MNIST's two parts together."""


def published(record: dict[str, Any]) -> str | None:
    """A sentence on what the literature reports for the same setting; None where none is known here."""
    config = record["config"]
    architecture, method = config["architecture"], config["method"]["name"]
    examples = record["data"].get("examples") or {}
    if (
        method == "prune"
        and config["task"]["name"] == "image"
        and architecture["name"] == "mlp"
        and architecture["widths"] == [300, 100]
        and sum(examples.values()) == _MNIST
    ):
        return (
            "Published for LeNet-300-100 on MNIST: 98.36 % right dense, 98.41 % with 92 % of the weights gone, iteratively by magnitude "
            "(Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015)"
        )
    return None
