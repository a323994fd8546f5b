"""What the control groups of this process (a container's limits, a scheduler's) allow it. Linux, both versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")
_NO_LIMIT_BYTES = 2**60
"""Version 1 writes `no limit` as the largest number of whole pages."""


@dataclass(frozen=True)
class Limits:
    """None where there is no limit, or none can be read."""

    cores: float | None = None
    """CPU time allowed, in cores."""
    memory_mib: float | None = None
    memory_used_mib: float | None = None
    """Counted against `memory_mib`, less the files' pages that would be dropped."""


def limits(proc: Path = _PROC) -> Limits:
    """The tightest of the groups that this process is in."""
    try:
        memberships, mounts = (proc / "cgroup").read_text(), (proc / "mountinfo").read_text()
    except OSError:
        return Limits()
    cores = [_cores(one) for one in group_directories(memberships, mounts, "cpu")]
    memories = [(_bytes(one), one) for one in group_directories(memberships, mounts, "memory")]
    limited = [(size, one) for size, one in memories if size is not None]
    tightest, where = min(limited, default=(None, None), key=lambda pair: pair[0])
    return Limits(
        min((one for one in cores if one is not None), default=None),
        None if tightest is None else tightest / 2**20,
        None if where is None else _used_mib(where),
    )


def group_directories(memberships: str, mounts: str, controller: str) -> Iterator[Path]:
    """The directories that limit us for a controller, ours first, then its parents as far as we can see.

    Args:
        memberships: /proc/self/cgroup, lines of `number:controllers:path`; version 2 names no controllers.
        mounts: /proc/self/mountinfo.
    """
    for line in memberships.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = _mount(mounts, controller if controllers else None)
        if mount is None:
            continue
        root, point = mount
        # In a container the path is often told as the host has it, and only the part below the mount's root is to be seen.
        inside = PurePosixPath(path)
        below = inside.relative_to(root) if inside.is_relative_to(root) else PurePosixPath(".")
        directory = Path(point, below)
        yield directory
        for _ in below.parts:
            directory = directory.parent
            yield directory


def _mount(mounts: str, controller: str | None) -> tuple[str, str] | None:
    """Root and mount point of a controller's hierarchy; of version 2's where `controller` is None."""
    for line in mounts.splitlines():
        front, _, back = line.partition(" - ")
        before, after = front.split(), back.split()
        if len(before) < 5 or not after:
            continue
        kind, options = after[0], after[-1].split(",")
        if kind == ("cgroup2" if controller is None else "cgroup") and (controller is None or controller in options):
            return before[3], before[4].replace("\\040", " ")
    return None


def quota_cores(text: str) -> float | None:
    """Cores' worth of time that `cpu.max` (`quota period`, or `max period`) or the two numbers of version 1 allow."""
    quota, period = text.split()[:2]
    return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)


def memory_limit(text: str) -> int | None:
    """Bytes that `memory.max` or `memory.limit_in_bytes` allows."""
    text = text.strip()
    return None if text == "max" or int(text) >= _NO_LIMIT_BYTES else int(text)


def _cores(directory: Path) -> float | None:
    text = _text(directory / "cpu.max")
    if text is None:
        parts = [_text(directory / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        text = None if None in parts else " ".join(part.strip() for part in parts if part)
    try:
        return None if text is None else quota_cores(text)
    except ValueError:
        return None


def _bytes(directory: Path) -> int | None:
    text = _text(directory / "memory.max")
    text = _text(directory / "memory.limit_in_bytes") if text is None else text
    try:
        return None if text is None else memory_limit(text)
    except ValueError:
        return None


def _used_mib(directory: Path) -> float | None:
    text = _text(directory / "memory.current")
    text = _text(directory / "memory.usage_in_bytes") if text is None else text
    try:
        if text is None:
            return None
        fields = dict(line.split(maxsplit=1) for line in (_text(directory / "memory.stat") or "").splitlines())
        droppable = int(fields.get("total_inactive_file", fields.get("inactive_file", "0")))
        return max(0, int(text) - droppable) / 2**20
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
