"""Files that engines make of a model and leave beside it: taken up again only where we made them here, with the code that we are.

A run's directory may come from elsewhere, and some of these files hold native code. Their seal takes a key that lies with the user, not with
the run: what somebody else has left there is made anew, as is what was altered or cut off. Imports no torch.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from functools import cache
from pathlib import Path

from thrifty.atomic import write_atomically
from thrifty.identity import exporting_code
from thrifty.record import cpu_isa


def seal_of(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(f"{path.name}.seal")


def seal(path: Path) -> None:
    """Note that we have made a file.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(seal_of(path), json.dumps({"seal": _seal(path)}) + "\n")


def is_ours(path: Path) -> bool:
    """Whether a file is whole, and made by us: by this code, of this version of torch, for a processor like this one."""
    try:
        found = json.loads(seal_of(path).read_text())["seal"]
        return hmac.compare_digest(str(found).encode(), _seal(path).encode())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _seal(path: Path) -> str:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    said = json.dumps([content, exporting_code(), cpu_isa()])
    return hmac.new(_key(), said.encode(), "sha256").hexdigest()


@cache
def _key() -> bytes:
    """The user's, made when it is first needed; where there is no place for one, seals tell of damage alone."""
    try:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thrifty" / "seal-key"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            mine = path.with_name(f".seal-key.{os.getpid()}")
            mine.touch(mode=0o600)
            mine.write_bytes(secrets.token_bytes(32))
            try:
                os.link(mine, path)  # the first of several wins
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        return path.read_bytes()
    except (OSError, RuntimeError):
        return b""
