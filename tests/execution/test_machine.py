"""Facts about the machine, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from thrifty.execution.machine import describe_machine, existing_directory, file_system, is_virtual, last_cache_mib


def cache(cpus: Path, cpu: int, index: int, level: int, size: str, sharers: str) -> None:
    directory = cpus / f"cpu{cpu}/cache/index{index}"
    directory.mkdir(parents=True)
    for name, text in (("level", str(level)), ("size", size), ("shared_cpu_list", sharers)):
        (directory / name).write_text(text + "\n")


def test_each_of_the_last_caches_counts_once(tmp_path: Path) -> None:
    for cpu in range(4):
        cache(tmp_path, cpu, 0, 1, "32K", str(cpu))
        cache(tmp_path, cpu, 3, 3, "16384K", "0-1" if cpu < 2 else "2-3")
    assert last_cache_mib(tmp_path) == 32.0


def test_the_highest_level_is_the_last(tmp_path: Path) -> None:
    cache(tmp_path, 0, 0, 1, "48K", "0")
    cache(tmp_path, 0, 2, 2, "2M", "0")
    assert last_cache_mib(tmp_path) == 2.0


def test_caches_that_are_not_told_are_none(tmp_path: Path) -> None:
    assert last_cache_mib(tmp_path) is None
    cache(tmp_path, 0, 0, 1, "unknown", "0")
    assert last_cache_mib(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "virtual"),
    [
        ("model name\t: X\nflags\t\t: fpu avx2 hypervisor\n", True),
        ("flags\t\t: fpu avx2\n", False),
        ("Features\t: asimd bf16\n", None),
        (None, None),
    ],
)
def test_a_hypervisor_is_seen_by_its_flag(text: str | None, virtual: bool | None) -> None:
    assert is_virtual(text) is virtual


def test_a_directory_lies_on_the_file_system_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = f"""\
1 0 254:0 / / rw - ext4 /dev/vda rw
2 1 0:5 / {tmp_path} rw shared:1 - xfs /dev/vdb rw
3 2 0:6 / {tmp_path}/deep rw - tmpfs tmpfs rw
4 2 0:7 / {tmp_path}/deep rw - nfs4 host:/x rw
5 1 0:8 / {tmp_path}x rw - btrfs /dev/vdc rw
"""
    assert file_system(mounts, tmp_path / "a/b") == "xfs"
    assert file_system(mounts, tmp_path / "deep/c") == "nfs4"  # mounted over the other
    assert file_system(mounts, Path("/")) == "ext4"
    assert file_system(None, tmp_path) is None


def test_a_store_that_is_not_there_yet_lies_where_it_would_be_made(tmp_path: Path) -> None:
    assert existing_directory(tmp_path / "results/runs") == tmp_path
    (tmp_path / "file").write_text("")
    assert existing_directory(tmp_path / "file") == tmp_path


def test_a_store_that_we_may_not_see_lies_where_we_may(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    is_dir = Path.is_dir

    def refuses(path: Path) -> bool:
        if path == tmp_path / "hidden/results":
            raise PermissionError(13, "Permission denied")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuses)
    assert existing_directory(tmp_path / "hidden/results") == tmp_path


def test_this_machine_is_described(tmp_path: Path) -> None:
    found = describe_machine(tmp_path / "results")
    assert 1 <= found.cores_usable <= found.cores_seen
    assert found.store == str(tmp_path)
    assert found.disk_mib is not None
    assert found.disk_free_mib is not None
    assert 0 <= found.disk_free_mib <= found.disk_mib
    assert found.versions["torch"] is not None
    assert list(tmp_path.iterdir()) == []
