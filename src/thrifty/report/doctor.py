"""What `thrifty doctor` found, as a page in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.execution.extras import Extra
from thrifty.execution.machine import Machine
from thrifty.execution.usable import UsableDevice
from thrifty.instrument.doctor import Ceiling, Diagnosis
from thrifty.report.numbers import number

_WHERE = {"cpu": "processor", "cuda": "GPU", "mps": "GPU", "disk": ""}
Row = tuple[str, str]


def doctor_page(diagnosis: Diagnosis) -> RenderableType:
    """Machine, what is usable, ceilings, noise floor, troubles."""
    parts: list[RenderableType] = []
    for heading, rows in (("Machine", _machine(diagnosis.machine)), ("Usable", _usable(diagnosis))):
        parts += [Text(heading, style="bold"), _table([("  " + name, text) for name, text in rows])]
    parts.append(Text(f"At best (measured now, {diagnosis.threads} threads)", style="bold"))
    parts.append(_ceilings(diagnosis.ceilings) if diagnosis.ceilings else Text(f"  not measured: {diagnosis.devices_reason}"))
    parts += [Text("Noise floor", style="bold"), Text(f"  {noise_floor_text(diagnosis)}")]
    parts.append(Text("What would spoil a measurement now", style="bold"))
    parts += _troubles(diagnosis)
    parts.append(Text(f"\n{diagnosis.seconds:.1f} s", style="dim"))
    return Group(*parts)


def noise_floor_text(diagnosis: Diagnosis) -> str:
    """How far apart this machine shows a thing and itself."""
    floor = diagnosis.noise_floor
    if floor is None:
        return "not measured; `thrifty doctor` without --quick does"
    between = "" if floor.low is None or floor.high is None else f" ({100 * floor.low:.2g} to {100 * floor.high:.2g} %)"
    return f"{100 * floor.value:.2g} %{between}: smaller differences between two runs mean nothing here"


def _machine(machine: Machine) -> list[Row]:
    isa = f" ({' '.join(machine.isa)})" if machine.isa else ""
    limits, caches = machine.limits, machine.last_cache_mib
    cores = f"{machine.cores_usable} usable of {machine.cores_seen}"
    cores += "" if limits.cores is None else f"; a control group allows the time of {limits.cores:g}"
    memory = "not told by this system" if machine.memory_mib is None else _gib(machine.memory_mib)
    memory += "" if limits.memory_mib is None else f"; a control group allows {_gib(limits.memory_mib)}"
    memory += "" if caches is None else f"; last cache {caches:,.0f} MiB"
    disk = "not told" if machine.disk_free_mib is None or machine.disk_mib is None else (
        f"{_gib(machine.disk_free_mib)} free of {_gib(machine.disk_mib)}"
    )  # fmt: skip
    disk += f"{'' if machine.file_system is None else ', ' + machine.file_system}, at {machine.store}"
    source = "" if machine.commit is None else f", commit {machine.commit[:12]}{' with changes' if machine.dirty else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version is not None)
    return [
        ("cpu", f"{machine.cpu}{isa}"),
        ("cores", cores + ("; a virtual machine" if machine.virtual else "")),
        ("memory", memory),
        ("disk", disk),
        ("system", f"{machine.system}, python {machine.python}"),
        ("versions", versions + source),
    ]


def _usable(diagnosis: Diagnosis) -> list[Row]:
    rows: list[Row] = []
    if diagnosis.devices_reason is not None:
        rows.append(("devices", f"not known: {diagnosis.devices_reason}"))
    for device in diagnosis.devices:
        rows += _device(device)
    rows += [(f"engine={name}", "yes" if reason is None else f"no: {reason}") for name, reason in diagnosis.engines.items()]
    rows += [(f"extra {one.name}", _extra(one)) for one in diagnosis.extras]
    return rows


def _device(device: UsableDevice) -> list[Row]:
    name = f"device={device.name}"
    if device.reason is not None:
        return [(name, f"no: {device.reason}")]
    able = [one for one, reason in device.precisions.items() if reason is None]
    what = "" if device.what is None else f"{device.what}; "
    rows = [(name, f"{what}precision={','.join(able)}")]
    return rows + [("", f"not {one}: {reason}") for one, reason in device.precisions.items() if reason is not None]


def _extra(extra: Extra) -> str:
    here = ", ".join(f"{name} {version}" for name, version in extra.installed.items())
    return f"installed: {here}" if extra.install is None else f"no: {extra.install}"


def _ceilings(ceilings: list[Ceiling]) -> Table:
    rows = []
    for one in ceilings:
        value = one.entry["value"]
        text, note = ("-", one.entry["reason"]) if value is None else (number(value, one.unit), one.note or "")
        rows.append((f"  {one.name}", _WHERE.get(one.device, one.device), text, note))
    table = Table(box=None, pad_edge=False, show_header=False)
    for place in range(3):  # whole at any width; the notes take what is left
        width = max(len(row[place]) for row in rows)
        table.add_column(no_wrap=True, min_width=width, justify="right" if place == 2 else "left")
    table.add_column(style="dim", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _troubles(diagnosis: Diagnosis) -> list[Text]:
    if not diagnosis.troubles:
        return [Text("  nothing that we know to look for", style="green")]
    return [Text.assemble(("  ! ", "yellow"), one.what, ("\n      ", ""), (one.remedy, "cyan")) for one in diagnosis.troubles]


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return table


def _gib(mib: float) -> str:
    return f"{mib / 1024:,.1f} GiB"
