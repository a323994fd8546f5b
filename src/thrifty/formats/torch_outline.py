"""What a file of `torch.save` says it holds, told without unpickling: a reader of the few words that a dictionary of tensors takes.

Any other word of the pickle language is refused, so that nothing is looked up, called or allocated.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

import torch

_MARK = object()


class NotAnOutline(Exception):
    """What is there is not how a dictionary of tensors and texts is written."""


@dataclass(frozen=True)
class Stored:
    """A tensor as the outline names it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    key: str
    """The archive's member `data/KEY` holds its numbers."""
    storage_bytes: int
    """Of that member, as claimed."""
    without_gaps: bool
    """Whether the tensor is all of its storage, in the order of rows."""


@dataclass(frozen=True)
class _Word:
    """A name of torch's that may stand in an outline."""

    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    numbers: int


_STORAGES = {
    "torch DoubleStorage": torch.float64, "torch FloatStorage": torch.float32, "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16, "torch LongStorage": torch.int64, "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16, "torch CharStorage": torch.int8, "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool, "torch.storage UntypedStorage": torch.uint8,
}  # fmt: skip
_TYPES = {f"torch {name}": getattr(torch, name) for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")}
"""Types that have no storage of their own."""
_REBUILD, _REBUILD_TYPED, _NO_HOOKS = (
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "collections OrderedDict",
)
_WORDS = {*_STORAGES, *_TYPES, _REBUILD, _REBUILD_TYPED, _NO_HOOKS}


def outline_of(data: bytes) -> dict[str, Stored | str]:
    """Tensors and texts of the dictionary, by name.

    Raises:
        NotAnOutline: anything else is in there, or it is cut off.
    """
    try:
        found = _read(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise NotAnOutline(f"its outline is not whole: {' '.join(str(error).split())[:80]}") from error
    if not isinstance(found, dict) or not all(isinstance(one, (Stored, str)) for one in found.values()):
        raise NotAnOutline("it holds something else than a dictionary of tensors")
    return found


def _read(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for code, argument, _ in pickletools.genops(data):
        match code.name:
            case "PROTO":
                pass
            case "STOP":
                (found,) = stack
                return found
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "NEWFALSE":
                stack.append(False)
            case "GLOBAL":
                if argument not in _WORDS:
                    raise NotAnOutline(f"it names '{argument:.80}', which no tensor needs; nothing of it was run")
                stack.append(_Word(argument))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(code.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "SETITEMS":
                _set_items(stack, _since_mark(stack))
            case "SETITEM":
                _set_items(stack, [stack.pop(-2), stack.pop()])
            case other:
                raise NotAnOutline(f"its outline has {other}, which no dictionary of tensors needs; nothing of it was run")
    raise NotAnOutline("its outline is cut off")


def _since_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1 - next(number for number, one in enumerate(reversed(stack)) if one is _MARK)
    found = stack[place + 1 :]
    del stack[place:]
    return found


def _set_items(stack: list[Any], items: list[Any]) -> None:
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, str) or name in stack[-1]:
            raise NotAnOutline("its dictionary has names that are no texts, or are there twice")
        stack[-1][name] = value


def _storage(given: Any) -> _Storage:
    kind, word, key, place, numbers = given
    if kind != "storage" or place != "cpu" or not isinstance(key, str) or type(numbers) is not int or numbers < 0:
        raise NotAnOutline("its outline names numbers in a way that torch.save does not")
    return _Storage(_STORAGES[word.name], key, numbers)


def _made(word: _Word, arguments: tuple[Any, ...]) -> Any:
    """What a call of one of torch's functions would make."""
    if word.name == _NO_HOOKS and arguments == ():
        return {}
    if word.name == _REBUILD:
        storage, offset, shape, strides, needs_gradient, hooks = arguments
        dtype = storage.dtype
    elif word.name == _REBUILD_TYPED:
        storage, offset, shape, strides, needs_gradient, hooks, named = arguments
        dtype = _TYPES[named.name]
    else:
        raise NotAnOutline(f"it calls '{word.name}'; nothing of it was run")
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or needs_gradient is not False or hooks != {}:
        raise NotAnOutline("its tensors are not plain ones")
    if len(shape) != len(strides) or not all(type(one) is int and 0 <= one < 2**48 for one in numbers):
        raise NotAnOutline("its tensors have impossible shapes")
    return Stored(dtype, shape, storage.key, storage.numbers * storage.dtype.itemsize, offset == 0 and _by_rows(shape, strides))


def _by_rows(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a tensor's numbers lie one behind the other; where there is but one to step over, its stride means nothing."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step and 0 not in shape:
            return False
        step *= size
    return True
