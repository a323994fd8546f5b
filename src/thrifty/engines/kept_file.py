"""Files that engines make of a model and leave beside it: taken up again only where we made them here, with the code that we are.

A run's directory may come from elsewhere, and some of these files hold native code. Their seal takes a key that lies with the user, not with
the run: what somebody else has left there is made anew, as is what was altered or cut off. Imports no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from functools import cache
from pathlib import Path

from thrifty.atomic import write_atomically
from thrifty.identity import exporting_code
from thrifty.record import cpu_isa

_KEY_BYTES = 32


def seal_of(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(f"{path.name}.seal")


def seal(path: Path) -> None:
    """Note that we have made a file; where there is no place for a key, nothing can be noted and it is made anew each time.

    Raises:
        OSError: it cannot be written.
    """
    if (key := _key()) is not None:
        write_atomically(seal_of(path), json.dumps({"seal": _seal(path, key)}) + "\n")


def is_ours(path: Path) -> bool:
    """Whether a file is whole, and made by us: by this code, of this version of torch, for a processor like this one."""
    if (key := _key()) is None:
        return False
    try:
        found = json.loads(seal_of(path).read_text())["seal"]
        return hmac.compare_digest(str(found).encode(), _seal(path, key).encode())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def get_ready() -> None:
    """Find out now what seals of any file take."""
    _key()
    exporting_code()
    cpu_isa()


def _seal(path: Path, key: bytes) -> str:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    said = json.dumps([content, exporting_code(), cpu_isa()])
    return hmac.new(key, said.encode(), "sha256").hexdigest()


@cache
def _key() -> bytes | None:
    """The user's, made when it is first needed; None where nobody but the user could be kept from writing it, or nothing can be written."""
    for place in (_cache, _temporary):
        try:
            if len(key := _kept_key(place() / "seal-key")) == _KEY_BYTES:
                return key
        except (OSError, RuntimeError):
            continue
    return None


def _cache() -> Path:
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thrifty"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _temporary() -> Path:
    """Where a user has no home, as in containers: a folder that is theirs alone, which somebody else may have made before."""
    if not hasattr(os, "getuid"):
        raise OSError("no owners are told here")
    place = Path(tempfile.gettempdir()) / f"thrifty-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{place} is not ours alone")
    return place


def _kept_key(path: Path) -> bytes:
    if not path.is_file():
        mine = path.with_name(f".seal-key.{os.getpid()}")
        mine.touch(mode=0o600)
        mine.write_bytes(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(mine, path)  # the first of several wins
        except FileExistsError:
            pass
        except OSError:  # no such links here: the last wins, and what another has sealed meanwhile is made anew
            mine.replace(path)
        finally:
            mine.unlink(missing_ok=True)
    return path.read_bytes()
