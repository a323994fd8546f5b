"""Models without numbers: on torch's meta device, for their shapes, or to be filled with weights that are there already."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class _NothingDrawn(TorchFunctionMode):
    """Initial weights are not drawn. On meta there is nothing to draw them into, but torch imports a second's Python to find out."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Modules made within it lie on the meta device."""
    with torch.device("meta"), _NothingDrawn():
        yield


def given_memory(model: nn.Module, device: torch.device) -> nn.Module:
    """The same model with memory for its parameters and buffers; what they hold is anything until it is written.

    What torch's `to_empty` does; its `empty_like` of a meta tensor imports half a second of Python first.
    """
    state = {name: torch.empty(one.shape, dtype=one.dtype, device=device) for name, one in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return model
