"""The formats that weights are exported to, by the names a user types. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from thrifty.errors import BadConfiguration, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from thrifty.formats.header import Header


class FormatModule(Protocol):
    """What a format's module has."""

    def write(self, path: Path, tensors: dict[str, Tensor], header: Header) -> None:
        """Write tensors that lie in memory of their own without gaps."""
        ...

    def opened(self, path: Path, lazily: bool = False) -> AbstractContextManager[tuple[Header, Callable[[str], Tensor]]]:
        """The header of a file, and its tensors by name, as they were written."""
        ...


@dataclass(frozen=True)
class Format:
    """A format by name."""

    module: str
    suffix: str
    """Of its files."""
    lazy: bool = True
    """Whether a tensor can be read without reading the others."""
    library: str | None = None
    """What reading it imports besides torch and numpy."""

    def load(self) -> FormatModule:
        """Its module, imported."""
        return cast(FormatModule, import_module(f"thrifty.formats.{self.module}"))


@dataclass(frozen=True)
class Packing:
    """What is done to a file in any format."""

    shuffle: bool = False
    zstd: bool = False


FORMATS = {
    "torch": Format("torch_file", ".pt"),
    "safetensors": Format("safetensors_file", ".safetensors", library="safetensors.torch"),
    "hdf5": Format("hdf5_file", ".h5", library="h5py"),
    "npz": Format("npz_file", ".npz"),
    "sparse": Format("sparse_file", ".sparse.safetensors", lazy=False, library="safetensors.torch"),
}
PACKINGS = {"": Packing(), "+zstd": Packing(zstd=True), "+shuffle+zstd": Packing(shuffle=True, zstd=True)}
ALL = tuple(name + packing for name in FORMATS for packing in PACKINGS)


def named(given: str) -> tuple[Format, Packing]:
    """Format and packing that a name such as `hdf5+shuffle+zstd` stands for.

    Raises:
        BadConfiguration: there is no such name.
    """
    name, plus, packing = given.partition("+")
    if name not in FORMATS or plus + packing not in PACKINGS:
        raise BadConfiguration(
            f"--format {given}: there is none of that name{nearest(given, ALL)}; give one of {', '.join(FORMATS)}, each as it is, "
            f"or with {' or '.join(filter(None, PACKINGS))} behind it"
        )
    return FORMATS[name], PACKINGS[plus + packing]


def file_suffix(given: str) -> str:
    """What the files of such a name end in."""
    found, packing = named(given)
    return found.suffix + (".zst" if packing.zstd else "")
