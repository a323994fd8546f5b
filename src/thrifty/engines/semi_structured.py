"""Sparse tensor cores of GPUs: linear layers of which two in every four weights are zero, as pruner=n_m leaves them with 2:4.

Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, and torch.sparse.to_sparse_semi_structured.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.config.choices import engines
from thrifty.engines.base import Engine
from thrifty.errors import Unsupported

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thrifty.engines.base import Inputs

_ROWS, _COLUMNS = 32, 64
"""The kernels take weights of whole tiles, for numbers of two bytes."""


class SemiStructured(Engine):
    """PyTorch's own execution, with 2:4 products where a layer's weights allow them."""

    name = "semi_structured"

    def unsupported(self, device_type: str) -> str | None:
        """Anything but NVIDIA's GPUs since Ampere."""
        import torch

        if device_type != "cuda":
            return (
                "engine=semi_structured: needs the sparse tensor cores of a GPU of compute capability 8.0 or newer, this run is on "
                f"device={device_type}; take engine=eager"
            )
        if torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0):
            return f"engine=semi_structured: {torch.cuda.get_device_name()} has no sparse tensor cores; take engine=eager"
        return None

    def not_in(self, precision: str) -> str | None:
        """Precisions of more than two bytes, and of one."""
        if precision in ("bf16", "fp16"):
            return None
        return f"engine=semi_structured precision={precision}: its kernels take numbers of two bytes; take precision=bf16, or engine=eager"

    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        """A copy of the module with compressed weights where two of four are zero.

        Raises:
            Unsupported: no layer is so.
        """
        import torch
        from torch.sparse import to_sparse_semi_structured

        dtype = torch.bfloat16 if precision == "bf16" else torch.float16
        with torch.inference_mode(False), torch.no_grad():
            twin = copy.deepcopy(module).eval().requires_grad_(False)
            layers = [one for one in twin.modules() if isinstance(one, torch.nn.Linear) and is_2_4(one.weight)]
            if not layers:
                raise Unsupported(
                    "engine=semi_structured: no linear layer has two zeros in every four weights and sizes that divide by 32 and 64; "
                    "prune with pruner=n_m pruner.pattern=2:4, or take engine=eager"
                )
            for one in layers:
                one.weight = torch.nn.Parameter(to_sparse_semi_structured(one.weight.to(dtype)), requires_grad=False)
                if one.bias is not None:
                    one.bias = torch.nn.Parameter(one.bias.to(dtype), requires_grad=False)
        return twin


def is_2_4(weight: Tensor) -> bool:
    """Whether at most two of every four neighbours in a row are not zero, and the matrix is made of whole tiles."""
    if weight.shape[0] % _ROWS or weight.shape[1] % _COLUMNS:
        return False
    return bool((weight.reshape(-1, 4) != 0).sum(1).le(2).all())


def build(config: engines.Engine) -> Engine:
    """The engine a configuration names."""
    return SemiStructured()
