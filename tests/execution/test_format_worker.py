"""The process that reads a file: what it touches, what it holds, what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thrifty.execution.format_process import format_process
from thrifty.execution.format_worker import _read, _read_every_byte
from thrifty.execution.lean import LeanFailed
from thrifty.formats.exported import write_export

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
EACH_MIB, COUNT = 16, 6


def test_odd_numbers_of_bytes_are_read_too() -> None:
    for count in (0, 1, 7, 8, 9, 4096):
        _read_every_byte(torch.ones(count, dtype=torch.int8))
    _read_every_byte(torch.tensor(True))


def test_reading_tells_seconds(tmp_path: Path) -> None:
    write_export(tmp_path / "file", "npz", {"w": torch.ones(1000)}, {})
    for lazily in (True, False):
        assert _read(tmp_path / "file", lazily)["seconds"] > 0


@LINUX
@pytest.mark.parametrize("name", ["npz", "safetensors", "torch", "hdf5", "npz+shuffle+zstd"])
def test_lazily_fewer_tensors_are_held_than_fully(name: str, tmp_path: Path) -> None:
    if name == "hdf5":
        pytest.importorskip("h5py")
    generator = torch.Generator().manual_seed(0)
    tensors = {str(number): torch.randn(EACH_MIB * 2**18, generator=generator) for number in range(COUNT)}
    write_export(tmp_path / "file", name, tensors, {})
    peaks = []
    for lazily in (False, True):
        with format_process(name) as process:
            said = process.ask({"do": "read", "path": str(tmp_path / "file"), "lazily": lazily})
        assert not isinstance(said, LeanFailed), said
        assert said["reason"] is None
        peaks.append(said["peak_mib"] - said["before_mib"])
    fully, least = peaks[0], EACH_MIB * COUNT
    assert fully >= 0.9 * least
    if name not in ("safetensors", "torch"):  # their pages stay mapped until the kernel wants them back
        assert peaks[1] < 0.75 * fully


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no such format")
    with format_process("npz") as process:
        said = process.ask({"do": "read", "path": str(tmp_path / "file"), "lazily": False})
    assert isinstance(said, LeanFailed)
    assert said.reason.startswith("BadData: ")


def test_a_process_imports_what_its_format_needs(tmp_path: Path) -> None:
    """And no more, which would be in its memory: so reading another format in it imports something."""
    pytest.importorskip("h5py")
    program = (
        "import sys; sys.argv.append({name!r}); from thrifty.execution import format_worker; format_worker._imports(); "
        "print('h5py' in sys.modules, 'pytorch_lightning' in sys.modules, 'hydra' in sys.modules, 'torchao' in sys.modules)"
    )
    for name, expected in (("hdf5+zstd", "True False False False"), ("npz", "False False False False")):
        done = subprocess.run([sys.executable, "-c", program.format(name=name)], capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == expected, done.stderr
