"""What every format and packing must do: tensors and manifest back to the bit, in a file that others can read too."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from example_tensors import MANIFEST, example_tensors, same_bits, same_tensors, written
from safetensors.torch import load_file

from thrifty.errors import BadConfiguration, BadData, Unsupported
from thrifty.formats.bitmask import load_sparse, read_note, save_sparse
from thrifty.formats.exported import opened, read_export, write_export
from thrifty.formats.header import ENTRY, Header, Kind
from thrifty.formats.registry import ALL, FORMATS, file_suffix, named
from thrifty.formats.shuffling import shuffled, unshuffled


def test_every_format_has_every_packing() -> None:
    assert len(ALL) == 15
    assert {file_suffix(name) for name in ALL if "+" not in name} == {
        ".pt",
        ".safetensors",
        ".h5",
        ".npz",
        ".sparse.safetensors",
    }
    assert file_suffix("hdf5+shuffle+zstd") == ".h5.zst"


@pytest.mark.parametrize("name", ["npy", "zstd", "npz+", "npz+shuffle", "npz+gzip", "+zstd", "", "NPZ"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(BadConfiguration, match="there is none of that name") as caught:
        named(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_tensors_and_manifest_come_back_to_the_bit_and_in_order(name: str, tmp_path: Path) -> None:
    given, path = example_tensors(), tmp_path / "file"
    size = write_export(path, name, given, MANIFEST)
    manifest, back = read_export(path)
    assert same_tensors(given, back)
    assert manifest == MANIFEST
    assert size == path.stat().st_size
    assert written(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ALL)
def test_tensors_can_be_read_one_at_a_time(name: str, tmp_path: Path) -> None:
    given, path = example_tensors(), tmp_path / "file"
    write_export(path, name, given, MANIFEST)
    with opened(path, lazily=True) as (header, tensor):
        assert list(header.tensors) == list(given)
        assert all(same_bits(given[key], tensor(key)) for key in reversed(given))


@pytest.mark.parametrize("name", ALL)
def test_the_same_content_is_the_same_file(name: str, tmp_path: Path) -> None:
    for file in ("one", "other"):
        write_export(tmp_path / file, name, example_tensors(), MANIFEST)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_a_file_without_tensors(name: str, tmp_path: Path) -> None:
    write_export(tmp_path / "file", name, {}, MANIFEST)
    assert read_export(tmp_path / "file") == (MANIFEST, {})


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_others_can_read_the_file_as_the_umask_has_it(name: str, mask: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    before = os.umask(mask)
    try:
        write_export(tmp_path / "file", name, {"w": torch.ones(3)}, MANIFEST)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_memory_that_tensors_share_is_not_written_whole(tmp_path: Path) -> None:
    """torch.save writes all of a memory that a view is a part of."""
    size = write_export(tmp_path / "file", "torch", {"part": torch.zeros(2**20)[:4]}, {})
    assert size < 10_000


@pytest.mark.parametrize(
    ("name", "least"), [("safetensors", 0.97), ("safetensors+zstd", 0.85), ("safetensors+shuffle+zstd", 0.0)]
)
def test_shuffling_is_what_makes_weights_compress(name: str, least: float, tmp_path: Path) -> None:
    """Normal weights have few exponents: whole bytes of them, once these lie side by side."""
    weights = {"w": torch.randn(300, 300, generator=torch.Generator().manual_seed(0))}
    size = write_export(tmp_path / "file", name, weights, {})
    sizes = write_export(tmp_path / "other", "safetensors+shuffle+zstd", weights, {})
    assert size / weights["w"].nbytes >= least
    assert sizes / weights["w"].nbytes < 0.88


def test_shuffling_puts_bytes_of_equal_place_side_by_side() -> None:
    given = torch.tensor([[0x04030201, 0x14131211]], dtype=torch.int32)
    apart = shuffled(given)
    assert apart.tolist() == [[0x01, 0x11], [0x02, 0x12], [0x03, 0x13], [0x04, 0x14]]
    assert torch.equal(unshuffled(apart, Kind.of(given)), given)


@pytest.mark.parametrize("name", ["", ".", "..", ENTRY])
def test_names_that_a_file_cannot_hold(name: str) -> None:
    with pytest.raises(ValueError, match="called so"):
        Header.of({name: torch.ones(1)}, {})


def test_a_type_that_a_file_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="complex64"):
        write_export(tmp_path / "file", "npz", {"w": torch.ones(1, dtype=torch.complex64)}, {})
    assert written(tmp_path) == []


# -- other programs -----------------------------------------------------------------------------------------------------


def test_torch_reads_its_file_by_itself(tmp_path: Path) -> None:
    write_export(tmp_path / "file", "torch", example_tensors(), MANIFEST)
    content = torch.load(tmp_path / "file", weights_only=True)
    assert '"manifest"' in content.pop(ENTRY)
    assert same_tensors(example_tensors(), content)


def test_numpy_reads_its_file_by_itself(tmp_path: Path) -> None:
    write_export(tmp_path / "file.npz", "npz", example_tensors(), MANIFEST)
    with np.load(tmp_path / "file.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["blocks.0.weight"], example_tensors()["blocks.0.weight"].numpy())
        assert arrays["blocks.0.bias"].dtype == np.uint16  # the bits of bfloat16
        assert b'"bfloat16"' in arrays[ENTRY]


def test_h5py_reads_its_file_by_itself(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_export(tmp_path / "file", "hdf5", example_tensors(), MANIFEST)
    with h5py.File(tmp_path / "file", "r") as file:
        assert np.array_equal(file["blocks.0.weight"][()], example_tensors()["blocks.0.weight"].numpy())
        assert b'"bfloat16"' in file[ENTRY][()].tobytes()


def test_safetensors_reads_its_file_by_itself(tmp_path: Path) -> None:
    write_export(tmp_path / "file", "safetensors", example_tensors(), MANIFEST)
    back = load_file(tmp_path / "file")
    assert all(same_bits(one, back[name]) for name, one in example_tensors().items())


def test_a_sparse_file_is_one_like_those_of_runs(tmp_path: Path) -> None:
    write_export(tmp_path / "file", "sparse", example_tensors(), MANIFEST)
    assert same_tensors(example_tensors(), load_sparse(tmp_path / "file"))
    save_sparse(tmp_path / "of a run", example_tensors())
    assert read_note(tmp_path / "of a run") is None


# -- what is missing, and what fills up ---------------------------------------------------------------------------------


def test_without_h5py_the_other_formats_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py")
    write_export(tmp_path / "there", "hdf5", {"w": torch.ones(2)}, {})
    for name in [one for one in sys.modules if one.split(".")[0] == "h5py"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for attempt in (lambda: write_export(tmp_path / "file", "hdf5+zstd", {}, {}), lambda: read_export(tmp_path / "there")):
        with pytest.raises(Unsupported, match=r"pip install 'thrifty\[hdf5\]'"):
            attempt()
    write_export(tmp_path / "other", "npz", {"w": torch.ones(2)}, {})
    read_export(tmp_path / "other")
    assert "h5py" not in sys.modules
    assert written(tmp_path) == ["other", "there"]


@pytest.mark.parametrize("name", ALL)
def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_else(name: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    weights = {"w": torch.randn(200, 200, generator=torch.Generator().manual_seed(0))}
    (tmp_path / "file").write_bytes(b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
    try:
        with pytest.raises(BadData, match="cannot be written") as caught:
            write_export(tmp_path / "file", name, weights, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert written(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_disk_that_turns_out_full_when_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadData, match="No space left on device"):
        write_export(tmp_path / "file", "npz+zstd", {"w": torch.ones(3)}, {})
    assert written(tmp_path) == []


def test_formats_name_their_modules() -> None:
    for one in FORMATS.values():
        module = one.load()
        assert callable(module.write)
        assert callable(module.opened)
