"""The console that results go to."""

from __future__ import annotations

import os

from rich.console import Console, RenderableType

_NO_TERMINAL = 160
"""Columns where output goes to a file or a pipe: nothing is cut off for want of a window."""


def output_console() -> Console:
    """Standard output, as wide as the terminal, or wide enough where there is none."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(width=_NO_TERMINAL)
    return console


def show(renderable: RenderableType, console: Console) -> None:
    """Print a result; in a file or a pipe without the blanks that pad a table's columns."""
    if console.is_terminal:
        console.print(renderable, soft_wrap=True)
        return
    with console.capture() as captured:
        console.print(renderable, soft_wrap=True)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
