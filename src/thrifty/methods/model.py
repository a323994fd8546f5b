"""Building a model from its configuration, and getting a trained one back from a run's directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thrifty.architectures.shapes_only import shapes_only
from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.precisions import Precision
from thrifty.engines.base import Engine
from thrifty.errors import BadData, Unsupported
from thrifty.formats import safetensors
from thrifty.layers.quantized import settle
from thrifty.precisions.base import Precision as PrecisionContext
from thrifty.pruners.form import given_form
from thrifty.quantizers.base import Quantizer
from thrifty.store import MANIFEST

SCHEMA = 1
_DEEPEST = 10_000
"""Layers that a model of ours may have."""
_FIELDS = {"config_hash": str, "architecture": dict, "shape": dict, "precision": dict, "task": dict, "weights": dict}
"""What a manifest must have to be read, and of which type."""


def build_model(architecture: Architecture, shape: dict[str, int], dropout: float) -> nn.Module:
    """The untrained model, on the default device of the moment."""
    return registry.load("architecture", architecture.name)(architecture, shape, dropout)


def example_inputs(architecture: Architecture, shape: dict[str, int], batch_size: int) -> torch.Tensor:
    """A batch of what such a model takes, on the CPU and always the same: for measuring, which no data must decide."""
    return registry.load("architecture", architecture.name, "example_inputs")(architecture, shape, batch_size)


def engine_for(values: dict[str, Any], device: torch.device) -> Engine:
    """The engine that plain values name, on a device.

    Raises:
        Unsupported: it cannot run there; says what is missing.
    """
    config = choice_of("engine", values)
    engine: Engine = registry.load("engine", config.name)(config)
    reason = engine.unsupported(device.type)
    if reason is not None:
        raise Unsupported(reason)
    return engine


def manifest_of(config: dict[str, Any], config_hash: str, shape: dict[str, int], state: dict[str, Any]) -> dict[str, Any]:
    """model.json: all that building the model and feeding it takes."""
    return {
        "schema": SCHEMA,
        "config_hash": config_hash,
        "architecture": config["architecture"],
        "shape": shape,
        "precision": config["precision"],
        "task": {"name": config["task"]["name"], "state": state},
    }


@dataclass
class TrainedModel:
    """A model read back from a run."""

    module: nn.Module
    manifest: dict[str, Any]
    precision: PrecisionContext
    directory: Path

    @property
    def kept(self) -> Path:
        """What files that engines make of it are called, but for the suffix: no other model's are called so."""
        return self.directory / f"model-{self.manifest['sha256'][:12]}"


def load_trained(
    directory: Path, device: torch.device, expected_hash: str | None = None, executed_in: dict[str, Any] | None = None
) -> TrainedModel:
    """Read, check and build a run's model.

    Args:
        expected_hash: the configuration the run's record names; a model of another one is refused.
        executed_in: values of the precision to predict in; None is the one that it was made in.

    Raises:
        BadData: files missing, altered, truncated, or of another run.
    """
    manifest = safetensors.read_manifest(directory)
    try:
        _require_whole(manifest)
        if expected_hash is not None and manifest["config_hash"] != expected_hash:
            raise BadData(
                f"{directory}: {MANIFEST} is of configuration {manifest['config_hash'][:12]}, the record of "
                f"{expected_hash[:12]}; the directory mixes two runs"
            )
        module, precision = untrained(manifest), _precision_of(manifest["precision"])
        module.to(precision.weight_dtype)
        if manifest.get("quantized") is not None:
            _give_quantization(module, manifest["quantized"])
        safetensors.load(directory, manifest, module, device)
        settle(module)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = (str(error).splitlines() or ["empty"])[0]
        raise BadData(f"{directory / MANIFEST}: is not a manifest of ours, or was altered ({why})") from error
    if executed_in is not None and executed_in != manifest["precision"]:
        precision = _precision_of(executed_in)
        module.to(precision.weight_dtype)
    return TrainedModel(precision.prepared(module, device.type), manifest, precision, directory)


def _require_whole(manifest: dict[str, Any]) -> None:
    """Hold what is not looked at before it is needed to its type.

    Raises:
        ValueError: it is of another, or of another version.
    """
    if manifest.get("schema") != SCHEMA:
        raise ValueError(f"schema {manifest.get('schema')!r:.40}: this version reads {SCHEMA}")
    for key, kind in _FIELDS.items():
        if not isinstance(manifest.get(key), kind):
            raise ValueError(f"its '{key}' is missing or no {kind.__name__}")


def _precision_of(values: dict[str, Any]) -> PrecisionContext:
    config: Precision = choice_of("precision", values)
    return registry.load("precision", config.name)(config)


def _give_quantization(module: nn.Module, quantized: dict[str, Any]) -> None:
    """Replace the layers that were quantised by ones of the same kind, to be filled."""
    config = choice_of("quantizer", quantized["quantizer"])
    quantizer: Quantizer = registry.load("quantizer", config.name)(config)
    there = set(quantizer.targets(module).layers)
    if not isinstance(quantized["layers"], list) or not set(quantized["layers"]) <= there:
        raise ValueError("quantized: names layers that the model has not")
    quantizer.convert(module, quantized["layers"])


def untrained(manifest: dict[str, Any], dropout: float = 0.0) -> nn.Module:
    """The model that a manifest describes, without numbers and before it was quantised: on the meta device."""
    architecture = architecture_of(manifest)
    depth = getattr(architecture, "depth", None) or 0
    if depth > _DEEPEST:  # its layers alone would take all memory, before the weights are looked at
        raise ValueError(f"architecture: a depth of {depth} is beyond {_DEEPEST}")
    with shapes_only():
        module = build_model(architecture, manifest["shape"], dropout)
        return given_form(module, manifest["form"]) if manifest.get("form") is not None else module


def architecture_of(manifest: dict[str, Any]) -> Architecture:
    """The architecture's configuration that a manifest holds."""
    return choice_of("architecture", manifest["architecture"])


def same_architecture(config: Architecture, manifest: dict[str, Any]) -> bool:
    """Whether a run's weights fit an experiment's model."""
    return config == architecture_of(manifest)
