"""What fewer bits and other engines save, as a user sees it: python tests/benchmarks/quantising.py

Two grids of `method=quantize`, each with the table that it ends with; some twenty minutes each on two cores, most of it compiling.
"""

from __future__ import annotations

from _grids import publish_grids

COMMON = [
    "method=quantize",
    "quantizer=int8_dynamic,int8_weight,int8_static",
    "engine=eager,compile,onnxruntime,openvino",
]
GRIDS = {"text": [*COMMON, "task=text", "model=tiny"], "image": [*COMMON, "task=image", "architecture=resnet"]}

if __name__ == "__main__":
    publish_grids(__doc__, GRIDS, "quantising", "What fewer bits and other engines save")
