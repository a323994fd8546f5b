"""What every engine must do: say why it cannot run, and predict what PyTorch itself predicts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import CHOICES, load
from thrifty.engines.base import Engine
from thrifty.engines.semi_structured import is_2_4
from thrifty.errors import Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.methods.agreement import Agreement
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import build_model, example_inputs
from thrifty.precisions.base import Precision
from thrifty.record import cpu_isa

NAMES = sorted(CHOICES["engine"])
CPU = torch.device("cpu")
MODELS = {
    "gpt": (chosen("architecture=gpt", width=64, depth=1, context=16), {"vocabulary": 32, "context": 16}),
    "mlp": (chosen("architecture=mlp", widths=[16, 8]), {"inputs": 6, "outputs": 2}),
    "vit": (chosen("architecture=vit", width=64, depth=1), {"channels": 2, "height": 5, "width": 8, "outputs": 3}),
    "resnet": (chosen("architecture=resnet", depth=8), {"channels": 2, "height": 5, "width": 8, "outputs": 3}),
}
LARGEST_ERROR = {"fp32": 1e-5, "bf16": 2e-2}
"""Of outputs about 1 in size: sums in another order, and with 8 bits of mantissa roundings that are left out."""
OF_ITS_OWN = {"fp32": 1e-5, "bf16": 6e-2}
"""The same of an engine that rounds where autocast does not, as in norms and sums of the residual stream."""


def engine(name: str) -> Engine:
    return load("engine", name)(chosen(f"engine={name}"))


def precision(name: str) -> Precision:
    return load("precision", name)(chosen(f"precision={name}"))


def usable(name: str) -> Engine:
    one = engine(name)
    reason = one.unsupported("cpu")
    if reason is not None:
        pytest.skip(reason)
    return one


def model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(*MODELS[name], 0.0)


@pytest.fixture(autouse=True)
def thread() -> Iterator[None]:
    """One, as compiled code is made for a number of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_it_bears_its_name(name: str) -> None:
    assert engine(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_is_a_line_that_names_it_and_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/there/is/no/such/compiler")
    for device in ("cpu", "cuda", "mps"):
        reason = engine(name).unsupported(device)
        if reason is not None:
            assert reason.startswith(f"engine={name}: ")
            assert "engine=eager" in reason
            assert "\n" not in reason


@pytest.mark.parametrize("name", NAMES)
def test_naming_it_imports_no_torch(name: str) -> None:
    program = (
        "import sys; from thrifty.config.registry import CHOICES; from thrifty.config.choice import choice_of\n"
        f"CHOICES['engine'][{name!r}].load()\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def _pairs() -> Iterator[Any]:
    """An engine and a model; of images, what compiles takes ten seconds each."""
    for name in NAMES:
        for of, (_, shape) in sorted(MODELS.items()):
            long = ((engine(name).compiles or engine(name).exports) and "channels" in shape) or (name == "aot" and of != "mlp")
            yield pytest.param(name, of, marks=[pytest.mark.slow] if long else [])


@pytest.mark.parametrize("dtype", sorted(LARGEST_ERROR))
@pytest.mark.parametrize(("name", "of"), list(_pairs()))
def test_it_agrees_with_pytorch_under_each_precision(name: str, of: str, dtype: str) -> None:
    module, context, inputs = model(of), precision(dtype), example_inputs(*MODELS[of], 2)
    one = usable(name)
    if (reason := one.not_in(dtype)) is not None:
        assert reason.startswith(f"engine={name} precision={dtype}: ")
        pytest.skip(reason)
    expected = predictor(module, context, CPU)(inputs)
    found = predictor(module.train(), context, CPU, one, inputs)(inputs)
    assert found.dtype is torch.float32
    assert not module.training
    assert not found.requires_grad
    assert (found - expected).abs().max() <= (OF_ITS_OWN if one.exports else LARGEST_ERROR)[dtype]
    if dtype == "bf16" and (not one.exports or set(cpu_isa()) & {"avx512_bf16", "amx_bf16"}):
        exact = predictor(module, precision("fp32"), CPU)(inputs)
        assert not torch.equal(found, exact), "it ran in the precision it was prepared in"


SCHEMES = ("int8_dynamic", "int8_static", "int8_weight", "int4_weight")


def _quantised() -> Iterator[Any]:
    for name in NAMES:
        for scheme in SCHEMES:
            long = engine(name).compiles or engine(name).exports
            slow = long and (scheme in SCHEMES[2:] or name == "aot")
            yield pytest.param(name, scheme, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("name", "scheme"), list(_quantised()))
def test_it_agrees_with_pytorch_on_integers(name: str, scheme: str) -> None:
    """Within what scales chosen in another way cost: one for all rows instead of one for each."""
    one = usable(name)
    module, inputs = model("gpt").eval(), example_inputs(*MODELS["gpt"], 2)
    quantizer = load("quantizer", scheme)(chosen(f"quantizer={scheme}"))
    layers = quantizer.targets(module).layers
    ranges = None
    if quantizer.calibrates:
        calibration = Calibration([(inputs, inputs)], lambda out, target: out.sum(), lambda module, given: module(given))
        ranges = quantizer.observe(module, layers, calibration)
    quantizer.convert(module, layers, ranges)
    expected = predictor(module, precision("fp32"), CPU)(inputs)
    agreement = Agreement(name, "fp32", quantised=True)
    agreement.tell(predictor(module, precision("fp32"), CPU, one, inputs)(inputs), expected)
    # Sums of two products saturate at 16 bits on processors without such instructions; there the bound is the one that is stated.
    exact = set(cpu_isa()) & {"avx512_vnni", "avx_vnni", "amx_int8", "asimd"}
    assert agreement.relative[0] <= (0.05 if exact else agreement.bound)


EXPORTING = [pytest.param(name, marks=[pytest.mark.slow] if name == "aot" else []) for name in NAMES if engine(name).exports]
"""What compiles ahead of time takes half a minute."""


@pytest.mark.parametrize("name", EXPORTING)
def test_what_it_exports_is_kept_and_found_again(name: str, tmp_path: Path) -> None:
    one, module, inputs = usable(name), model("mlp"), example_inputs(*MODELS["mlp"], 3)
    kept = tmp_path / "model-0123"
    first = predictor(module, precision("fp32"), CPU, one, inputs, kept)(inputs).clone()
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (file,) = [path for path in tmp_path.iterdir() if path.suffix in (".pt2", ".onnx")]
    assert file.name == ("model-0123.aot-fp32-1.pt2" if name == "aot" else f"model-0123.{name}.onnx")
    assert set(made) == {file.name, f"{file.name}.seal", *(() if name == "aot" else ("model-0123.example.npy",))}
    larger = inputs.repeat(2, 1)
    again = predictor(module, precision("fp32"), CPU, one, larger, kept)(larger)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert after == made, "a batch of another size needs no other file"
    assert (again[:3] - first).abs().max() <= 1e-5
    if not one.needs_torch:
        run = one.opened(kept, 1, "fp32", list(inputs.shape))
        assert abs(run(inputs.numpy()) - first.numpy()).max() <= 1e-5
    # Another's file in its place, as in a run's directory from elsewhere: it is not even opened.
    torch.manual_seed(1)
    other = build_model(*MODELS["mlp"], 0.0)
    theirs = tmp_path / "theirs" / kept.name
    theirs.parent.mkdir()
    predictor(other, precision("fp32"), CPU, one, inputs, theirs)(inputs)
    file.write_bytes((theirs.parent / file.name).read_bytes())
    assert (predictor(module, precision("fp32"), CPU, one, inputs, kept)(inputs) - first).abs().max() <= 1e-5


@pytest.mark.parametrize("name", [name for name in NAMES if engine(name).exports])
def test_a_model_that_cannot_be_exported_says_what_of_it(name: str, tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * float(inputs.sum().item() > 0 and len(str(inputs.tolist())))

    with pytest.raises(Unsupported, match=f"engine={name}: the model cannot be exported: .*; take engine=eager") as caught:
        predictor(Odd(), precision("fp32"), CPU, usable(name), torch.ones(2, 3), tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disagreement_fails_the_arm() -> None:
    agreement = Agreement("compile", "fp32", quantised=False)
    agreement.tell(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0001]))
    assert agreement.metrics()["infer/max_error"]["value"] == pytest.approx(1e-4, rel=1e-2)
    for wrong in ([1.0, 2.1], [1.0, float("nan")]):
        with pytest.raises(Unsupported, match=r"engine=compile: its outputs differ from PyTorch's by .* its speed is not told"):
            agreement.tell(torch.tensor(wrong), torch.tensor([1.0, 2.0]))


def test_two_zeros_in_four_are_what_sparse_tensor_cores_take() -> None:
    weight = torch.ones(32, 64)
    assert not is_2_4(weight)
    weight[:, ::2] = 0
    assert is_2_4(weight)
    weight[0, 0] = 1
    assert not is_2_4(weight)
    assert not is_2_4(torch.zeros(16, 64)), "the kernels take whole tiles"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_sparse_tensor_cores_compute_what_dense_ones_do() -> None:
    one = engine("semi_structured")
    if (reason := one.unsupported("cuda")) is not None:
        pytest.skip(reason)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32)).cuda()
    with torch.no_grad():
        for layer in (module[0], module[2]):
            layer.weight.view(-1, 4)[:, ::2] = 0
    inputs, cuda = torch.randn(64, 128, device="cuda"), torch.device("cuda")
    expected = predictor(module, precision("bf16"), cuda)(inputs)
    found = predictor(module, precision("bf16"), cuda, one, inputs)(inputs)
    assert (found - expected).abs().max() <= 2e-2
