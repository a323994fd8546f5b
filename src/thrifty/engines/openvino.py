"""OpenVINO, of a file that torch exports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thrifty.config.choices import engines
from thrifty.engines.base import Engine
from thrifty.engines.onnx_engine import OnnxEngine, Run

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVino(OnnxEngine):
    """On the CPU. Scales found at every call are left out: weights are integers, and activations as the precision has them."""

    name = "openvino"
    extra = "openvino"
    library = "openvino"
    precisions = tuple(_HINTS)
    integer_products = False

    def open_file(self, path: Path, threads: int, precision: str, shapes: list[list[int]]) -> Run:
        """The model, compiled for the shapes."""
        core = library().Core()
        model = core.read_model(path)
        model.reshape(dict(enumerate(shapes)))
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # which cores are ours is said by the process's affinity
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()

        def run(*inputs: Any) -> Sequence[Any]:
            # Several are of a memory, which is large, and nobody changes it meanwhile.
            return request.infer(list(inputs), share_inputs=len(inputs) > 1, share_outputs=True).to_tuple()

        return run


def library() -> Any:
    """OpenVINO without its telemetry: that tells its makers of every process, by one that it forks, which may hang and hold our pipes."""
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType] - so that importing it fails
    import openvino

    return openvino


def build(config: engines.Engine) -> Engine:
    """The engine a configuration names."""
    return OpenVino()
