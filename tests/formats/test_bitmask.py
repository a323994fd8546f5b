"""Tensors with zeros, in a file of their own size and back to the bit."""

from __future__ import annotations

import json
import os
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from thrifty.errors import BadData
from thrifty.formats.bitmask import load_sparse, save_sparse

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def sparse(sparsity: float, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Of exactly that sparsity."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(shape, generator=generator).flatten()
    one = one.sign() * one.abs().clamp(min=0.1)  # not zero in any type
    one[torch.randperm(len(one), generator=generator)[: round(sparsity * len(one))]] = 0
    return one.view(shape).to(dtype)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype is other.dtype
        and one.shape == other.shape
        and torch.equal(one.contiguous().reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
    )


def same(given: dict[str, Tensor], path: Path) -> bool:
    save_sparse(path, given)
    back = load_sparse(path)
    return list(back) == list(given) and all(same_bits(one, back[name]) for name, one in given.items())


def packed(path: Path) -> set[str]:
    return {name.removesuffix("#bitmask") for name in load_file(path) if name.endswith("#bitmask")}


@pytest.mark.parametrize("dtype", [*FLOATS, torch.float8_e4m3fn])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 1.0])
def test_floats_come_back_to_the_bit(dtype: torch.dtype, sparsity: float, tmp_path: Path) -> None:
    assert same({"layer.weight": sparse(sparsity, 37, 101, dtype=dtype)}, tmp_path / "w.safetensors")


def test_signed_zeros_and_what_is_no_number_are_values(tmp_path: Path) -> None:
    one = torch.zeros(4000)
    one[7], one[8], one[9], one[10] = -0.0, float("nan"), float("inf"), -float("inf")
    one.view(torch.int32)[11] = 0x7FC00123  # a NaN with a payload
    one.view(torch.int32)[12] = 1  # the smallest number there is
    assert same({"w": one}, tmp_path / "w.safetensors")
    assert len(load_file(tmp_path / "w.safetensors")["w#values"]) == 6


def test_the_layout_is_as_documented(tmp_path: Path) -> None:
    one = torch.zeros(10, 100)
    one[0, 0], one[0, 9], one[9, 99] = 1.0, 2.0, 3.0
    save_sparse(tmp_path / "w", {"w": one})
    parts = load_file(tmp_path / "w")
    assert set(parts) == {"w#bitmask", "w#values"}
    assert parts["w#values"].tolist() == [1.0, 2.0, 3.0]
    assert parts["w#bitmask"].tolist() == [1, 2, *[0] * 122, 128]


def test_whole_numbers_booleans_and_small_things(tmp_path: Path) -> None:
    integers = sparse(0.8, 3000).mul(10).to(torch.int8)
    given = {
        "int8": integers,
        "int64": integers.long(),
        "bool": integers > 0,
        "all_true": torch.ones(3000, dtype=torch.bool),
        "complex64": sparse(0.9, 3000).to(torch.complex64),
        "empty": torch.zeros(0),
        "empty_rows": torch.zeros(3, 0, 2),
        "scalar": torch.tensor(0.0),
        "count": torch.tensor(7),
        "one": torch.zeros(1),
    }
    path = tmp_path / "w.safetensors"
    assert same(given, path)
    assert packed(path) == {"int8", "int64", "bool", "complex64"}


def test_any_number_of_elements(tmp_path: Path) -> None:
    assert same({str(count): sparse(0.9, count) for count in (997, 1000, 1001, 1007, 1008, 1009)}, tmp_path / "w")


def test_views_and_tied_tensors(tmp_path: Path) -> None:
    one = sparse(0.9, 60, 50)
    dense = torch.randn(20, 20)
    assert same({"turned": one.T, "rows": one[10:30], "tied": one, "a": dense, "b": dense, "part": dense[:3]}, tmp_path / "w")


def test_no_tensors(tmp_path: Path) -> None:
    assert same({}, tmp_path / "w")


@pytest.mark.parametrize(("sparsity", "times"), [(0.9, 7.6), (0.5, 1.88), (0.99, 24)])
def test_as_much_smaller_as_it_has_zeros(sparsity: float, times: float, tmp_path: Path) -> None:
    one = {"w": sparse(sparsity, 1000, 1000)}
    save_file(one, tmp_path / "dense")
    size = save_sparse(tmp_path / "sparse", one)
    assert size == (tmp_path / "sparse").stat().st_size
    # 32 bits against one, and 32 for each that is left.
    assert (tmp_path / "dense").stat().st_size / size == pytest.approx(32 / (1 + 32 * (1 - sparsity)), rel=2e-3)
    assert (tmp_path / "dense").stat().st_size / size >= times


def test_what_would_be_larger_is_left_dense(tmp_path: Path) -> None:
    one = {"w": sparse(0.0, 1000, 100), "small": torch.zeros(8)}
    save_file(one, tmp_path / "dense")
    assert save_sparse(tmp_path / "sparse", one) < (tmp_path / "dense").stat().st_size + 400
    assert packed(tmp_path / "sparse") == set()


def test_the_same_tensors_make_the_same_file(tmp_path: Path) -> None:
    one = {"a": sparse(0.9, 100, 100), "b": sparse(0.1, 10), "c": sparse(0.7, 40, 50)}
    save_sparse(tmp_path / "1", one)
    save_sparse(tmp_path / "2", one)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_others_can_read_the_file_as_the_umask_has_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_sparse(tmp_path / "w", {"w": sparse(0.9, 1000)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    save_sparse(path, {"w": sparse(0.9, 1000)})
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thrifty.formats.bitmask.save_file", full)
    with pytest.raises(BadData, match=r"cannot be written .*No space left"):
        save_sparse(path, {"w": sparse(0.5, 1000)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_reserved_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are taken"):
        save_sparse(tmp_path / "w", {"w#values": torch.zeros(3)})


# What has been altered.


def refused(path: Path) -> str:
    with pytest.raises(BadData) as caught:
        load_sparse(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save_sparse(path, {"w": sparse(0.9, 40, 50), "dense": torch.ones(4, 6)})
    return path


def rewritten(path: Path, change: Any, *, honest: bool = True) -> None:
    """Change (metadata, parts) and write the file anew, with a check sum that fits if `honest`."""
    from thrifty.formats.bitmask import _check_sum

    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    content = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["thrifty.bitmask"])
    parts = load_file(path)
    change(content, parts)
    if honest and isinstance(content.get("tensors"), dict):
        content["crc32"] = _check_sum(content["tensors"], parts)
    save_file(parts, path, {"thrifty.bitmask": json.dumps(content)})


def test_every_altered_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        try:
            back = load_sparse(path)
        except BadData:
            refused(path)
        else:  # a space of the header's padding, or a letter of its formatting
            assert same_bits(back["w"], sparse(0.9, 40, 50)), place
            assert same_bits(back["dense"], torch.ones(4, 6)), place
            assert place < 8 + struct.unpack("<Q", whole[:8])[0], f"byte {place} of the numbers was altered unnoticed"


def test_truncated_lengthened_emptied_and_missing(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path)
    path.unlink()
    refused(path)
    path.mkdir()
    refused(path)


def test_a_dense_file_and_a_later_version(path: Path) -> None:
    save_file({"w": torch.ones(3)}, path)
    assert "is no file of sparse tensors" in refused(path)
    save_file({"w": torch.ones(3)}, path, {"thrifty.bitmask": "{"})
    assert "is no file of sparse tensors" in refused(path)
    save_file({"w": torch.ones(3)}, path, {"thrifty.bitmask": "[" * 100_000})
    assert "is no file of sparse tensors" in refused(path)
    save_file({"w": torch.ones(3)}, path, {"thrifty.bitmask": '{"version": 2}'})
    assert "version 2" in refused(path)


def set_shape(name: str, shape: Any) -> Any:
    return lambda content, parts: content["tensors"][name].update(shape=shape)


def set_part(name: str, change: Any) -> Any:
    return lambda content, parts: parts.update({name: change(parts[name])})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_part("w#bitmask", lambda one: one | 1), "bits set, and there are 200 values"),
        (set_part("w#values", lambda one: one[:-1].clone()), "200 bits set, and there are 199 values"),
        (set_part("w#values", lambda one: one.half()), "values of w are not of the type"),
        (set_part("w#values", lambda one: one[None]), "values of w are not of the type"),
        (set_part("w#bitmask", lambda one: one[:-1].clone()), "not that of a tensor of"),
        (set_part("w#bitmask", lambda one: one.view(torch.int8)), "not that of a tensor of"),
        (set_shape("w", [2**40, 2**20]), "not that of a tensor of"),
        (set_shape("w", [0, 2**62, 2**62]), "not that of a tensor of"),
        (set_shape("w", [-40, -50]), "metadata is not complete"),
        (set_shape("w", [40.0, 50]), "metadata is not complete"),
        (set_shape("w", [True] * 3), "metadata is not complete"),
        (set_shape("dense", [6, 4]), "dense is not of the type and shape"),
        (set_part("dense", lambda one: one.double()), "dense is not of the type and shape"),
        (lambda content, parts: content["tensors"].pop("dense"), "not those that it lists"),
        (lambda content, parts: content["tensors"]["w"].update(packed=False), "not those that it lists"),
        (lambda content, parts: parts.pop("w#values"), "not those that it lists"),
        (lambda content, parts: parts.update(more=torch.ones(2)), "not those that it lists"),
        (lambda content, parts: content.update(tensors=[]), "metadata is not complete"),
        (lambda content, parts: content["tensors"]["w"].pop("dtype"), "metadata is not complete"),
        (lambda content, parts: content.update(version="1"), "version '1'"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_agree_with_itself(path: Path, change: Any, why: str) -> None:
    rewritten(path, change)
    with pytest.raises(BadData, match=why):
        load_sparse(path)
    refused(path)


def test_bits_behind_the_last_number(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_sparse(path, {"w": sparse(0.9, 1001)})

    def move_the_last_bit(content: Any, parts: dict[str, Tensor]) -> None:
        parts["w#bitmask"][-1] = 0b10  # of the last byte only the lowest bit is a number's
        parts["w#values"] = torch.ones(sum(byte.bit_count() for byte in parts["w#bitmask"].tolist()))

    rewritten(path, move_the_last_bit)
    assert "bits set" in refused(path)


def test_numbers_altered_without_the_check_sum(path: Path) -> None:
    rewritten(path, set_part("w#values", lambda one: one + 1), honest=False)
    assert "check sum" in refused(path)
    save_sparse(path, {"w": sparse(0.9, 40, 50)})
    rewritten(path, set_shape("w", [50, 40]), honest=False)
    assert "check sum" in refused(path)
