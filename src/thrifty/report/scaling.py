"""What size buys with the same compute, and what more compute buys."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from thrifty.report.numbers import number
from thrifty.sweeps.power_law import PowerLaw, Scaling


def scaling_report(found: Scaling, metric: str) -> list[Table | Text]:
    """A line for each compute, and the laws over them."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("compute", "sizes", "best size", metric, f"{metric} over parameters"):
        table.add_column(heading, justify="right", no_wrap=True)
    for ladder in found.ladders:
        parameters, value = ladder.best
        sizes = len({one for one, _ in ladder.points})
        table.add_row(number(ladder.flops, "FLOP"), str(sizes), number(parameters, ""), f"{value:.4g}", _law(ladder.law, "N"))
    parts: list[Table | Text] = [Text("\nEqual compute, several sizes", style="bold"), table]
    if found.of_compute is not None:
        parts.append(Text(f"best {metric} over compute: {_law(found.of_compute, 'C')}"))
    if found.best_size is not None:
        parts.append(Text(f"best size over compute: {_law(found.best_size, 'C')}"))
    if found.of_compute is None:
        parts.append(Text("a law over compute takes three budgets; give budget.flops several values", style="dim"))
    return parts


def _law(law: PowerLaw | None, over: str) -> str:
    if law is None:
        return "-"
    of = law.exponent
    return f"{law.factor:.3g} {over}^{of.value:.3g} ({of.low:.3g} to {of.high:.3g})"
