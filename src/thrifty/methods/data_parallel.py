"""Data parallelism: each rank computes its share of every batch, and all step with the mean of their gradients.

Sources: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020; for ranks that keep a part
each: Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", VLDB 2023.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from thrifty.execution.ranks import Rank

_LOST = ("connection closed by peer", "connection reset by peer", "gloo", "nccl", "socket timeout", "broken pipe")
"""What collectives say, in any case, where another rank has ended."""
_PATIENCE = timedelta(days=1)
"""The others wait while the first validates, however large the model; that a rank has died is noticed at once."""


class Alone:
    """A single process, and what several have in common: all call the same of these, in the same order."""

    number, of = 0, 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages the gradients."""
        return model

    def whole(self, model: nn.Module) -> nn.Module:
        """The model with all of its weights as they are now, on the first rank; what it is on the others is not said."""
        return model

    def state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a checkpoint holds of both, on the first rank."""
        return dict(model.state_dict()), optimizer.state_dict()

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, of_model: dict[str, Any], of_optimizer: dict[str, Any]
    ) -> None:
        """Go on from what `state` gave the first rank."""
        model.load_state_dict(of_model)
        optimizer.load_state_dict(of_optimizer)

    def apart(self, wrapped: nn.Module) -> AbstractContextManager[object]:
        """Within it a forward and a backward pass add to this rank's gradients only: a later pass averages the sum."""
        return nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks."""
        return values

    def largest(self, values: list[float]) -> list[float]:
        """Of each value the largest that a rank has."""
        return values

    def gather(self, values: Tensor) -> list[Tensor]:
        """Those of every rank, in their order; of the same shape and dtype."""
        return [values]


class Together(Alone):
    """One of several ranks."""

    def __init__(self, rank: Rank, device: torch.device) -> None:
        self.number, self.of, self.device = rank.number, rank.of, device

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model of the first rank, for all; norms keep running statistics of their own share, the first rank's are kept."""
        return DistributedDataParallel(
            model, device_ids=[self.device] if self.device.type == "cuda" else None, broadcast_buffers=False
        )

    def apart(self, wrapped: nn.Module) -> AbstractContextManager[object]:
        """Within it no gradients are averaged."""
        assert isinstance(wrapped, DistributedDataParallel)
        return wrapped.no_sync()

    def mean(self, values: Tensor) -> Tensor:
        """On the CPU, in float64."""
        summed = values.detach().to("cpu", torch.float64, copy=True)
        dist.all_reduce(summed)
        return summed / self.of

    def largest(self, values: list[float]) -> list[float]:
        """The same on every rank."""
        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.tolist()

    def gather(self, values: Tensor) -> list[Tensor]:
        """The same on every rank."""
        found = [torch.empty_like(values) for _ in range(self.of)]
        dist.all_gather(found, values)
        return found


class Sharded(Together):
    """One of several ranks, which keep a part each of the weights, their gradients and what the optimizer remembers.

    A block's weights are gathered for its forward and its backward pass. The first rank has them all once more, to validate with.
    """

    _whole: nn.Module | None = None

    def wrap(self, model: nn.Module) -> nn.Module:
        """The same model: its parameters are this rank's parts from now on."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if self.number == 0:
            self._whole = copy.deepcopy(model)
        mesh = init_device_mesh(self.device.type, (self.of,))
        for block in getattr(model, "blocks", ()):
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    def whole(self, model: nn.Module) -> nn.Module:
        """A model beside the one that trains; the same one each time."""
        from torch.distributed.checkpoint.state_dict import get_model_state_dict

        weights = get_model_state_dict(model, options=_gathered())
        if self._whole is None:
            return model
        self._whole.load_state_dict(weights)
        return self._whole

    def state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """By the names of the weights, gathered in the processor's memory."""
        from torch.distributed.checkpoint.state_dict import get_state_dict

        of_model, of_optimizer = get_state_dict(model, optimizer, options=_gathered())
        return dict(of_model), dict(of_optimizer)

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, of_model: dict[str, Any], of_optimizer: dict[str, Any]
    ) -> None:
        """Each takes its part of what all have read."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

        options = StateDictOptions(full_state_dict=True)
        set_state_dict(model, optimizer, model_state_dict=of_model, optim_state_dict=of_optimizer, options=options)

    @contextmanager
    def apart(self, wrapped: nn.Module) -> Iterator[None]:
        """Within it gradients of whole weights are summed, and not shared out."""
        wrapped.set_requires_gradient_sync(False)  # pyright: ignore[reportCallIssue] - what fully_shard has made of it
        try:
            yield
        finally:
            wrapped.set_requires_gradient_sync(True)  # pyright: ignore[reportCallIssue]


def _gathered() -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True)


@contextmanager
def joined(rank: Rank, device: torch.device, threads: int | None, shard: bool = False) -> Iterator[Alone]:
    """The ranks of a training, joined while it lasts; the cores of a machine are shared among its ranks.

    Args:
        device: this rank's own.
        shard: whether each keeps a part of the weights only.
        threads: of an operation on the CPU; None is this rank's part of those in force.
    """
    if rank.of == 1:
        yield Alone()
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads or max(1, before // rank.on_machine))
    _meet(rank, device)
    try:
        yield (Sharded if shard else Together)(rank, device)
    finally:
        dist.destroy_process_group()
        torch.set_num_threads(before)


def _meet(rank: Rank, device: torch.device) -> None:
    # Numbers and flags go between processors, whatever the device: a tensor of one float is not worth a GPU's launch.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if rank.meeting and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine, whose own name may lead nowhere
    if rank.meeting or "TORCHELASTIC_RUN_ID" in os.environ:
        place = rank.meeting or "env://"
        dist.init_process_group(backend, place, _PATIENCE, world_size=rank.of, rank=rank.number)
        return
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    cluster = SLURMEnvironment(auto_requeue=False)
    place = f"tcp://{cluster.main_address}:{cluster.main_port}"
    dist.init_process_group(backend, place, _PATIENCE, world_size=rank.of, rank=rank.number)


def another_rank_ended(error: Exception) -> bool:
    """Whether an error is what a collective raises where another rank is gone."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and any(one in text for one in _LOST))


def cpu_seconds_elsewhere(ranks: Alone, rank: Rank, spent: float) -> float:
    """Processor time that the other ranks of this machine have spent; `spent` is this one's."""
    all_of_them = ranks.gather(torch.tensor([spent], dtype=torch.float64))
    first = rank.number - rank.local
    here = all_of_them[first : first + rank.on_machine]
    return float(sum(one.item() for one in here)) - spent
