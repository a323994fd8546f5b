"""Windows of bytes: where they lie, how they are drawn and scored; and generation."""

import io
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chosen import chosen
from thrifty.errors import BadConfiguration, BadData
from thrifty.tasks import text
from thrifty.tasks.base import SPLITS
from thrifty.tasks.text import TextData, TextTask
from thrifty.tasks.windows import Windows, coprime_near_golden_section

CONTEXT = 16


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., TextData]:
    def prepared(size: int = 20_000, context: int = CONTEXT, **task: float) -> TextData:
        path = tmp_path / f"{size}.txt"
        path.write_bytes(np.random.default_rng(0).integers(1, 256, size, dtype=np.uint8).tobytes())
        return TextTask(chosen("task=text", path=str(path), **task)).prepare(chosen("architecture=gpt", context=context))

    return prepared


def starts(data: TextData, split: str, epoch: int = 0) -> Tensor:
    """First byte of every window of an epoch, as `batch` takes them."""
    n = data.sizes[split]
    return data._windows[torch.device("cpu")][split].starts(torch.arange(n * epoch, n * (epoch + 1)))


def bytes_used(data: TextData, split: str, epoch: int = 0) -> set[int]:
    return {start + i for start in starts(data, split, epoch).tolist() for i in range(data.context + 1)}


@pytest.mark.parametrize(("size", "context"), [(20_000, 16), (5_000, 128), (51, 16), (60, 16), (100, 2), (9, 2), (12_345, 7)])
def test_no_byte_is_shared_between_splits(prepare: Callable[..., TextData], size: int, context: int) -> None:
    data = prepare(size, context)
    ranges = {split: {byte for begin, end in data.ranges[split] for byte in range(begin, end)} for split in SPLITS}
    assert sum(len(one) for one in ranges.values()) == size
    assert set().union(*ranges.values()) == set(range(size))
    for split in SPLITS:
        assert data.sizes[split] >= 1
        for epoch in (0, 1, 2, 5):
            assert bytes_used(data, split, epoch) <= ranges[split]


@pytest.mark.parametrize("epoch", [0, 1, 2, 9])
def test_windows_lie_side_by_side_within_one_range(prepare: Callable[..., TextData], epoch: int) -> None:
    data = prepare()
    for split in SPLITS:
        all_starts = np.sort(starts(data, split, epoch).numpy())
        assert (np.diff(all_starts) >= CONTEXT).all()
        for begin, end in data.ranges[split]:
            inside = all_starts[(all_starts >= begin) & (all_starts < end)]
            assert inside[-1] + CONTEXT + 1 <= end  # the last target too
            assert (np.diff(inside) == CONTEXT).all()
            shift = inside[0] - begin
            assert 0 <= shift < CONTEXT
            assert len(inside) == ((end - begin) // CONTEXT - 1 if split == "train" else (end - begin - 1) // CONTEXT)


def test_targets_are_inputs_one_byte_further(prepare: Callable[..., TextData]) -> None:
    data = prepare()
    stream = data._stream.numpy()
    for split in SPLITS:
        n = data.sizes[split]
        draws = torch.tensor([[0, 1, n - 1], [n, 2 * n + 3, 7 * n - 1]])
        inputs, targets = data.batch(split, draws)
        assert inputs.shape == targets.shape == (2, 3, CONTEXT)
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.is_contiguous()
        assert targets.is_contiguous()
        assert torch.equal(inputs[..., 1:], targets[..., :-1])
        for draw, row, after in zip(draws.flatten(), inputs.flatten(0, 1), targets.flatten(0, 1), strict=True):
            first = int(starts(data, split, int(draw) // n)[draw % n])
            assert row.tolist() == stream[first : first + CONTEXT].tolist()
            assert after[-1] == stream[first + CONTEXT]


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 4)])
def test_the_dimensions_of_the_draws_lead(prepare: Callable[..., TextData], shape: tuple[int, ...]) -> None:
    data = prepare()
    draws = torch.full(shape, 5)
    first = [one.clone() for one in data.batch("train", draws)]
    assert all(one.shape == (*shape, CONTEXT) for one in first)
    assert all(torch.equal(one, other) for one, other in zip(first, data.batch("train", draws), strict=True))
    assert (draws == 5).all()


def test_each_window_of_an_epoch_is_drawn_once_and_epochs_are_shifted(prepare: Callable[..., TextData]) -> None:
    data = prepare()
    unshifted = np.sort(starts(data, "train").numpy())
    assert len(set(unshifted.tolist())) == data.sizes["train"]
    shifts = set()
    for epoch in range(CONTEXT):
        moved = np.sort(starts(data, "train", epoch).numpy()) - unshifted
        assert (moved == moved[0]).all()
        shifts.add(int(moved[0]))
        assert np.array_equal(np.sort(starts(data, "test", epoch).numpy()), np.sort(starts(data, "test").numpy()))
    assert shifts == set(range(CONTEXT))
    assert torch.equal(starts(data, "train", CONTEXT), starts(data, "train"))


def test_ranges_too_short_to_shift_are_shifted_as_far_as_they_allow() -> None:
    windows = Windows([(0, 5), (100, 107), (200, 221)], 4, shifted=True)
    drawn = torch.stack([windows.starts(torch.arange(windows.count) + epoch * windows.count) for epoch in range(8)])
    assert windows.count == 1 + 1 + 4
    assert set(drawn[drawn < 100].tolist()) == {0}
    assert set(drawn[(drawn >= 100) & (drawn < 200)].tolist()) == {100, 101, 102}
    assert drawn[drawn >= 200].max() == 200 + 3 * 4 + 3


def test_the_first_windows_are_spread_over_the_whole_split(prepare: Callable[..., TextData]) -> None:
    data = prepare(200_000)
    for split in SPLITS:
        order = starts(data, split)
        places = torch.empty(len(order)).long()
        places[order.argsort()] = torch.arange(len(order))
        for few in (8, 64):
            gaps = torch.cat([places[:few], torch.tensor([0, len(order)])]).sort().values.diff()
            assert gaps.max() <= 2.7 * len(order) / few


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12, 97, 128, 1000, 46_368, 2**31, 3 * 2**40])
def test_the_step_reaches_every_place(count: int) -> None:
    step = coprime_near_golden_section(count)
    assert math.gcd(step, count) == 1
    assert step * count < 2**63


def test_shares_and_seed_decide_the_split(prepare: Callable[..., TextData]) -> None:
    data = prepare()
    assert "80 / 10 / 10 % of 20 kB in 100 blocks for training, validation, test" in data.about
    assert prepare().ranges == data.ranges
    assert prepare(split_seed=1).ranges != data.ranges
    assert torch.equal(starts(prepare(), "test"), starts(data, "test"))
    other = prepare(validation=0.3, test=0.001)
    assert "69 / 30 / 1 %" in other.about[-1]
    assert "1 / 50 / 49 %" in prepare(validation=0.4999, test=0.4999).about[-1]


def test_what_the_built_in_text_gives() -> None:
    data = TextTask(chosen("task=text")).prepare(chosen("architecture=gpt"))
    assert data.shape == {"vocabulary": 256, "context": 128}
    assert data.state() == data.shape
    assert data.deciding == "bits_per_byte"
    assert data.sizes["train"] > 20_000
    assert data.sizes["test"] > 2_000
    assert data.about[1].startswith("80 / 10 / 10 %")
    inputs, targets = data.batch("test", torch.arange(4))
    assert inputs.shape == (4, 128)
    assert (targets[:, -1] >= 0).all()


def test_too_short_says_how_many_bytes_are_needed(prepare: Callable[..., TextData]) -> None:
    assert min(prepare(3 * 129, 128).sizes.values()) >= 1
    with pytest.raises(
        BadData, match=r"386\.txt: has 386 bytes, and architecture.context=128 needs at least 387, 129 for each"
    ):
        prepare(386, 128)


def test_uniform_logits_cost_eight_bits(prepare: Callable[..., TextData]) -> None:
    data = prepare()
    targets = data.batch("test", torch.arange(5))[1]
    scores = {name: values.numpy() for name, values in data.scores(torch.zeros(5, CONTEXT, 256), targets).items()}
    assert scores["loss"].shape == (5,)
    metrics = data.summarise(scores)
    assert set(metrics) == {"bits_per_byte", "loss"}
    assert metrics["bits_per_byte"].value == pytest.approx(8, rel=1e-7)
    assert metrics["bits_per_byte"].n == 5
    assert metrics["loss"].value == pytest.approx(math.log(256))


def test_intervals_of_losses_do_not_reach_below_zero(prepare: Callable[..., TextData]) -> None:
    metrics = prepare().summarise({"loss": np.array([0.0, 0.0, 0.0, 5.0])})  # Student's interval alone: 1.25 -+ 3.98
    assert (metrics["loss"].low, metrics["bits_per_byte"].low) == (0, 0)
    assert metrics["bits_per_byte"].high == pytest.approx((1.25 + 3.182446 * 1.25) / math.log(2))


def test_bits_per_byte_by_hand(prepare: Callable[..., TextData]) -> None:
    # Probability 1/2 for the right byte in one window, 1/8 in the other: 1 and 3 bits, 2 on the mean.
    data = prepare(context=2)
    # Bytes 0 to 7 are equally likely in the one, 3 and 4 in the other, and all else impossible: nothing is rounded but the logarithm.
    targets = torch.tensor([[3, 4], [5, 6]])
    logits = torch.full((2, 2, 256), -math.inf)
    logits[0, :, 3:5] = logits[1, :, :8] = 0
    scores = data.scores(logits, targets)
    assert scores["loss"].tolist() == pytest.approx([math.log(2), math.log(8)])
    assert data.summarise({"loss": scores["loss"].numpy()})["bits_per_byte"].value == pytest.approx(2)
    assert data.loss(logits, targets).item() == pytest.approx(math.log(4))


def test_loss_is_computed_in_single_precision_and_smoothed(prepare: Callable[..., TextData]) -> None:
    data = prepare()
    targets = data.batch("train", torch.arange(4))[1]
    outputs = torch.randn(4, CONTEXT, 256, generator=torch.Generator().manual_seed(0)).bfloat16()
    loss = data.loss(outputs, targets, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        F.cross_entropy(outputs.float().view(-1, 256), targets.view(-1), label_smoothing=0.1).item()
    )
    assert data.loss(outputs, targets).item() == pytest.approx(data.scores(outputs, targets)["loss"].mean().item())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("largest", [text.LARGEST_ON_DEVICE, 0], ids=["on the device", "too large for it"])
@pytest.mark.parametrize("draws_on", ["cpu", "cuda"])
def test_batches_on_a_device(
    prepare: Callable[..., TextData], monkeypatch: pytest.MonkeyPatch, largest: int, draws_on: str
) -> None:
    monkeypatch.setattr(text, "LARGEST_ON_DEVICE", largest)
    here, there = prepare(), prepare()
    there.to(torch.device("cuda"))
    for split in SPLITS:
        draws = torch.randint(0, 1000, (3, 4))
        for expected, found in zip(here.batch(split, draws), there.batch(split, draws.to(draws_on)), strict=True):
            assert found.device.type == "cuda"
            assert torch.equal(expected, found.cpu())


# -- generation ----------------------------------------------------------------------------------------------------------


def one_further(batch: Tensor) -> Tensor:
    """Logits of a model sure that each byte is the last plus one."""
    return F.one_hot((batch + 1) % 256, 256).float() * 100


def unsure(batch: Tensor) -> Tensor:
    return torch.zeros(*batch.shape, 256)


class Remembering:
    """A model that keeps the bytes themselves, and answers by all that it can see."""

    context = CONTEXT

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        self.answer = answer

    def prefill(self, tokens: Tensor) -> tuple[Tensor, list[int]]:
        assert tokens.dtype == torch.int64
        assert tokens.shape[0] == 1
        cache = tokens[0].tolist()
        return self._logits(cache), cache

    def decode(self, token: Tensor, cache: list[int]) -> Tensor:
        assert token.shape == (1, 1)
        cache.append(int(token))
        return self._logits(cache)

    def _logits(self, cache: list[int]) -> Tensor:
        assert 1 <= len(cache) <= CONTEXT
        return self.answer(torch.tensor([cache]))[:, -1]


def predict(answer: Callable[[Tensor], Tensor], given: str, output: Path | None = None, **options: float) -> str:
    state = {"context": CONTEXT, "vocabulary": 256}
    return TextTask.predict(state, Remembering(answer), given, output, {"batch_size": 1, **options})


def test_greedy_and_almost_greedy() -> None:
    assert predict(one_further, "abc", length=5, temperature=0) == "abcdefgh"
    assert predict(one_further, "abc", length=5, temperature=1e-300) == "abcdefgh"
    assert predict(one_further, "abc", length=0) == "abc"
    assert predict(one_further, " " * 100, length=3, temperature=0) == " " * 100 + '!"#'


def test_the_seed_decides() -> None:
    drawn = [predict(unsure, "a", seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert predict(unsure, "a", length=200, seed=0) == drawn[0] == predict(unsure, "a")


def test_only_the_context_is_seen_and_its_last_byte_decides() -> None:
    seen = []

    def recorded(batch: Tensor) -> Tensor:
        seen.append(bytes(batch[0].tolist()))
        return one_further(batch)

    predict(recorded, "0123456789abcdefghi", length=3)
    assert seen == [b"3456789abcdefghi", b"cdefghij", b"cdefghijk"]  # once full, its newer half, and on from there


def test_the_context_is_filled_before_it_is_halved() -> None:
    seen = []

    def recorded(batch: Tensor) -> Tensor:
        seen.append(batch.shape[1])
        return one_further(batch)

    predict(recorded, "0123456789abcd", length=2 + CONTEXT)
    half = CONTEXT // 2
    assert seen == [14, 15, 16, *range(half, CONTEXT + 1), *range(half, half + CONTEXT + 2 - 3 - (half + 1))]


def test_prompts_from_a_file_standard_input_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompt.txt").write_bytes(b"xyz")
    assert predict(one_further, str(tmp_path / "prompt.txt"), length=1) == "xyz{"
    assert predict(one_further, str(tmp_path / "none.txt"), length=1).startswith(str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"klm")))
    assert predict(one_further, "-", length=1) == "klmn"
    assert predict(one_further, "", length=2) == "\x0b\x0c"  # after a newline that is not shown
    assert predict(one_further, "a" * 5000, length=1).endswith("ab")  # longer than a file's name can be


def test_characters_may_begin_in_the_prompt_and_broken_ones_are_replaced() -> None:
    def second_half(batch: Tensor) -> Tensor:
        return F.one_hot(torch.full_like(batch, 0xA9), 256).float()

    assert predict(second_half, "\udcc3", length=1, temperature=0) == "é"  # a lone 0xC3 as the command line gives it
    assert predict(second_half, "a", length=2, temperature=0) == "a\ufffd\ufffd"


def test_output_is_written_whole(tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    output.write_text("old and much longer than what follows")
    said = predict(one_further, "abc", output, length=3)
    assert said == f"the prompt (3 bytes) and its continuation (3 bytes) are in {output}"
    assert output.read_text() == "abcdef"
    assert list(tmp_path.iterdir()) == [output]


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "none" / "out.txt"):
        with pytest.raises(BadConfiguration, match="cannot be written"):
            predict(one_further, "abc", output, length=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "value"), [("length", -1), ("temperature", -0.5), ("temperature", math.nan)])
def test_options_out_of_range(option: str, value: float) -> None:
    with pytest.raises(BadConfiguration, match=f"^{option}="):
        predict(one_further, "abc", None, **{option: value})
