"""Runs what README.md tells people to type: each `$ ` line of its ```console blocks, in order, from one directory.

    .venv/bin/python tests/readme_commands.py [README.md] [--in DIRECTORY] [--timeout SECONDS] [--list]

A comment on the line before a block changes what is asked of it:
    <!-- not in ci: needs a GPU -->     is not run, and the reason is printed
    <!-- ci: exit 2 -->                 every command of the block must end with this status
The commands find the programs of the interpreter that runs this script first, as in an activated environment.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_SKIP = re.compile(r"<!--\s*not in ci:\s*(?P<reason>.*\S)\s*-->")
_EXIT = re.compile(r"<!--\s*ci:\s*exit (?P<status>\d+)\s*-->")
_FENCE = re.compile(r"(?P<indent>\s*)(?P<ticks>`{3,})(?P<language>\S*)\s*$")


@dataclass(frozen=True)
class Command:
    """One line to type, and what is asked of it."""

    line: int
    text: str
    status: int = 0
    skip: str = ""


def commands(markdown: str) -> list[Command]:
    """The commands of a page's console blocks; a line that ends in a backslash goes on in the next one."""
    found: list[Command] = []
    lines = markdown.splitlines()
    fence, before, console = "", "", False
    status, skip = 0, ""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        opening = _FENCE.match(line)
        if fence:
            if opening and opening["ticks"] == fence and not opening["language"]:
                fence = before = ""
            elif console and line.strip().startswith("$ "):
                start, text = number, line.strip()[2:]
                while text.endswith("\\") and number < len(lines):
                    text = text[:-1].rstrip() + " " + lines[number].strip().removeprefix("> ")
                    number += 1
                found.append(Command(start, text, status, skip))
        elif opening:
            fence, console = opening["ticks"], opening["language"] == "console"
            skipped, expected = _SKIP.search(before), _EXIT.search(before)
            skip = skipped["reason"] if skipped else ""
            status = int(expected["status"]) if expected else 0
        elif line.strip():
            before = line
    return found


def run(command: Command, directory: Path, timeout: float) -> str:
    """What went wrong, or nothing; a command's whole process group ends with it."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command.text],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        if status == command.status:
            return ""
        output.seek(0)
        tail = "".join("\n    " + line for line in output.read().splitlines()[-40:])
    if status is None:
        return f"not done in {timeout:g} s{tail}"
    return f"ended with {status}, not {command.status}{tail}"


def main() -> int:
    """The number of commands that went wrong, as an exit status."""
    parser = argparse.ArgumentParser(description="Runs the console commands of a Markdown page.")
    parser.add_argument("page", nargs="?", type=Path, default=Path("README.md"))
    parser.add_argument("--in", dest="directory", type=Path, default=Path(), help="where the commands run")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one command")
    parser.add_argument("--list", action="store_true", help="only prints them")
    arguments = parser.parse_args()
    failed = 0
    for command in commands(arguments.page.read_text(encoding="utf-8")):
        where = f"{arguments.page.name}:{command.line}"
        if arguments.list or command.skip:
            print(f"{where}: $ {command.text}" + (f"   (not run: {command.skip})" if command.skip else ""), flush=True)
            continue
        print(f"{where}: $ {command.text}", flush=True)
        started = time.monotonic()
        wrong = run(command, arguments.directory, arguments.timeout)
        failed += bool(wrong)
        print(f"    {time.monotonic() - started:.1f} s, {'FAILED: ' + wrong if wrong else 'ok'}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
