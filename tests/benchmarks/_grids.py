"""Grids as a user types them, each with the table that it ends with."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence

import _report
from _commands import RUN, output_of


def publish_grids(about: str | None, grids: Mapping[str, Sequence[str]], name: str, title: str) -> None:
    """Run them; print and write what they print.

    Args:
        about: what the script is for, in its first line.
        grids: what is typed after `python run.py -m`, by a name.
        name, title: of the page.
    """
    parser = _report.parser(about)
    parser.add_argument("--only", default="", choices=("", *grids), help="only this grid")
    parser.add_argument("--add", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for every run")
    options = parser.parse_args()
    lines = []
    for which, typed in grids.items():
        if options.only not in ("", which):
            continue
        given = [*typed, *options.add]
        with tempfile.TemporaryDirectory() as folder:
            # A refused or unsupported run is a line of the table, with its reason.
            printed = output_of([*RUN, "-m", *given, "logger=none"], folder, allowed=(0, 3), COLUMNS="180")
        shown = printed.strip().rsplit("\n", 1)[0].rstrip()  # without the line that names the folder
        lines += ["", f"    {shlex.join(['python', 'run.py', '-m', *given])}", "", "```text", shown, "```"]
    _report.publish(name, title, lines[1:], options.results)
