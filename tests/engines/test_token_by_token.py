"""A model with a cache by every engine: each token as PyTorch's own passes have it, wherever the cache ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from chosen import chosen
from thrifty.architectures.extension import Extension
from thrifty.architectures.gpt import GptModel
from thrifty.config.registry import CHOICES, load
from thrifty.engines.base import Engine
from thrifty.methods.agreement import BOUND_OF_INTEGERS, BOUNDS, Agreement
from thrifty.methods.decoder import decoder
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import build_model
from thrifty.precisions.base import Precision

CPU = torch.device("cpu")
CONTEXT, VOCABULARY = 12, 40
COMPILING = ("aot", "compile")


def engine(name: str) -> Engine:
    one: Engine = load("engine", name)(chosen(f"engine={name}"))
    reason = one.unsupported("cpu")
    if reason is not None:
        pytest.skip(reason)
    return one


def precision(name: str) -> Precision:
    return load("precision", name)(chosen(f"precision={name}"))


def gpt() -> GptModel:
    torch.manual_seed(0)
    model = build_model(
        chosen("architecture=gpt", width=128, depth=2, context=CONTEXT), {"vocabulary": VOCABULARY, "context": CONTEXT}, 0.0
    )
    assert isinstance(model, GptModel)
    with torch.no_grad():
        for one in model.blocks:
            one.attention.qkv.weight.mul_(2)  # so that attention is of one place rather than an average
    return model.eval()


@pytest.fixture(autouse=True)
def thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tokens(count: int = CONTEXT) -> Tensor:
    return torch.randint(VOCABULARY, (1, count), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("length", "time"), [(0, 1), (0, 5), (3, 1), (3, 4), (7, 5), (11, 1)])
def test_a_fixed_memory_is_the_full_forward_whatever_lies_behind(length: int, time: int) -> None:
    model, given = gpt(), tokens()
    with torch.inference_mode():
        kept = [one.clone() for one in model.prefill(given)[1].kept]
        for one in kept:
            one[:, :, :, length:] = 1e4  # of tokens that are not there yet
        logits, *new = Extension(model)(given[:, length : length + time], torch.tensor([length]), *kept)
        expected = model(given[:, : length + time])[:, -1]
        whole = model.prefill(given)[1].kept
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    for one, cached in zip(new, whole, strict=True):
        torch.testing.assert_close(one, cached[:, :, :, length : length + time], rtol=1e-4, atol=1e-4)


def _pairs() -> Iterator[Any]:
    for name in sorted(CHOICES["engine"]):
        for dtype in ("fp32", "bf16"):
            yield pytest.param(name, dtype, marks=[pytest.mark.slow] if name in COMPILING else [])


def apart(name: str, check: Callable[..., None], *given: Any) -> None:
    """Hold an engine to a check in a process of its own, where what it leaves there would end this one.

    OpenVINO, once it has run these models, leaves a process that dies of SIGSEGV at its next signal; other tests send signals to theirs.
    """
    if name != "openvino":
        check(name, *given)
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_with_one_thread, check, name, *given).result(timeout=240)


def _with_one_thread(check: Callable[..., None], *given: Any) -> None:
    torch.set_num_threads(1)
    check(*given)


@pytest.mark.parametrize(("name", "dtype"), list(_pairs()))
def test_every_token_is_as_pytorch_has_it(name: str, dtype: str, tmp_path: Path) -> None:
    if (reason := engine(name).not_in(dtype)) is not None:
        pytest.skip(reason)
    apart(name, _every_token_is_as_pytorch_has_it, dtype, tmp_path)


def _every_token_is_as_pytorch_has_it(name: str, dtype: str, tmp_path: Path) -> None:
    one, context, model, given = engine(name), precision(dtype), gpt(), tokens()
    expected = predictor(model, context, CPU)(given)
    ours = decoder(model.train(), context, CPU, one, tmp_path / "model-0123")
    for prompt in (1, 6, 8):  # less than a part, one part, and one with tokens of the next
        logits, cache = ours.prefill(given[:, :prompt])
        for position in range(prompt, CONTEXT):
            assert cache.length == position
            agreement = Agreement(name, dtype, quantised=False)
            agreement.tell(logits.float(), expected[:, position - 1])
            assert agreement.relative[0] <= BOUNDS[dtype]
            logits = ours.decode(given[:, position : position + 1], cache)
        assert not logits.requires_grad
        with pytest.raises(ValueError, match="the context is full"):
            ours.decode(given[:, :1], cache)
    _, cache = ours.prefill(given[:, :6])
    other = ours.prefill(given[:, 6:])[1]
    cache.length = 2  # set back: as if the rest had not been
    agreement = Agreement(name, dtype, quantised=False)
    agreement.tell(ours.decode(given[:, 2:3], cache).float(), expected[:, 2])
    assert other.length == 6
    for wrong in (given[:, :0], torch.cat([given, given], 1)):
        with pytest.raises(ValueError, match="a prompt has at least one"):
            ours.prefill(wrong)
    made = [path.name for path in tmp_path.iterdir()]
    assert all(path.startswith("model-0123-tokens.") for path in made)
    assert bool(made) == one.exports


def _of_integers() -> Iterator[Any]:
    for name in sorted(CHOICES["engine"]):
        for scheme in ("int8_dynamic", "int8_weight", "int4_weight"):
            yield pytest.param(name, scheme, marks=[pytest.mark.slow] if name in COMPILING else [])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scheme"), list(_of_integers()))
def test_integers_token_by_token(name: str, scheme: str) -> None:
    engine(name)
    apart(name, _integers_token_by_token, scheme)


def _integers_token_by_token(name: str, scheme: str) -> None:
    one, model, given = engine(name), gpt(), tokens()
    quantizer = load("quantizer", scheme)(chosen(f"quantizer={scheme}"))
    quantizer.convert(model, quantizer.targets(model).layers)
    plain, ours = decoder(model, precision("fp32"), CPU), decoder(model, precision("fp32"), CPU, one)
    (expected, theirs), (found, cache) = plain.prefill(given[:, :6]), ours.prefill(given[:, :6])
    agreement = Agreement(name, "fp32", quantised=True)
    for position in range(6, CONTEXT):
        agreement.tell(found, expected)
        token = given[:, position : position + 1]
        expected, found = plain.decode(token, theirs), ours.decode(token, cache)
    assert max(agreement.relative) <= BOUND_OF_INTEGERS
