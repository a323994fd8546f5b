"""Whether inductor could compile C++ here, asked as it asks, and without its imports, which take seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_USUAL = {"darwin": "clang++", "win32": "cl"}
_GET = {
    "linux": "install one (Debian: apt install g++)",
    "darwin": "install one (xcode-select --install)",
    "win32": "install Visual Studio's build tools and start from their command prompt",
}


def why_no_compiler() -> str | None:
    """What is missing for compiling C++ against Python, in a line with how to get it; None where nothing is.

    Source: get_cpp_compiler of torch/_inductor/cpp_builder.py and `cpp.cxx` of its config.py: $CXX, or one usual name.
    """
    usual = _USUAL.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    if not _runs(name):
        if "CXX" in os.environ:
            return f"needs a C++ compiler (g++ or clang++), and CXX={name} is none that runs; set CXX to one, or unset it"
        other = next((one for one in ("clang++", "g++") if one != usual and shutil.which(one)), None)
        if other is not None:
            return f"needs a C++ compiler and looks for {usual}, which is not here; {other} is: set CXX={other}"
        return f"needs a C++ compiler (g++ or clang++), none was found; {_GET.get(sys.platform, _GET['linux'])}"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return f"needs Python's headers, and there is no {headers / 'Python.h'}; install them (Debian: apt install python3-dev)"
    if sys.platform != "win32" and shutil.which("openssl") is None:  # by which it tells whether headers have changed
        return "needs the command openssl, which is not here; install it (Debian: apt install openssl)"
    return None


def _runs(compiler: str) -> bool:
    try:
        # Visual Studio's prints its help without being asked, and takes no --version.
        command = [compiler] if sys.platform == "win32" else [compiler, "--version"]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=sys.platform != "win32")
    except (OSError, subprocess.SubprocessError):
        return False
    return True
