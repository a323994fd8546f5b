"""What a sweep varies, in Hydra's grammar."""

from __future__ import annotations

import pytest

from thrifty.config.registry import CHOICES
from thrifty.config.space import Dimension, Interval, label, space_of
from thrifty.errors import BadConfiguration


def dimension(override: str) -> Dimension:
    (found,) = space_of([override]).dimensions
    return found


@pytest.mark.parametrize(
    ("override", "values", "numbers"),
    [
        ("model=nano,tiny", ("nano", "tiny"), None),
        ("model=choice(nano,tiny)", ("nano", "tiny"), None),
        ("seed=range(1,4)", ("1", "2", "3"), Interval(1, 3, True, step=1)),
        ("seed=range(0,10,4)", ("0", "4", "8"), Interval(0, 8, True, step=4)),
        ("x=range(0,1,0.25)", ("0.0", "0.25", "0.5", "0.75"), Interval(0, 0.75, False, step=0.25)),
        ("x=range(3,4)", ("3",), None),
        ("x=range(3,0,-1)", ("3", "2", "1"), None),
        ("x=interval(0,2)", (), Interval(0, 2, False)),
        ("x=int(interval(1,8))", (), Interval(1, 8, True)),
        ("x=tag(log,interval(1e-4,1e-1))", (), Interval(1e-4, 1e-1, False, log=True)),
        ("x=tag(log,int(interval(8,512)))", (), Interval(8, 512, True, log=True)),
    ],
)
def test_a_dimension(override: str, values: tuple[str, ...], numbers: Interval | None) -> None:
    found = dimension(override)
    assert found.key == override.partition("=")[0]
    assert (found.values, found.numbers) == (values, numbers)


def test_a_pattern_is_of_the_choices_there_are() -> None:
    assert dimension("optimizer=glob(*)").values == tuple(CHOICES["optimizer"])
    assert set(dimension("optimizer=glob(ada*,exclude=adagrad)").values) == {"adam", "adamw", "adafactor"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=glob(x*)", "matches none of adam"),
        ("batch_size=glob(*)", r"glob\(...\) goes with choices: task"),
        ("x=interval(2,1)", "holds nothing"),
        ("x=tag(log,interval(0,1))", "begins above 0"),
        ("x=range(3,3)", "holds no value"),
        ("x=", None),
        ("nonsense", "is not an override"),
    ],
)
def test_what_spans_nothing_is_refused_in_a_line(override: str, message: str | None) -> None:
    if message is None:
        assert space_of([override]).dimensions == []
        return
    with pytest.raises(BadConfiguration, match=message) as caught:
        space_of([override])
    assert "\n" not in str(caught.value)


def test_a_grid_is_in_the_order_typed_and_the_last_changes_fastest() -> None:
    space = space_of(["a=1,2", "b=3", "c=x,y"])
    assert space.grid() == [["a=1", "b=3", "c=x"], ["a=1", "b=3", "c=y"], ["a=2", "b=3", "c=x"], ["a=2", "b=3", "c=y"]]
    assert space.point({"a": "7", "c": "z"}) == ["a=7", "b=3", "c=z"]


def test_a_key_that_is_given_again_replaces_what_it_was() -> None:
    space = space_of(["a=1,2", "b=3", "a=5"])
    assert (space.grid(), space.dimensions) == ([["b=3", "a=5"]], [])


def test_a_grid_cannot_walk_what_is_continuous() -> None:
    with pytest.raises(BadConfiguration, match=r"^x=interval.*: a grid needs values to walk through; .* sweeps=NAME"):
        space_of(["x=interval(0,1)"]).grid()


def test_where_the_method_varies_a_point_has_the_keys_that_go_with_it() -> None:
    space = space_of(
        [
            "task=tabular",
            "method=train,prune,quantize",
            "pruner=magnitude,random",
            "sparsity=0.5",
            "quantizer=int8_dynamic,int8_weight",
        ]
    )
    values = {"pruner": "random", "quantizer": "int8_weight"}
    assert space.point(values | {"method": "train"}) == ["task=tabular", "method=train"]
    assert space.point(values | {"method": "prune"}) == ["task=tabular", "method=prune", "pruner=random", "sparsity=0.5"]
    assert space.point(values | {"method": "quantize"}) == ["task=tabular", "method=quantize", "quantizer=int8_weight"]
    assert label({"method": "quantize"} | values) == "method=quantize quantizer=int8_weight"
    assert label(values) == "pruner=random quantizer=int8_weight"
    one = space_of(["method=prune", "pruner=magnitude,random"])
    assert one.point({"pruner": "random"}) == ["method=prune", "pruner=random"]


def test_what_does_not_go_with_the_one_method_is_not_searched() -> None:
    typed = ["method=prune,quantize", "pruner=magnitude,random", "quantizer=int8_dynamic,int8_weight", "engine=eager,openvino"]
    assert [one.key for one in space_of([*typed, "method=quantize"]).searched().dimensions] == ["quantizer", "engine"]
    assert [one.key for one in space_of(typed).searched().dimensions] == ["method", "pruner", "quantizer", "engine"]
    assert [one.key for one in space_of([*typed, "method=quantize"]).dimensions] == ["pruner", "quantizer", "engine"]
