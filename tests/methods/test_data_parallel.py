"""Two processes that train together against one that trains alone, in 64 bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from one_of_two_ranks import BATCH, SHARDED, STEPS, TRAININGS

from thrifty.methods.data_parallel import Alone, another_rank_ended
from thrifty.methods.sampler import BatchSampler

SCRIPT = Path(__file__).with_name("one_of_two_ranks.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], ...]:
    """Of the one that trains alone, and of the two."""
    folder = tmp_path_factory.mktemp("ranks")
    started = []
    for number, of in ((0, 1), (0, 2), (1, 2)):
        arguments = [str(number), str(of), (folder / "meeting").as_uri(), str(folder / f"{number}of{of}.pt")]
        started.append(
            subprocess.Popen([sys.executable, str(SCRIPT), *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
        )
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return tuple(torch.load(folder / f"{name}.pt") for name in ("0of1", "0of2", "1of2"))


@pytest.mark.parametrize("name", TRAININGS)
def test_two_ranks_train_as_one_process_does_on_the_same_batches(name: str, results: tuple[dict[str, Any], ...]) -> None:
    alone, first, second = (one[name] for one in results)
    assert len(alone["losses"]) == STEPS
    torch.testing.assert_close(first["losses"], alone["losses"], rtol=0, atol=1e-6)
    assert torch.equal(first["losses"], second["losses"]), "each knows the loss of the whole batch"
    for key, weights in alone["weights"].items():
        assert weights.dtype is torch.float64
        torch.testing.assert_close(first["weights"][key], weights, rtol=1e-6, atol=1e-6)
        assert torch.equal(first["weights"][key], second["weights"][key]), "no rank drifts away from another"


@pytest.mark.parametrize("name", SHARDED)
def test_two_ranks_that_keep_a_part_each_train_as_one_process_does(name: str, results: tuple[dict[str, Any], ...]) -> None:
    alone, first, second = (one[name] for one in results)
    torch.testing.assert_close(first["losses"], alone["losses"], rtol=0, atol=1e-6)
    for key, weights in alone["weights"].items():
        torch.testing.assert_close(first["weights"][key], weights, rtol=1e-6, atol=1e-6)
    assert first["held"] + second["held"] == alone["held"]
    assert 0.3 < first["held"] / alone["held"] < 0.7, "a half each, but for what does not divide"


def test_only_the_first_validates_and_all_know_every_random_state(results: tuple[dict[str, Any], ...]) -> None:
    alone, first, second = (one["adamw"] for one in results)
    assert torch.equal(alone["validations"], first["validations"])
    assert first["validations"].max() > second["validations"].max()
    assert len(first["random"]) == 2
    assert torch.equal(first["random"], second["random"])


def test_the_largest_is_that_of_any_rank(results: tuple[dict[str, Any], ...]) -> None:
    assert [one["largest"] for one in results] == [[0, -1], [1, -1], [1, -1]]


@pytest.mark.parametrize("batch_size", [BATCH, 20])
def test_the_shares_of_the_ranks_make_the_batch(batch_size: int) -> None:
    whole = BatchSampler(20, batch_size, 3).draws(2, 5)
    shares = [BatchSampler(20, batch_size, 3, rank, 4).draws(2, 5) for rank in range(4)]
    assert torch.equal(torch.cat(shares, dim=1), whole)


def test_one_process_alone_has_nobody_to_ask() -> None:
    ranks, values = Alone(), torch.tensor([1.0, 2.0])
    model = torch.nn.Linear(1, 1)
    assert ranks.wrap(model) is model
    assert ranks.mean(values) is values
    assert ranks.largest([3.0]) == [3.0]
    assert ranks.gather(values) == [values]


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:38032"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo"), False),
    ],
)
def test_the_end_of_another_rank_is_told_from_an_error_of_our_own(error: Exception, ended: bool) -> None:
    assert another_rank_ended(error) == ended
