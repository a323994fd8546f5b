"""Files that became something else on the way: refused in one line, or what they were to the bit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from example_tensors import MANIFEST, example_tensors, same_tensors, written

from thrifty.errors import BadData
from thrifty.formats.exported import read_export, write_export
from thrifty.formats.registry import ALL

FLIPS = 60
"""Places of a file in which a bit is turned."""


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each format."""
    folder = tmp_path_factory.mktemp("files")
    for name in ALL:
        write_export(folder / name, name, example_tensors(), MANIFEST)
    return {name: (folder / name).read_bytes() for name in ALL}


def refused(path: Path) -> str:
    with pytest.raises(BadData) as caught:
        read_export(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(str(path)) >= 1
    assert "thrifty-" not in message.replace(str(path), "")  # where it was unpacked
    return message


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.9999])
@pytest.mark.parametrize("name", ALL)
def test_a_file_cut_off_anywhere(name: str, share: float, contents: dict[str, bytes], tmp_path: Path) -> None:
    whole, path = contents[name], tmp_path / "file"
    path.write_bytes(whole[: min(int(share * len(whole)), len(whole) - 1)])
    refused(path)
    assert written(tmp_path) == ["file"]


@pytest.mark.parametrize("name", [one for one in ALL if one.endswith("zstd")])
@pytest.mark.parametrize("more", [b"x", b"\x28\xb5\x2f\xfd", bytes(5000)])
def test_something_added_to_a_compressed_file(name: str, more: bytes, contents: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(contents[name] + more)
    assert "does not end where its frame does" in refused(tmp_path / "file")


@pytest.mark.parametrize("name", ALL)
def test_a_bit_turned_anywhere(name: str, contents: dict[str, bytes], tmp_path: Path) -> None:
    """Some bits mean nothing, such as an archive's hour: then nothing is different."""
    whole, path, order = contents[name], tmp_path / "file", random.Random(0)
    places = [*range(16), *order.sample(range(len(whole)), FLIPS), *range(len(whole) - 16, len(whole))]
    found = 0
    for place in places:
        altered = bytearray(whole)
        altered[place] ^= 1 << order.randrange(8)
        path.write_bytes(altered)
        try:
            manifest, back = read_export(path)
        except BadData:
            found += 1
        else:
            assert manifest == MANIFEST
            assert same_tensors(example_tensors(), back), f"bit of byte {place}"
    assert found > len(places) / 4


@pytest.mark.parametrize("name", ALL)
def test_numbers_altered_in_a_file_that_is_whole_otherwise(name: str, tmp_path: Path) -> None:
    """As by somebody who writes the file anew, and leaves what it says of itself."""
    from thrifty.formats.exported import plain_tensors, write_file
    from thrifty.formats.header import Header

    plain = plain_tensors(example_tensors())
    header = Header.of(plain, MANIFEST)
    plain["int8"][7] += 1
    write_file(tmp_path / "file", name, plain, header)
    assert "do not hash to what" in refused(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n", b"\x28\xb5\x2f\xfd", b"a,b\n1,2\n" * 9,
                                     b"\x80\x02}q\x00.", bytes(1000)])  # fmt: skip
def test_files_of_other_kinds(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    refused(tmp_path / "file")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refused(tmp_path / "file")


def test_the_weights_of_a_run_are_not_an_exported_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(3)}, tmp_path / "file")
    assert "is no safetensors file that `thrifty export` wrote" in refused(tmp_path / "file")
