"""Every trouble by a reading that shows it, and none where all is well."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from thrifty.execution.readings import Reading
from thrifty.execution.troubles import troubles

HEALTHY = Reading(
    others_cores=0.02,
    busiest=(),
    stolen_share=0.0,
    cores_usable=8,
    quota_cores=None,
    powersave_cores=0,
    throttled=None,
    on_battery=False,
    swap_used_mib=0.0,
    memory_free_mib=16_000.0,
    memory_limited=False,
    shared_memory_free_mib=8_000.0,
    temporary_directory="/tmp",
    temporary_free_mib=9_000.0,
    store_free_mib=9_000.0,
    fork_server_known=True,
    fork_server_fits=True,
)
UNTOLD = replace(
    HEALTHY,
    **{
        one.name: None
        for one in fields(Reading)
        if "None" in str(one.type) and one.name not in ("temporary_directory", "quota_cores")
    },
)
LONG = "/tmp/" + "x" * 90


def test_a_healthy_machine_has_none() -> None:
    assert troubles(HEALTHY) == []


def test_what_is_not_told_is_no_trouble() -> None:
    assert UNTOLD.others_cores is UNTOLD.memory_free_mib is UNTOLD.on_battery is None
    assert troubles(UNTOLD) == []


@pytest.mark.parametrize(
    ("changed", "name", "what", "remedy"),
    [
        ({"others_cores": 1.254}, "busy", "1.25 cores busy", "top"),
        ({"others_cores": 1.5, "busiest": ("cc1 (88) 0.96",)}, "busy", "1.50 cores busy: cc1 (88) 0.96", "stop them, or wait"),
        ({"stolen_share": 0.07}, "steal", "takes 7 %", "cores of its own"),
        ({"quota_cores": 2.5}, "quota", "2.5 cores' time, and 8 cores are seen", "threads=2"),
        ({"quota_cores": 0.5}, "quota", "0.5 cores' time", "threads=1"),
        ({"powersave_cores": 3}, "powersave", "3 cores", "cpupower frequency-set -g performance"),
        ({"throttled": "slowed 3 times while we looked"}, "throttling", "slowed 3 times", "let it cool"),
        ({"on_battery": True}, "battery", "battery", "plug it in"),
        ({"swap_used_mib": 1234.0}, "swap", "1,234 MiB", "swapoff"),
        ({"memory_free_mib": 700.0}, "memory", "700 MiB", "smaller model"),
        ({"memory_free_mib": 700.0, "memory_limited": True}, "memory", "700 MiB", "--memory"),
        ({"shared_memory_free_mib": 63.0}, "shared_memory", "/dev/shm", "--shm-size"),
        ({"temporary_free_mib": 10.0}, "temporary_directory", "/tmp has 10 MiB", "TMPDIR"),
        ({"temporary_directory": None, "fork_server_fits": False}, "temporary_directory", "no temporary directory", "TMPDIR"),
        ({"store_free_mib": 100.0}, "store", "store's disk has 100 MiB", "store=DIR"),
        ({"fork_server_known": False, "fork_server_fits": False}, "fork_server", "no fork servers", "Linux and macOS"),
        ({"temporary_directory": LONG, "fork_server_fits": False}, "fork_server", "too long", "TMPDIR"),
    ],
)
def test_each_has_its_line_and_what_to_do(changed: dict[str, Any], name: str, what: str, remedy: str) -> None:
    (found,) = troubles(replace(HEALTHY, **changed))
    assert found.name == name
    assert what in found.what
    assert remedy in found.remedy
    assert "\n" not in found.what + found.remedy


@pytest.mark.parametrize(
    "changed",
    [{"others_cores": 0.1}, {"stolen_share": 0.01}, {"quota_cores": 8.0}, {"swap_used_mib": 64.0}, {"memory_free_mib": 2048.0}],
)
def test_what_just_will_do_is_none(changed: dict[str, Any]) -> None:
    assert troubles(replace(HEALTHY, **changed)) == []


def test_all_of_them_are_told_at_once_what_spoils_most_first() -> None:
    found = troubles(replace(HEALTHY, store_free_mib=1.0, others_cores=2.0, on_battery=True))
    assert [one.name for one in found] == ["busy", "battery", "store"]
