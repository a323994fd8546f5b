"""Files beside a run: taken up again where they are ours, and made anew where they are not."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from thrifty.engines import kept_file
from thrifty.engines.kept_file import is_ours, seal, seal_of


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


def test_without_a_place_for_a_key_damage_is_still_seen(file: Path, key: Path) -> None:
    shutil.rmtree(key.parent)
    key.parent.write_text("a file where the folder should be")
    kept_file._key.cache_clear()
    seal(file)
    assert is_ours(file)
    file.write_bytes(b"other")
    assert not is_ours(file)
