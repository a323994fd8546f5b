"""Files become one mapped stream of bytes, or one line that says why not."""

import hashlib
import os
import sysconfig
from pathlib import Path

import pytest
import torch

from thrifty.errors import BadData
from thrifty.tasks import corpus
from thrifty.tasks.corpus import read_corpus, readable_size


def content(given: Path | str) -> bytes:
    return bytes(read_corpus(str(given)).stream.tolist())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "texts"
    (inside / "b").mkdir(parents=True)
    (inside / "b" / "second.txt").write_bytes(b"second\n")
    (inside / "a.txt").write_bytes(b"first\n")
    (inside / "z").write_bytes(b"third, no newline")
    return inside


def refusal(given: Path | str, todo: str = "give") -> str:
    with pytest.raises(BadData) as caught:
        read_corpus(str(given))
    message = str(caught.value)
    assert "\n" not in message
    assert "task.path={}".format(str(given).replace("\0", r"\x00")) in message
    assert todo in message
    return message


def test_one_file_is_mapped_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"hello \xff\n" * 700)
    read = read_corpus(str(path))
    assert read.stream.dtype == torch.uint8
    assert bytes(read.stream.tolist()) == path.read_bytes()
    assert read.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read.about == ["5.6 kB of text from text.txt"]
    assert read.flags == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the kernel's list of mappings")
def test_nothing_is_left_in_the_temporary_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    read = read_corpus(str(folder))
    assert list(temporary.iterdir()) == []
    assert str(temporary) in Path("/proc/self/maps").read_text()  # mapped from the file that has lost its name
    assert len(read.stream) == 30


def test_a_folder_is_joined_in_the_order_of_relative_paths(folder: Path) -> None:
    read = read_corpus(str(folder))
    assert bytes(read.stream.tolist()) == b"first\nsecond\nthird, no newline"
    assert read.fingerprint == hashlib.sha256(b"first\nsecond\nthird, no newline").hexdigest()
    assert read.about == ["30 bytes of text from 3 files below texts"]


def test_a_folder_leaves_out_hidden_binary_empty_and_linked_files(folder: Path, tmp_path: Path) -> None:
    before = content(folder)
    (folder / ".hidden").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    (folder / "empty").touch()
    (folder / "image").write_bytes(b"\x89PNG\0")
    (folder / "late").write_bytes(b"x" * corpus.PEEK + b"\0")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / "a_again.txt").symlink_to(folder / "a.txt")
    os.mkfifo(folder / "pipe")
    read = read_corpus(str(folder))
    late = b"x" * corpus.PEEK + b"\0"  # text as far as is looked
    assert bytes(read.stream.tolist()) == before.replace(b"third", late + b"third")
    assert read.about[1] == "1 binary file and 3 links left out"


def test_a_link_to_a_file_or_folder_may_be_given_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "file").symlink_to(folder / "a.txt")
    assert content(tmp_path / "link") == content(folder)
    assert content(tmp_path / "file") == b"first\n"


def test_missing_names_the_nearest(folder: Path) -> None:
    assert "did you mean 'texts'?" in refusal(folder.parent / "text")
    assert "no such file or folder" in refusal(folder / "a.txt" / "below a file")
    assert "no such file or folder" in refusal("nowhere/at/all")


def test_unusable_paths(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert "is empty" in refusal(tmp_path / "empty.txt")
    (tmp_path / "weights.bin").write_bytes(b"text at first\0")
    assert "is binary" in refusal(tmp_path / "weights.bin")
    os.mkfifo(tmp_path / "pipe")
    assert "neither a regular file nor a folder" in refusal(tmp_path / "pipe")
    refusal("")
    refusal("a\0b")
    refusal("x" * 5000)


def test_a_folder_without_text(tmp_path: Path) -> None:
    empty = tmp_path / "folder"
    empty.mkdir()
    assert "holds no text files;" in refusal(empty)
    (empty / "image").write_bytes(b"\0")
    (empty / "other").write_bytes(b"\0")
    assert "left out: 2 binary files" in refusal(empty)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_no_room_to_join(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
        assert "set TMPDIR to a folder with more room" in refusal(folder, todo="set TMPDIR")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable(folder: Path) -> None:
    (folder / "a.txt").chmod(0)
    assert "cannot be read (Permission denied" in refusal(folder / "a.txt")
    assert "a.txt" in refusal(folder)


def test_the_built_in_text_is_here_in_full() -> None:
    read = read_corpus(None)
    assert 3e6 < len(read.stream) < 7e6
    assert read.flags == []
    assert len(read.about) == 1
    assert "of Python source from 74 files of the standard library" in read.about[0]
    assert read.fingerprint == read_corpus(None).fingerprint


def test_built_in_files_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(BadData, match=r"give task\.path"):
        read_corpus(None)
    (tmp_path / "ast.py").write_text("import ast\n" * 100)
    read = read_corpus(None)
    assert bytes(read.stream.tolist()) == b"import ast\n" * 100
    assert read.flags == ["data_incomplete"]
    assert "73 of its 74 files are missing here: _collections_abc.py, " in read.about[1]


@pytest.mark.parametrize(
    ("size", "shown"), [(900, "900 bytes"), (1500, "1.5 kB"), (5_400_000, "5.4 MB"), (12_000_000, "12 MB"), (2**30, "1.1 GB")]
)
def test_readable_size(size: int, shown: str) -> None:
    assert readable_size(size) == shown
