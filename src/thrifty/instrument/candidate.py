"""One of the ways to predict that a search may try."""

from __future__ import annotations

from dataclasses import dataclass

from thrifty.config.choices.methods import NO_QUANTIZER


@dataclass(frozen=True)
class Candidate:
    """A way to predict with the dense model's weights."""

    quantizer: str
    precision: str
    engine: str
    threads: int
    batch_size: int

    @property
    def name(self) -> str:
        """As people read it: `int8_static openvino, 2 threads, batch 1`."""
        what = [*([] if self.quantizer == NO_QUANTIZER else [self.quantizer]), self.precision, self.engine]
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{' '.join(what)}, {threads}, batch {self.batch_size}"
