"""Measuring prediction: a batch size at which a model fails is that size's own matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from small_training import CPU
from torch import Tensor, nn

from chosen import chosen
from thrifty.engines.base import Engine
from thrifty.methods import inference
from thrifty.methods.inference import inference_metrics
from thrifty.methods.model import TrainedModel, build_model
from thrifty.precisions.fp32 import build as fp32

if TYPE_CHECKING:
    from thrifty.engines.base import Inputs


class OneSizeOnly(nn.Module):
    """Refuses batches of 5 as a model with a fixed shape would, and notes what it was given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sizes: set[int] = set()

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.add(len(inputs))
        if len(inputs) == 5:
            raise RuntimeError("shape of 5 is not\nsupported")
        return self.model(inputs)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> tuple[OneSizeOnly, dict[str, Any], dict[str, Any]]:
    config = chosen("architecture=mlp", widths=[8])
    manifest = {
        "architecture": {"name": "mlp", "widths": [8]},
        "shape": {"inputs": 4, "outputs": 2},
    }
    model = OneSizeOnly(build_model(config, manifest["shape"], 0.0))
    trained = TrainedModel(model, manifest, fp32(chosen("precision=fp32")), Path())
    monkeypatch.setattr(inference, "load_trained", lambda directory, device: trained)
    found, samples, _ = inference_metrics(Path("unread"), CPU, 3, [2, 5, 7, 7], 0.02, 10, 1.0)
    return model, found, samples


def test_a_batch_size_at_which_the_model_fails_is_missing_with_the_reason(
    measured: tuple[OneSizeOnly, dict[str, Any], dict[str, Any]],
) -> None:
    model, found, samples = measured
    why = {"value": None, "reason": "RuntimeError: shape of 5 is not"}
    assert found["infer/batch_5/latency_ms"] == found["infer/batch_5/samples_per_s"] == why
    assert "infer/batch_5_s" not in samples
    for size in (2, 7):
        assert found[f"infer/batch_{size}/latency_ms"]["value"] > 0
        assert found[f"infer/batch_{size}/samples_per_s"]["value"] > 0
    assert found["infer/latency_ms"]["value"] > 0
    assert found["infer/flops_per_sample"]["value"] == 2 * (4 * 8 + 8 * 2)
    assert model.sizes == {1, 2, 3, 5, 7}


class Rounding(Engine):
    """Off by a hundredth, and notes the shapes it was made ready for."""

    name = "rounding"

    def __init__(self) -> None:
        self.prepared: list[tuple[int, ...]] = []

    def unsupported(self, device_type: str) -> str | None:
        return None

    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        assert torch.is_inference_mode_enabled()
        assert not module.training
        examples = example if isinstance(example, tuple) else (example,)
        shapes = [one.shape for one in examples]
        self.prepared.append(shapes[0])

        def forward(*inputs: Tensor) -> Any:
            assert [one.shape for one in inputs] == shapes
            found = module(*inputs)
            return (found[0] + 5e-4, *found[1:]) if isinstance(found, tuple) else found + 5e-4

        return forward


def test_an_engine_is_made_ready_for_each_batch_size_and_held_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = chosen("architecture=gpt", width=64, depth=1, context=8)
    manifest = {"architecture": asdict(config), "shape": {"vocabulary": 16, "context": 8}, "sha256": "0" * 64}
    trained = TrainedModel(build_model(config, manifest["shape"], 0.0), manifest, fp32(chosen("precision=fp32")), Path())
    monkeypatch.setattr(inference, "load_trained", lambda directory, device: trained)
    engine = Rounding()
    found, _, flags = inference_metrics(Path("unread"), CPU, 3, [2, 2], 0.02, 10, 1.0, engine)
    # Batches of whole contexts; then a prompt of half a context and a token after it.
    assert engine.prepared == [(1, 8), (3, 8), (2, 8), (1, 4), (1, 1)]
    assert found["infer/max_error"] == {"value": pytest.approx(5e-4, rel=1e-2), "low": None, "high": None, "n": 5}
    assert all(found[name]["value"] > 0 for name in ("infer/prefill_ms", "infer/decode_ms", "infer/tokens_per_s"))
    assert "recompiled" not in flags


def test_pytorch_itself_is_not_held_to_itself(measured: tuple[OneSizeOnly, dict[str, Any], dict[str, Any]]) -> None:
    assert "infer/max_error" not in measured[1]


def test_the_throughput_is_of_the_batch_that_was_measured(measured: tuple[OneSizeOnly, dict[str, Any], dict[str, Any]]) -> None:
    _, found, samples = measured
    batches = samples["infer/batch_s"]
    assert batches["batch_size"] == 3
    middle = torch.tensor(batches["seconds"], dtype=torch.float64).quantile(0.5).item()
    assert found["infer/samples_per_s"]["value"] == pytest.approx(3 / middle)
