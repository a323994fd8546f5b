"""What one run leaves behind: result.json, and the facts about the machine that stand in it."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from thrifty.identity import training_code

SCHEMA = 1
STATUSES = ("ok", "diverged", "oom", "unsupported", "killed", "preempted", "error", "running")
NOT_IDENTITY = ("store", "name", "tags", "logger")
"""Keys that say where a run goes and what it is called, not what it is."""
_PACKAGES = (
    *("torch", "torchao", "torch-pruning", "pytorch-lightning", "hydra-core", "wandb", "numpy", "scikit-learn", "pandas"),
    *("safetensors", "onnxruntime", "openvino", "onnx", "onnxscript"),
)


def config_hash(config: dict[str, Any]) -> str:
    """sha256, in hex, of what a configuration does (its name, tags, store and logger left out)."""
    identity = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def weights_hash(config: dict[str, Any]) -> str:
    """sha256, in hex, of what of a configuration decides the weights: not how they are executed and measured, but how many examples a
    validation looks at, which may end a training.
    """
    kept = {key: value for key, value in config.items() if key not in ("engine", "measure", "profile")}
    return config_hash({**kept, "examples": config["measure"].get("examples")})


def reproducing_command(overrides: list[str]) -> str:
    """The line that runs the same experiment again."""
    return shlex.join(["python", "run.py", *overrides])


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_record(config: dict[str, Any], overrides: list[str], attempt: str) -> dict[str, Any]:
    """A record as it stands when a run begins."""
    return {
        "schema": SCHEMA,
        "id": "",
        "status": "running",
        "reason": None,
        "config": config,
        "overrides": overrides,
        "command": reproducing_command(overrides),
        "config_hash": config_hash(config),
        "attempt": {"token": attempt, "host": platform.node(), "pid": os.getpid()},
        "environment": environment(),
        "started": now(),
        "finished": None,
        "seed": config["seed"],
        "parents": [],
        "data": {},
        "conditions": {},
        "metrics": {},
        "flags": [],
    }


def environment() -> dict[str, Any]:
    """The machine and the software, as far as they can be told without torch."""
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": usable_cores(),
        "memory_mib": memory_mib(),
        "gpu": None,
        "driver": None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("thrifty", *_PACKAGES)},
        **_source(),
        "training_code": training_code(),
    }


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_isa() -> list[str]:
    """Of this processor, the instruction sets that decide how fast which precision is; empty where they cannot be told."""
    return _cpu()["isa"]


@cache
def _cpu() -> dict[str, Any]:
    """Name, and those instruction sets that decide how fast which precision is."""
    telling = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
    name, flags = platform.processor() or platform.machine(), []
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            label, _, value = line.partition(":")
            if label.strip() == "model name":
                name = value.strip()
            elif label.strip() in ("flags", "Features"):
                flags = [flag for flag in telling if flag in value.split()]
                break
    except OSError:
        flags = []  # not Linux: the name has to do
    return {"name": name, "isa": flags}


def memory_mib() -> int | None:
    """Memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError, AttributeError):
        return None


@cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def _source() -> dict[str, Any]:
    """Commit of the source tree we run from; None from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        lines = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout.splitlines()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}


def to_json(value: Any) -> str:
    """JSON that any reader takes: not-a-number and infinities become null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) <= sys.float_info.max else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
