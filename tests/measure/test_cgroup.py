"""Limits of control groups, from files as kernels, container engines and schedulers write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from thrifty.measure.cgroup import Limits, group_directories, limits, memory_limit, quota_cores

VERSION_2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
VERSION_1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""


def group(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def proc(tmp_path: Path, memberships: str, mounts: str) -> Path:
    """A /proc/self whose hierarchies lie in `tmp_path/cgroup`."""
    group(tmp_path / "proc", cgroup=memberships, mountinfo=mounts.replace("/sys/fs/cgroup", str(tmp_path / "cgroup")))
    return tmp_path / "proc"


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("200000 50000", 4.0), ("-1 100000", None), ("0 100000", None)],
)
def test_a_quota_is_told_in_cores(text: str, cores: float | None) -> None:
    assert quota_cores(text) == cores


@pytest.mark.parametrize(
    ("text", "size"), [("max\n", None), ("536870912\n", 536870912), ("9223372036854771712\n", None), ("0", 0)]
)
def test_a_memory_limit_is_told_in_bytes(text: str, size: int | None) -> None:
    assert memory_limit(text) == size


def test_groups_of_version_2_are_ours_and_those_above() -> None:
    found = group_directories("0::/user.slice/job.scope\n", VERSION_2, "cpu")
    top = Path("/sys/fs/cgroup")
    assert list(found) == [top / "user.slice/job.scope", top / "user.slice", top]


def test_groups_of_version_1_are_those_of_the_controller() -> None:
    memberships = "5:memory:/docker/abc\n3:cpu,cpuacct:/batch\n2:cpuset:/other\n0::/unified\n"
    top = Path("/sys/fs/cgroup")
    assert list(group_directories(memberships, VERSION_1, "cpu")) == [top / "cpu,cpuacct/batch", top / "cpu,cpuacct"]
    assert next(group_directories(memberships, VERSION_1, "memory")) == top / "memory/docker/abc"


def test_in_a_container_the_mount_shows_only_what_is_below_its_root() -> None:
    mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert list(group_directories("5:memory:/docker/abc/job\n", mounts, "memory")) == [
        Path("/sys/fs/cgroup/memory/job"),
        Path("/sys/fs/cgroup/memory"),
    ]
    assert list(group_directories("5:memory:/elsewhere\n", mounts, "memory")) == [Path("/sys/fs/cgroup/memory")]


def test_the_tightest_limit_of_all_groups_counts(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    group(top / "a", cpu__max="150000 100000", memory__max=str(512 * 2**20), memory__current=str(300 * 2**20),
          memory__stat=f"anon 5\ninactive_file {100 * 2**20}\n")  # fmt: skip
    group(top / "a/b", cpu__max="400000 100000", memory__max="max")
    assert limits(proc(tmp_path, "0::/a/b\n", VERSION_2)) == Limits(1.5, 512.0, 200.0)


def test_limits_of_version_1(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    group(top / "cpu,cpuacct/x", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    group(top / "memory/x", memory__limit_in_bytes=str(2**30), memory__usage_in_bytes=str(2**29),
          memory__stat=f"inactive_file 1\ntotal_inactive_file {2**28}\n")  # fmt: skip
    group(top / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes=str(2**33))
    found = limits(proc(tmp_path, "4:memory:/x\n3:cpu,cpuacct:/x\n", VERSION_1))
    assert found == Limits(0.5, 1024.0, 256.0)


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    assert limits(tmp_path / "none") == Limits()
    assert limits(proc(tmp_path, "0::/a\n", VERSION_2)) == Limits()
    assert limits(proc(tmp_path, "nonsense\n\n", "more nonsense\n - \n")) == Limits()


def test_a_file_of_another_form_is_no_limit(tmp_path: Path) -> None:
    group(tmp_path / "cgroup", cpu__max="plenty", memory__max="much")
    assert limits(proc(tmp_path, "0::/\n", VERSION_2)) == Limits()
