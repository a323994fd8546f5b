"""Devices and precisions: what is usable, and why the rest is not."""

from __future__ import annotations

import pytest
import torch

from thrifty.config.registry import CHOICES
from thrifty.execution.device import available_devices
from thrifty.execution.usable import short_reason, usable_devices, why_not


def test_every_kind_of_device_is_usable_or_says_why_not() -> None:
    found = {one.name: one for one in usable_devices()}
    assert list(found) == ["cuda", "mps", "cpu"]
    assert [name for name, one in found.items() if one.reason is None] == available_devices()
    assert set(found["cpu"].precisions) == set(CHOICES["precision"])
    assert found["cpu"].precisions["fp32"] is None
    assert (found["cpu"].precisions["fp16"] or "").startswith("products are tens to hundreds of times slower")


def test_a_gpu_that_is_missing_says_whether_torch_or_the_machine_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert why_not("cuda") == "this build of torch has no CUDA"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert why_not("cuda") == "torch finds no GPU, or no driver for it"


def test_a_refusal_is_shown_beside_its_precision_s_name() -> None:
    assert short_reason("precision=fp16: is slow here; use precision=bf16", "fp16") == "is slow here; use precision=bf16"
    assert short_reason(None, "fp16") is None
