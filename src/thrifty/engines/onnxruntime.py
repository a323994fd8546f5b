"""ONNX Runtime, of a file that torch exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thrifty.config.choices import engines
from thrifty.engines.base import Engine
from thrifty.engines.onnx_engine import OnnxEngine, Run


class OnnxRuntime(OnnxEngine):
    """On the CPU. A model with scales found at every call computes in integers, by one scale for all rows of a call."""

    name = "onnxruntime"
    any_length = True
    extra = "onnx"
    library = "onnxruntime"
    precisions = ("fp32",)
    integer_products = True

    def open_file(self, path: Path, threads: int, precision: str, shapes: list[list[int]]) -> Run:
        """A session, for inputs of other sizes as well."""
        onnxruntime = library()
        onnxruntime.set_default_logger_severity(3)  # errors; it warns of every processor that it does not know
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]
        return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def library() -> Any:
    """ONNX Runtime itself."""
    import onnxruntime

    return onnxruntime


def build(config: engines.Engine) -> Engine:
    """The engine a configuration names."""
    return OnnxRuntime()
