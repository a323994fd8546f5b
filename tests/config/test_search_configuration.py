"""What method=optimize is told, and what it refuses."""

from __future__ import annotations

import pytest

from thrifty.config.compose import compose
from thrifty.errors import BadConfiguration


def test_defaults_of_a_search() -> None:
    config = compose(["method=optimize"])
    assert config.objective is not None
    assert (config.objective.name, config.max_quality_loss, config.engine.name, config.quantizer) == (
        "latency",
        0.5,
        "eager",
        None,
    )
    assert compose([]).objective is None
    assert compose(["method=optimize", "max_quality_loss=0"]).max_quality_loss == 0


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["objective=latency"], "goes with method=optimize only"),
        (["method=optimize", "objective=speed"], "latency, throughput, file, memory"),
        (["method=optimize", "engine=compile"], "give method.engines=\\[compile\\]"),
        (["method=optimize", "method.engines=[openvno]"], "did you mean 'openvino'"),
        (["method=optimize", "method.quantizers=[qat_int8]"], "qat_int8 is not one to try"),
        (["method=optimize", "method.precisions=[]"], "leaves nothing to try"),
        (["method=optimize", "method.seconds=0"], "must be above 0"),
        (["method=optimize", "method.threads=[0]"], "must be at least 1"),
        (["method=optimize", "devices=2"], "take devices=1"),
        (["method=optimize", "quantizer=int8_static"], "goes with method=quantize or prune_quantize only"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(typed: list[str], says: str) -> None:
    with pytest.raises(BadConfiguration, match=says) as refused:
        compose(typed)
    assert "\n" not in str(refused.value)
