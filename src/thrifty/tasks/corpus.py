"""Files of text as one memory-mapped stream of bytes, with its hash."""

from __future__ import annotations

import hashlib
import mmap
import os
import platform
import stat
import sysconfig
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from thrifty.errors import BadData, nearest

PEEK = 8 * 1024
"""How far a file is searched for the NUL that tells binary from text."""
CHUNK = 1024 * 1024
WHAT_TO_GIVE = "give a text file or a folder of text files"


@dataclass(frozen=True)
class Corpus:
    """The bytes of all files, one after the other."""

    name: str
    """What messages call it: `task.path=...`, or the built-in text."""
    stream: Tensor
    """uint8, mapped read-only: writing to it ends the process."""
    fingerprint: str
    """sha256 of the stream; for a single file what `sha256sum` prints."""
    about: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


def read_corpus(given: str | None) -> Corpus:
    """Map what `task.path` names, or the built-in text.

    Raises:
        BadData: it is missing, empty, unreadable or not text.
    """
    if given is None:
        return _standard_library()
    name, path = f"task.path={given}", Path(given).expanduser()
    try:
        mode = path.stat().st_mode if given else 0  # an empty path is not meant as the current folder
        if stat.S_ISDIR(mode):
            return _folder(name, path)
        if stat.S_ISREG(mode):
            return _file(name, path)
    except (FileNotFoundError, NotADirectoryError):
        raise BadData(f"{name}: there is no such file or folder{_sibling(path)}; {WHAT_TO_GIVE}") from None
    except (OSError, ValueError) as error:
        raise BadData(f"{name}: cannot be read ({_reason(error)}); {WHAT_TO_GIVE}") from error
    raise BadData(f"{name}: is neither a regular file nor a folder; {WHAT_TO_GIVE}")


def readable_size(size: int) -> str:
    """A size for reading: `5.4 MB`, `12 kB`, `900 bytes`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.{1 if size < 10 * unit else 0}f} {name}"
    return f"{size} bytes"


def _file(name: str, path: Path) -> Corpus:
    with path.open("rb") as file:
        if b"\0" in file.read(PEEK):
            raise BadData(f"{name}: is binary (a zero byte within its first {PEEK} bytes); give text, such as a UTF-8 file")
        if not os.fstat(file.fileno()).st_size:
            raise BadData(f"{name}: is empty; {WHAT_TO_GIVE}")
        file.seek(0)
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
        stream = _mapped(file)
    return Corpus(name, stream, fingerprint, [f"{readable_size(len(stream))} of text from {path.name}"])


def _folder(name: str, folder: Path) -> Corpus:
    texts, binaries, links = _text_files(folder)
    left_out = [
        f"{count} {what if count == 1 else what + 's'}" for count, what in ((binaries, "binary file"), (links, "link")) if count
    ]
    if not texts:
        beside = f" (left out: {', '.join(left_out)})" if left_out else ""
        raise BadData(
            f"{name}: holds no text files{beside}; hidden, empty, binary and linked ones do not count; give another folder"
        )
    stream, fingerprint = _joined(name, texts)
    about = [f"{readable_size(len(stream))} of text from {_files(len(texts))} below {folder.name or folder}"]
    if left_out:
        about.append(f"{' and '.join(left_out)} left out")
    return Corpus(name, stream, fingerprint, about)


def _standard_library() -> Corpus:
    folder = Path(sysconfig.get_paths()["stdlib"])
    lines = Path(__file__).with_name("standard_library.txt").read_text(encoding="utf-8").splitlines()
    wanted = sorted(line for line in lines if line and not line.startswith("#"))
    present = [one for one in wanted if (folder / one).is_file()]
    missing = [one for one in wanted if one not in present]
    if not present:
        raise BadData(
            f"the built-in text, source of Python's standard library, is not in {folder}: give task.path=FILE or FOLDER"
        )
    name = "the built-in text"
    try:
        stream, fingerprint = _joined(name, [folder / one for one in present])
    except OSError as error:
        raise BadData(f"{name} cannot be read ({_reason(error)}): give task.path=FILE or FOLDER") from error
    about = [
        f"{readable_size(len(stream))} of Python source from {_files(len(present))} of the standard library "
        f"of Python {platform.python_version()}"
    ]
    if missing:
        about.append(f"{len(missing)} of its {len(wanted)} files are missing here: {', '.join(missing)}")
    return Corpus(name, stream, fingerprint, about, ["data_incomplete"] if missing else [])


def _text_files(folder: Path) -> tuple[list[Path], int, int]:
    """Text files below a folder by relative path, and how many binary files and links were left out.

    No link is followed: one that leads out of the folder is not part of it, one that stays inside would show the same
    text twice, perhaps once to training and once to the test.
    """
    texts: list[Path] = []
    binaries = links = 0

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [one for one in folders if not one.startswith(".")]
        links += sum((Path(parent) / one).is_symlink() for one in folders)
        for path in (Path(parent) / one for one in files if not one.startswith(".")):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                links += 1
            elif stat.S_ISREG(status.st_mode) and status.st_size:
                with path.open("rb") as file:
                    if b"\0" in file.read(PEEK):
                        binaries += 1
                    else:
                        texts.append(path)
    return sorted(texts, key=lambda path: path.relative_to(folder).as_posix()), binaries, links


def _joined(name: str, paths: Iterable[Path]) -> tuple[Tensor, str]:
    """The files' bytes one after the other, mapped from a file without a name, and their sha256."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(prefix="thrifty-") as joined:
        for path in paths:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    try:
                        joined.write(chunk)
                        joined.flush()
                    except OSError as error:
                        where = tempfile.gettempdir()
                        raise BadData(
                            f"{name}: cannot be joined in {where} ({_reason(error)}); set TMPDIR to a folder with more room"
                        ) from error
        return _mapped(joined), digest.hexdigest()


def _mapped(file: IO[Any]) -> Tensor:
    """The file's bytes, which stay mapped after it is closed; a file cut short while mapped ends the process."""
    with warnings.catch_warnings():
        # Torch knows no read-only tensors and says so. A writable, private mapping would be quiet, but the kernel counts
        # it as memory that might be needed, and refuses one larger than the machine's.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=torch.uint8)


def _sibling(path: Path) -> str:
    try:
        return nearest(path.name, [one.name for one in path.parent.iterdir()])
    except OSError:
        return ""


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _reason(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
