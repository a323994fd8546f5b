"""Processes that predict together: order, what becomes of batches when one dies, and what is left of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from processes import LINUX, alive, gone
from torch import Tensor

from conftest import FinishedRun
from thrifty.errors import BadData, OutOfMemory, ThriftyError
from thrifty.execution import affinity, fork_server
from thrifty.execution.prediction_pool import IN_FLIGHT, MOST_RESTARTS, PredictionPool
from thrifty.execution.prediction_worker import PredictorSpec
from thrifty.execution.predictors import InProcesses, InThisProcess
from thrifty.methods.prediction import OF_RUN, of_run
from thrifty.record import usable_cores
from thrifty.tasks.prediction_batches import Examples


def pool(name: str, processes: int = 2, threads: int = 1, **options: object) -> PredictionPool:
    return PredictionPool(PredictorSpec(f"faulty_predictors:{name}", options, threads), processes)


def numbered(count: int, rows: int = 4) -> Iterator[Tensor]:
    """Batches of `rows` rows in which each row holds its own number."""
    for first in range(0, count, rows):
        yield torch.arange(first, min(first + rows, count), dtype=torch.float32).reshape(-1, 1)


def test_no_process_is_begun_for_which_there_is_no_batch() -> None:
    with pool("doubles", processes=500) as some:
        found = torch.cat(list(some.map(numbered(12), count=3)))
        assert found.flatten().tolist() == [2.0 * one for one in range(12)]
        assert len(some.pids) == max(3, usable_cores())


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_uneven_batches_come_back_in_their_order(processes: int) -> None:
    sizes = [3, 1, 70000, 2, 1, 1, 5, 1]  # the third needs larger slots, while others are under way in the old ones
    batches = list(torch.arange(sum(sizes), dtype=torch.float32).reshape(-1, 1).split(sizes))
    with pool("doubles", processes) as some:
        for _ in range(2):  # a pool serves more than once
            found = list(some.map(batches))
            assert [len(one) for one in found] == sizes
            assert torch.equal(torch.cat(found), 2 * torch.cat(batches))


def test_a_batch_that_is_late_keeps_its_place(tmp_path: Path) -> None:
    with pool("first_waits_for", folder=str(tmp_path), last=3) as some:
        some.wait_until_ready()  # so that 0 and 2 are one's, 1 and 3 the other's
        found = [int(one[0, 0]) for one in some.map(torch.full((1, 1), float(number)) for number in range(6))]
    assert found == list(range(6))


def test_batches_are_taken_as_processes_get_free_for_them() -> None:
    taken = 0

    def counted() -> Iterator[Tensor]:
        nonlocal taken
        for one in numbered(400):
            taken += 1
            yield one

    with pool("doubles", processes=1) as some:
        outputs = some.map(counted())
        next(outputs)
        assert taken == IN_FLIGHT
        assert len(list(outputs)) == 99


def test_what_was_begun_and_left_is_not_mixed_with_what_comes_next() -> None:
    with pool("doubles") as some:
        next(some.map(numbered(400)))
        found = torch.cat(list(some.map(one + 1000 for one in numbered(20))))
    assert found.flatten().tolist() == [2 * (1000 + number) for number in range(20)]


@pytest.mark.parametrize("how", ["killed", "segfault", "exit", "memory"])
def test_nothing_is_lost_where_a_process_dies(tmp_path: Path, how: str) -> None:
    with pool("dies", how=how, at=21.0, folder=str(tmp_path), times=MOST_RESTARTS) as some:
        found = torch.cat(list(some.map(numbered(42))))
        pids = some.pids
    assert found.flatten().tolist() == [2.0 * number for number in range(42)]
    dead = [int(one.name) for one in tmp_path.iterdir()]
    assert len(dead) == MOST_RESTARTS
    assert not set(dead) & set(pids)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("killed", r"^prediction process [12] of 2 died of SIGKILL.* at examples 21 to 24, after 2 others that were begun anew; give a"),
        ("exit", r"^prediction process [12] of 2 died of exit code 3 at examples 21 to 24, after 2 others"),
        ("memory", r"^prediction process [12] of 2 ran out of memory \(.*allocate.*\) at examples 21 to 24, after 2 others"),
    ],
)  # fmt: skip
def test_a_batch_that_kills_whoever_has_it_is_one_error(tmp_path: Path, how: str, message: str) -> None:
    with (
        pytest.raises(OutOfMemory, match=message) as caught,
        pool("dies", how=how, at=21.0, folder=str(tmp_path), times=9) as some,
    ):
        list(some.map(numbered(42)))
    assert "\n" not in str(caught.value)
    assert len(list(tmp_path.iterdir())) == MOST_RESTARTS + 1
    assert multiprocessing.active_children() == []


def test_a_process_killed_from_outside_is_replaced() -> None:
    with pool("doubles") as some:
        some.wait_until_ready()
        first = some.pids
        outputs = some.map(numbered(200))
        found = [next(outputs)]
        os.kill(first[1], signal.SIGKILL)
        found += outputs
        assert some.pids[0] == first[0]
        found += some.map(numbered(8))  # whoever had nothing to do is missed here at the latest
        assert some.pids[1] != first[1]
    assert torch.cat(found).flatten().tolist() == [2.0 * number for number in [*range(200), *range(8)]]


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("altered", BadData, "^model.safetensors: the file was altered$"),
        ("shapes", ThriftyError, "^prediction process [12] of 2: ValueError: mat1 and mat2.* while it loaded the model; THRIFTY_DEBUG=1"),
        ("segfault", OutOfMemory, "^prediction process [12] of 2 died of SIGSEGV.* while it loaded the model, after 2 others"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded_is_one_error(how: str, kind: type[ThriftyError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught, pool("cannot_load", how=how) as some:
        list(some.map(numbered(42)))
    assert caught.value.exit_code == kind.exit_code


def test_a_mistake_in_a_batch_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    with pytest.raises(ThriftyError, match="shapes cannot be multiplied at examples 21 to 24") as caught:  # noqa: SIM117
        with pool("dies", how="shapes", at=21.0, folder=str(tmp_path), times=9) as some:
            list(some.map(numbered(42)))
    assert caught.value.exit_code == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_inputs_that_cannot_be_read_are_their_own_error() -> None:
    def broken() -> Iterator[Tensor]:
        yield from numbered(12)
        raise BadData("003.png: cannot be read as an image")

    with pytest.raises(BadData, match=r"003\.png"), pool("doubles") as some:
        list(some.map(broken()))
    assert multiprocessing.active_children() == []


def test_threads_and_cores_are_those_asked_for() -> None:
    usable = affinity.cores()
    with pool("tells_its_settings", processes=1, threads=1) as some:
        (told,) = some.map([torch.ones(5, 1)])
    assert told[0, 1:3].tolist() == [5, 1]
    if usable is not None and usable[-1] < 20:
        assert int(told[0, 3]).bit_count() == 1
    with pool("tells_its_settings", processes=2, threads=len(usable or []) or 1) as some:  # more than there are: nobody is held
        told = torch.cat(list(some.map(torch.ones(1, 1) for _ in range(8))))
    if usable is not None and usable[-1] < 20:
        assert {int(one) for one in told[:, 3]} == {sum(2**core for core in usable)}


@pytest.mark.skipif(
    (affinity.cores() or [0])[-1] > 19 or len(affinity.cores() or []) < 2, reason="needs two cores to choose from"
)
def test_processes_have_cores_of_their_own() -> None:
    with pool("tells_its_settings", processes=2, threads=1) as some:
        some.wait_until_ready()
        told = torch.cat(list(some.map(torch.ones(1, 1) for _ in range(8))))
    of_process = {int(one[0]): int(one[3]) for one in told}
    first, second = of_process.values()
    assert first.bit_count() == second.bit_count() == 1
    assert first != second


@pytest.mark.parametrize("processes", [1, 2])
def test_predictions_are_those_of_one_process_to_the_bit(tabular_run: FinishedRun, processes: int) -> None:
    record = tabular_run.record
    options = {"run": str(tabular_run.path), "config_hash": record["config_hash"], "engine": {"name": "eager"}}
    inputs = torch.randn(100, 30, generator=torch.Generator().manual_seed(0))
    examples = Examples(len(inputs), lambda first, end: inputs[first:end])
    told: list[tuple[int, int]] = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = torch.cat(list(InThisProcess(of_run(**options), 7, lambda *one: told.append(one)).predict(examples)))
    finally:
        torch.set_num_threads(before)
    with PredictionPool(PredictorSpec(OF_RUN, options, 1), processes) as some:
        shared = InProcesses(some, 7, lambda *one: told.append(one), lambda text: None)
        together = torch.cat(list(shared.predict(examples)))
    assert torch.equal(alone, together)
    assert told == [(min(done, 100), 100) for done in range(7, 107, 7)] * 2


def test_a_run_that_was_altered_is_refused_as_by_one_process(tabular_run: FinishedRun, store: Path) -> None:
    copy = tabular_run.copied_to(store)
    (copy / "model.safetensors").write_bytes(b"no weights")
    options = {"run": str(copy), "config_hash": tabular_run.record["config_hash"], "engine": {"name": "eager"}}
    with pytest.raises(BadData, match=r"model.safetensors: the file was altered or truncated"):  # noqa: SIM117
        with PredictionPool(PredictorSpec(OF_RUN, options, 1), 2) as some:
            list(some.map([torch.ones(1, 30)]))


@LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_and_what_they_started_end_with_the_command_line(tmp_path: Path, number: signal.Signals) -> None:
    script, folder = tmp_path / "parent.py", tmp_path / "pids"
    folder.mkdir()
    script.write_text(
        "import signal, torch\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background has it ignored\n"
        "from thrifty.execution.prediction_pool import PredictionPool\n"
        "from thrifty.execution.prediction_worker import PredictorSpec\n"
        "if __name__ == '__main__':\n"
        f"    spec = PredictorSpec('faulty_predictors:starts_a_process_and_never_ends', {{'folder': {str(folder)!r}}})\n"
        "    with PredictionPool(spec, 2) as pool:\n"
        "        list(pool.map([torch.ones(1, 1)] * 8))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, env=environment) as parent:
        try:
            end = time.monotonic() + 60
            while len(list(folder.iterdir())) < 4 and parent.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            pids = [int(one.name) for one in folder.iterdir()]
            assert len(pids) == 4
            assert all(alive(pid) for pid in pids)
            parent.send_signal(number)
            parent.communicate(timeout=20)
        finally:
            parent.kill()  # or leaving the block would wait for it for ever
    assert all(gone(pid) for pid in pids)


def test_where_there_are_no_fork_servers_processes_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "fits", lambda: False)
    with pool("doubles", processes=1) as some:
        assert torch.cat(list(some.map(numbered(10)))).flatten().tolist() == [2.0 * number for number in range(10)]
