"""Files beside a run: taken up again where they are ours, and made anew where they are not."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from thrifty.engines import kept_file
from thrifty.engines.kept_file import is_ours, seal, seal_of

POSIX = pytest.mark.skipif(not hasattr(os, "getuid"), reason="only POSIX tells whose a folder is")


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's, in a place of the test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept_file._key.cache_clear()
    yield tmp_path / "cache" / "thrifty" / "seal-key"
    kept_file._key.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph")
    seal(path)
    return path


def test_what_we_made_is_ours(file: Path, key: Path) -> None:
    assert is_ours(file)
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    kept_file._key.cache_clear()  # as another process
    assert is_ours(file)


@pytest.mark.parametrize("content", [b"grap", b"", b"another"])
def test_what_was_changed_is_not(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert not is_ours(file)


def test_what_is_gone_is_not(file: Path) -> None:
    file.unlink()
    assert not is_ours(file)


@pytest.mark.parametrize("said", ["", "{", "[]", "null", '{"seal": null}', '{"seal": 7}', "\xff"])
def test_a_seal_that_is_none(file: Path, said: str) -> None:
    seal_of(file).write_bytes(said.encode("latin-1"))
    assert not is_ours(file)


def test_another_user_s_is_not(file: Path, key: Path) -> None:
    """A whole directory of somebody else's, seal and all."""
    key.unlink()
    kept_file._key.cache_clear()
    assert not is_ours(file)


def test_what_other_code_or_another_processor_made_is_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "exporting_code", lambda: "of another version")
        assert not is_ours(file)
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "cpu_isa", lambda: ["avx2"])
        assert not is_ours(file)
    assert is_ours(file)


@pytest.fixture
def homeless(file: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder among the temporary files, where the user has no home."""
    shutil.rmtree(key.parent)
    key.parent.write_text("a file where the folder should be")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept_file._key.cache_clear()
    return tmp_path / f"thrifty-{os.getuid()}"


@POSIX
def test_without_a_home_the_key_lies_among_temporary_files(file: Path, homeless: Path) -> None:
    assert not is_ours(file)
    seal(file)
    kept_file._key.cache_clear()  # as another process
    assert is_ours(file)
    assert stat.S_IMODE(homeless.stat().st_mode) == 0o700


@POSIX
@pytest.mark.parametrize("made", ["open to all", "a link", "a file"])
def test_without_any_place_for_a_key_nothing_is_ours(made: str, file: Path, homeless: Path, tmp_path: Path) -> None:
    """A seal without a key could be made by anybody."""
    if made == "open to all":
        homeless.mkdir()
        homeless.chmod(0o777)
    elif made == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        homeless.symlink_to(tmp_path / "theirs")
    else:
        homeless.touch()
    before = seal_of(file).read_bytes()
    seal(file)
    assert not is_ours(file)
    assert seal_of(file).read_bytes() == before


def test_a_key_that_was_cut_off_is_none(file: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    key.write_bytes(b"")
    kept_file._key.cache_clear()
    assert kept_file._key() != b""
    assert not is_ours(file)


def test_without_hard_links_there_is_a_key_too(file: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    key.unlink()
    kept_file._key.cache_clear()
    monkeypatch.setattr(os, "link", link)
    seal(file)
    assert is_ours(file)
    assert [one.name for one in key.parent.iterdir()] == ["seal-key"]
