"""Where the configuration files lie: in the repository when installed from it, in the package when from a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def sweeps_directory() -> Path:
    """The folder of the searches."""
    inside = _PACKAGE / "sweeps_shipped"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "sweeps"


def conf_directory() -> Path:
    """The folder of the choices' values."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "conf"
