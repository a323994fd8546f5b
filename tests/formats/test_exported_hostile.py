"""Files made to do harm: to run code, to read other files, to fill memory or disk. Each is refused in one line, before it could."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from example_tensors import MANIFEST, written
from torch import Tensor

from thrifty.errors import BadData
from thrifty.formats import exported, header
from thrifty.formats.exported import read_export, write_export
from thrifty.formats.header import ENTRY, Header
from thrifty.formats.torch_file import OUTLINE
from thrifty.measure.cgroup import Limits

WEIGHTS = {"w": torch.arange(1000, dtype=torch.float32), "b": torch.ones(10)}


def header_of(given: dict[str, Tensor] = WEIGHTS, /, **claims: Any) -> str:
    """The header of these tensors; `claims` are entries of its own."""
    return json.dumps({**json.loads(Header.of(given, MANIFEST).text()), **claims})


def refused(path: Path) -> str:
    before = written(path.parent)
    with pytest.raises(BadData) as caught:
        read_export(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert written(path.parent) == before
    return message


def zipped(path: Path, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> None:
    """Write an archive anew, its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = [(one.filename, archive.read(one)) for one in archive.infolist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, change(name, content))


# -- the header -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "7", "{}", "[" * 100_000, '{"thrifty": 2}', '{"thrifty": "1"}', '{"thrifty": 1}', "\ud800",
        header_of(manifest=[]), header_of(tensors=[]), header_of(shuffled=1), header_of(sha256=None),
        header_of(tensors={"w": ["float32"]}), header_of(tensors={"w": ["float32", 7]}), header_of(tensors={"w": ["float32", [-1]]}),
        header_of(tensors={"w": ["float32", [True]]}), header_of(tensors={"w": ["float32", [1.0]]}), header_of(tensors={"w": [["a"], [1]]}),
        header_of(tensors={"w": ["object", [1]]}), header_of(tensors={"w": ["float32", [2**60]]}), header_of(tensors={"w": ["float32", [1] * 65]}),
    ],
)  # fmt: skip
def test_a_header_that_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadData) as caught:
        Header.parse(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_more_than_memory_holds(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="more than half of the memory here"):
        Header.parse(tmp_path, header_of(tensors={"w": ["float32", [2**40, 2**7]]}))


# -- torch ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch_path(tmp_path: Path) -> Path:
    write_export(tmp_path / "file", "torch", WEIGHTS, MANIFEST)
    return tmp_path / "file"


class Calls:
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_code(protocol: int, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    torch.save(
        {ENTRY: header_of(), "w": Calls(exec, f"open({str(proof)!r}, 'w')")}, tmp_path / "file", pickle_protocol=protocol
    )
    refused(tmp_path / "file")
    assert not proof.exists()


def test_a_function_that_torch_itself_would_call(tmp_path: Path) -> None:
    """`weights_only` allows some that take any size."""
    with (tmp_path / "file").open("wb") as file:
        torch.save({ENTRY: header_of(), "w": Calls(bytearray, 10)}, file)
    torch.load(tmp_path / "file", weights_only=True)
    assert "bytearray" in refused(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        [WEIGHTS["w"]],
        {ENTRY: header_of(), "w": 7},
        {ENTRY: 7, **WEIGHTS},
        {7: WEIGHTS["w"]},
        dict(WEIGHTS),
        {ENTRY: header_of(), **WEIGHTS, "more": torch.ones(1)},
        {ENTRY: header_of(), "w": WEIGHTS["w"].double(), "b": WEIGHTS["b"]},
        {ENTRY: header_of(), "w": WEIGHTS["w"][None], "b": WEIGHTS["b"]},
        {ENTRY: header_of(), "w": torch.ones(1).expand(1000), "b": WEIGHTS["b"]},
        {ENTRY: header_of(), "w": torch.arange(2000.0)[:1000], "b": WEIGHTS["b"]},
        {ENTRY: header_of(), "w": WEIGHTS["w"].to_sparse(), "b": WEIGHTS["b"]},
        {ENTRY: header_of(), "w": torch.empty(1000, device="meta"), "b": WEIGHTS["b"]},
        {ENTRY: header_of(), "w": torch.nn.Parameter(WEIGHTS["w"]), "b": WEIGHTS["b"]},
    ],
)
def test_content_that_no_dictionary_of_plain_tensors_is(content: Any, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        torch.save(content, file)
    refused(tmp_path / "file")


def test_torch_s_older_format(tmp_path: Path) -> None:
    torch.save({ENTRY: header_of(), **WEIGHTS}, tmp_path / "file", _use_new_zipfile_serialization=False)
    refused(tmp_path / "file")


def test_numbers_that_are_not_there(torch_path: Path) -> None:
    """The library would read past the end of what the archive has."""
    lie = {"w": torch.zeros(60_000), "b": WEIGHTS["b"]}

    def change(name: str, content: bytes) -> bytes:
        if name == OUTLINE:
            text, claimed = (header_of(one).encode() for one in (WEIGHTS, lie))
            assert content.count(b"M" + struct.pack("<H", 1000)) == 2  # the storage's numbers, and the shape
            content = content.replace(b"M" + struct.pack("<H", 1000), b"M" + struct.pack("<H", 60_000))
            content = content.replace(struct.pack("<I", len(text)) + text, struct.pack("<I", len(claimed)) + claimed)
        return content

    zipped(torch_path, change)
    assert "the numbers of 'w' are not as many as the file says" in refused(torch_path)


@pytest.mark.parametrize("name", ["torch", "npz"])
def test_archives_that_are_bombs(name: str, tmp_path: Path) -> None:
    write_export(tmp_path / "file", name, {"w": torch.zeros(100_000)}, MANIFEST)
    zipped(tmp_path / "file", lambda name, content: content, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "file").stat().st_size < 20_000
    assert "is compressed" in refused(tmp_path / "file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["torch", "npz"])
def test_archives_with_a_member_twice(name: str, tmp_path: Path) -> None:
    write_export(tmp_path / "file", name, WEIGHTS, MANIFEST)
    with zipfile.ZipFile(tmp_path / "file", "a") as archive:
        again = archive.infolist()[0].filename
        archive.writestr(again, archive.read(again))
    assert "there twice" in refused(tmp_path / "file")


def test_an_outline_that_torch_might_read_in_place_of_ours(tmp_path: Path) -> None:
    """It takes the folder of whichever member comes first; some versions of it refuse others beside that."""
    write_export(tmp_path / "good", "torch", WEIGHTS, MANIFEST)
    with (tmp_path / "evil").open("wb") as file:
        torch.save({ENTRY: header_of(), "w": Calls(bytearray, 10)}, file)
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        for source, folder in (("evil", "evil"), ("good", "archive")):
            with zipfile.ZipFile(tmp_path / source) as members:
                for one in members.infolist():
                    archive.writestr(one.filename.replace("archive", folder, 1), members.read(one))
    assert "does not lie in archive/" in refused(tmp_path / "file")


@pytest.mark.parametrize("name", ["torch", "npz"])
def test_names_that_differ_in_capitals_alone(name: str, tmp_path: Path) -> None:
    """Some libraries make no difference."""
    write_export(tmp_path / "file", name, WEIGHTS, MANIFEST)
    with zipfile.ZipFile(tmp_path / "file", "a") as archive:
        first = archive.infolist()[0].filename
        folder, _, last = first.rpartition("/")
        archive.writestr(f"{folder}/{last.upper()}".lstrip("/"), archive.read(first))
    assert "there twice" in refused(tmp_path / "file")


# -- npz ------------------------------------------------------------------------------------------------------------------


def array(one: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, one, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"w.npy": array(np.array([{}, 7], dtype=object))}, "is not what its"),
        ({"w.npy": array(np.arange(1000, dtype=np.float64))}, "is not what its"),
        ({"w.npy": array(np.arange(1000, dtype=">f4"))}, "is not what its"),
        ({"w.npy": array(np.arange(999, dtype=np.float32))}, "is not what its"),
        ({"w.npy": array(np.arange(1000, dtype=np.float32))[:-4]}, "is not what its"),
        ({"w.npy": array(np.arange(1000, dtype=np.float32)) + b"more"}, "is not what its"),
        ({"w.npy": b"\x93NUMPY\x03\x00"}, "of another version"),
        ({"w.npy": b""}, "of another version"),
        ({"w.npy": array(np.ones(1000, np.float32)).replace(b"{", b"\x00")}, "cannot be read"),
        ({"../../w.npy": array(np.ones(1))}, "its arrays are not those"),
        ({"/w.npy": array(np.ones(1))}, "its arrays are not those"),
        ({"more.npy": array(np.ones(1))}, "its arrays are not those"),
        ({ENTRY: header_of({"w": WEIGHTS["w"]}).encode()}, "its arrays are not those"),
        ({ENTRY: b"\xff"}, "is not JSON"),
    ],
)
def test_arrays_that_are_not_what_the_header_says(change: dict[str, bytes], says: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    members = {ENTRY: header_of().encode(), **{f"{name}.npy": array(one.numpy()) for name, one in WEIGHTS.items()}, **change}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert says in refused(path)


def test_an_npz_of_somebody_else(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", w=np.ones(3))
    assert "is no .npz that `thrifty export` wrote" in refused(tmp_path / "file.npz")


# -- HDF5 -----------------------------------------------------------------------------------------------------------------


def soft_link(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = h5py.SoftLink("/b")


def external_link(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = h5py.ExternalLink(str(folder / "other.h5"), "/w")


def external_numbers(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("w", (1000,), "<f4", external=[(str(folder / "numbers"), 0, 4000)])


def virtual(h5py: Any, file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((1000,), "<f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "w", (1000,))
    file.create_virtual_dataset("w", layout)


def compressed(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("w", data=np.zeros(1000, np.float32), compression="gzip")


def chunked_and_huge(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("w", (2**50,), "<f4", chunks=(2**20,))


def huge_and_never_written(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("w", (2**36,), "<f4")


def group(h5py: Any, file: Any, folder: Path) -> None:
    file.create_group("w")["w"] = np.ones(1000, np.float32)


def cycle(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = file["/"]


def texts(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = np.array(["a"] * 1000, dtype=h5py.string_dtype())


def references(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = np.array([file["b"].ref], dtype=h5py.ref_dtype)


def compound(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = np.zeros(1000, [("a", "<f4"), ("b", "<i4")])


def another_type(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = np.zeros(1000, np.float64)


def another_shape(h5py: Any, file: Any, folder: Path) -> None:
    file["w"] = np.zeros((1000, 1), np.float32)


def nothing(h5py: Any, file: Any, folder: Path) -> None:
    pass


def one_more(h5py: Any, file: Any, folder: Path) -> None:
    file["w"], file["more"] = WEIGHTS["w"].numpy(), np.ones(3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (soft_link, "is a link to elsewhere"), (external_link, "is a link to elsewhere"),
        (external_numbers, "keeps its numbers in other files"), (virtual, "keeps its numbers in other files"),
        (compressed, "is compressed"), (chunked_and_huge, "is compressed"), (huge_and_never_written, "claims more bytes"),
        (group, "is not a dataset"), (cycle, "is not a dataset"),
        (texts, "not numbers"), (references, "not numbers"), (compound, "not numbers"),
        (another_type, "is not what its"), (another_shape, "is not what its"),
        (nothing, "its datasets are not those"), (one_more, "its datasets are not those"),
    ],
)  # fmt: skip
def test_hdf5_that_leads_elsewhere_or_lies(make: Any, says: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "numbers").write_bytes(bytes(4000))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = WEIGHTS["w"].numpy()
    with h5py.File(tmp_path / "file", "w") as file:
        file[ENTRY] = np.frombuffer(header_of().encode(), np.uint8)
        file["b"] = WEIGHTS["b"].numpy()
        make(h5py, file, tmp_path)
    assert says in refused(tmp_path / "file")


def test_hdf5_of_somebody_else(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "file", "w") as file:
        file["w"] = np.ones(3)
    assert "is no HDF5 file that `thrifty export` wrote" in refused(tmp_path / "file")
    with h5py.File(tmp_path / "file", "w") as file:
        file[ENTRY] = header_of()  # a text, not bytes
    assert "not numbers" in refused(tmp_path / "file")


# -- zstd -----------------------------------------------------------------------------------------------------------------


def frame(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(level=3, **options).compress(content)


def claiming(size: int) -> bytes:
    """A frame of some zeros whose header says another size."""
    honest = frame(bytes(2**20))
    place = honest.index(struct.pack("<I", 2**20))
    assert place < 8
    # Four bytes of size become eight by the two highest bits of the frame's first byte.
    return honest[:4] + bytes([honest[4] | 0xC0]) + honest[5:place] + struct.pack("<Q", size) + honest[place + 4 :]


def test_a_frame_that_holds_more_than_it_tells(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(claiming(1000))
    refused(tmp_path / "file")


def test_a_frame_that_tells_of_more_than_it_holds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(claiming(2**20 + 1))
    refused(tmp_path / "file")


def test_a_frame_that_tells_of_more_than_memory_holds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(claiming(2**50))
    assert "more than half of the memory here" in refused(tmp_path / "file")


def test_a_frame_that_tells_of_more_than_the_disk_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(frame(bytes(2**20)))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**19}))
    assert "set TMPDIR" in refused(tmp_path / "file")


def test_a_frame_that_tells_no_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(frame(bytes(2**20), write_content_size=False))
    assert "does not tell how much it holds" in refused(tmp_path / "file")


def test_a_frame_that_asks_for_much_memory_to_unpack(tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, compression_level=3, write_content_size=1)
    compressor = zstandard.ZstdCompressor(compression_params=wide).compressobj(size=2**27 + 2**20)
    (tmp_path / "file").write_bytes(b"".join([*(compressor.compress(bytes(2**20)) for _ in range(129)), compressor.flush()]))
    assert "memory" in refused(tmp_path / "file")


def test_what_is_unpacked_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    unpacked = []
    plain = exported._format_of
    monkeypatch.setattr(exported, "_format_of", lambda path: (unpacked.append(path), plain(path))[1])
    write_export(tmp_path / "file", "npz+zstd", WEIGHTS, MANIFEST)
    read_export(tmp_path / "file")
    (tmp_path / "file").write_bytes(frame(b"no file of ours"))
    refused(tmp_path / "file")
    assert [one.parents[1] for one in unpacked] == [scratch, scratch]
    assert written(scratch) == []


def test_tensors_that_fit_by_themselves_and_not_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit mask holds 64 times what it takes."""
    nearly_zero = {f"w{number}": torch.zeros(100_000, dtype=torch.float64) for number in range(3)}
    write_export(tmp_path / "file", "sparse+zstd", nearly_zero, MANIFEST)
    read_export(tmp_path / "file")
    monkeypatch.setattr(header, "memory_mib", lambda: 3)  # half of it holds one of them
    assert "more than half of the memory here" in refused(tmp_path / "file")


def test_a_container_may_have_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_export(tmp_path / "file", "sparse", {"w": torch.zeros(200_000, dtype=torch.float64)}, MANIFEST)
    read_export(tmp_path / "file")
    monkeypatch.setattr(header, "limits", lambda: Limits(memory_mib=2.0))
    assert "more than half of the memory here" in refused(tmp_path / "file")


# -- archives that two libraries read in two ways ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["torch", "npz"])
@pytest.mark.parametrize("how", ["before", "behind", "between", "another directory"])
def test_an_archive_has_one_reading(name: str, how: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_export(path, name, WEIGHTS, MANIFEST)
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    if how == "before":  # Python reads it as if nothing were there
        content = b"PK\x03\x04" + b"\0" * 200 + content
    elif how == "behind":
        content = content[:-2] + struct.pack("<H", 5) + b"12345"
    elif how == "between":
        content = content[:end] + b"\0" * 64 + content[end:]
    else:  # its end names a directory that lies elsewhere
        offset = struct.unpack("<L", content[end + 16 : end + 20])[0]
        content = content[: end + 16] + struct.pack("<L", max(0, offset - 46)) + content[end + 20 :]
    path.write_bytes(content)
    assert "read in two ways" in refused(path) or how == "between"
