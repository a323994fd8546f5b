"""Every file of conf/ composed; the defaults by task; every kind of bad input, with the one line it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from thrifty.config.compose import compose, plain
from thrifty.config.paths import conf_directory
from thrifty.config.registry import CHOICES
from thrifty.errors import BadConfiguration

FILES = sorted(conf_directory().glob("*/*.yaml"))
NEEDS = {"tabular": ["task=tabular"], "mlp": ["task=tabular"], "vit": ["task=image"], "resnet": ["task=image"]}
NEEDS |= {name: ["method=prune"] for name in CHOICES["pruner"]} | {"movement": ["method=prune", "method.pace=gradual"]}
NEEDS |= {name: ["method=quantize"] for name in CHOICES["quantizer"]}
"""Overrides without which a choice makes an illegal pair."""


def test_every_choice_has_its_file_and_every_file_its_choice() -> None:
    assert {(one.parent.name, one.stem) for one in FILES} == {
        (group, name) for group, names in CHOICES.items() for name in names
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_file_composes_to_its_own_schema(file: Path) -> None:
    group, name = file.parent.name, file.stem
    config = compose([*NEEDS.get(name, []), f"{group}={name}"])
    node = getattr(config, group)
    assert type(node) is CHOICES[group][name].schema
    assert node.name == name
    assert "???" not in str(plain(config))
    # The hash that finds a configuration again is made of this: to the letter, 10.0 is not 10.
    assert json.dumps(plain(config)) == json.dumps(OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True))


@pytest.mark.parametrize("file", [*FILES, conf_directory() / "config.yaml"], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_file_begins_by_saying_what_it_is(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    header = " ".join(
        line.lstrip("# ") for line in lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))]
    )
    assert len(header) > 30
    assert header.rstrip().endswith(".")


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_files_hold_values_only(file: Path) -> None:
    assert "_target_" not in file.read_text()
    assert isinstance(yaml.safe_load(file.read_text()), dict)


@pytest.mark.parametrize("size", ["nano", "tiny", "small", "base", "large", "xlarge", "xxlarge"])
@pytest.mark.parametrize("task", CHOICES["task"])
@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
def test_every_rung_and_optimizer_resolves_to_a_whole_configuration(task: str, size: str, optimizer: str) -> None:
    config = compose([f"task={task}", f"model={size}", f"optimizer={optimizer}"])
    assert config.optimizer.lr is not None
    assert config.optimizer.lr > 0
    assert config.batch_size is not None
    assert (config.budget.steps is None) != (config.budget.epochs is None)
    for name in config.architecture.LADDER[size].shape:
        assert getattr(config.architecture, name) is not None


def facts(config: Any) -> dict[str, Any]:
    return {
        "choices": [getattr(config, group).name for group in CHOICES if getattr(config, group) is not None],
        "rest": (config.model.name, config.batch_size, config.budget.steps, config.budget.epochs, config.budget.seconds),
        "lr": config.optimizer.lr,
    }


def test_defaults_are_a_nano_gpt_on_text() -> None:
    config = compose([])
    choices = ["text", "gpt", "train", "adamw", "cosine", "fp32", "quick", "quick", "eager", "wandb"]
    assert facts(config) == {"choices": choices, "rest": ("nano", 4, 2000, None, 60.0), "lr": 2e-3}
    assert (config.architecture.width, config.architecture.depth, config.architecture.context) == (128, 4, 128)
    assert (config.store, config.seed, config.device.name, config.engine.name) == ("results", 0, "auto", "eager")
    assert config.logger.mode.name == "offline"


def test_defaults_of_a_table_are_the_funnel_with_adam() -> None:
    config = compose(["task=tabular"])
    choices = ["tabular", "mlp", "train", "adam", "cosine", "fp32", "quick", "quick", "eager", "wandb"]
    assert facts(config) == {"choices": choices, "rest": ("nano", 32, None, 10, 60.0), "lr": 1e-2}
    assert config.architecture.widths == [128, 64, 32]
    assert (config.regularizer.l2, compose([]).regularizer.l2) == (0.002, 0.0)
    assert config.optimizer.betas == [0.9, 0.999]


def test_a_choice_given_wins_over_the_task_s_default() -> None:
    assert compose(["task=tabular", "optimizer=sgd"]).optimizer.name == "sgd"
    assert compose(["optimizer=sgd", "task=tabular"]).optimizer.name == "sgd"


def test_large_is_the_contract_s_302_million() -> None:
    config = compose(["model=large", "optimizer=adam"])
    assert (config.architecture.width, config.architecture.depth, config.batch_size) == (1024, 24, 4)
    # 2e-3 * 128/1024 * sqrt(4/24), by hand
    assert config.optimizer.lr == pytest.approx(1.02e-4, rel=1e-3)


def test_what_is_given_is_not_worked_out() -> None:
    config = compose(["architecture.width=64", "optimizer.lr=0.25", "batch_size=3", "budget.epochs=2.5", "measure.examples=7"])
    assert (config.architecture.width, config.architecture.depth) == (64, 4)
    assert (config.optimizer.lr, config.batch_size) == (0.25, 3)
    assert (config.budget.steps, config.budget.epochs, config.measure.examples) == (None, 2.5, 7)


def test_the_learning_rate_follows_the_shape_given_not_the_rung() -> None:
    assert compose(["architecture.width=256"]).optimizer.lr == pytest.approx(1e-3)
    assert compose(["task=tabular", "architecture.widths=[512]"]).optimizer.lr == pytest.approx(5e-3)


def test_full_means_to_the_end() -> None:
    config = compose(["budget=full", "measure=full"])
    assert (config.budget.steps, config.budget.epochs, config.budget.seconds) == (None, 1, None)
    assert config.measure.examples is None
    assert compose(["task=tabular", "budget=full"]).budget.epochs == 100


def test_the_last_of_two_values_counts() -> None:
    assert compose(["seed=1", "seed=2"]).seed == 2


BAD = [
    # unknown keys and choices, with the nearest right name
    ("optimiser=adam", "no key 'optimiser'", "did you mean 'optimizer'"),
    ("regularizer.droput=0.1", "no key 'regularizer.droput'", "did you mean 'regularizer.dropout'"),
    ("dropout=0.1", "no key 'dropout'", "did you mean 'regularizer.dropout'"),
    ("lr=0.1", "no key 'lr'", "did you mean 'optimizer.lr'"),
    ("+foo=1", "no key 'foo'", "thrifty keys"),
    ("++foo=1", "no key 'foo'", "thrifty keys"),
    ("regularizer=0.1", "is a group of keys", "thrifty keys regularizer"),
    (
        "optimizer=adm",
        "no such optimizer",
        "choose one of adam, adamw, sgd, momentum, nesterov, adagrad, rmsprop, lion, muon, adafactor; did you mean 'adam'",
    ),
    ("precision=bf61", "no such precision", "choose one of fp32, tf32, bf16, fp16, fp8; did you mean 'bf16'"),
    ("task=txt", "no such task", "did you mean 'text'"),
    ("logger=mlflow", "no such logger", "choose one of wandb, none"),
    ("model=smal", "nano, tiny, small, base, large, xlarge, xxlarge", "did you mean 'small'"),
    ("device=gpu", "auto, cpu, cuda, mps", "device=gpu"),
    ("logger.mode=foo", "offline, online, disabled", "thrifty keys logger.mode"),
    # wrong types
    ("optimizer.lr=abc", "must be number", "above 0"),
    ("optimizer.lr=true", "must be number", "optimizer.lr=true"),
    ("seed=1.5", "must be whole number", "seed=1.5"),
    ("tags=a", "list of texts, as [a] is", "tags=a"),
    ("optimizer.betas=0.9", "list of numbers", "optimizer.betas=0.9"),
    ("optimizer.betas=[0.9]", "two numbers", "[0.9,0.999]"),
    # ranges
    ("optimizer.lr=0", "optimizer.lr=0", "must be above 0"),
    ("optimizer.lr=-1", "optimizer.lr=-1", "must be above 0"),
    ("optimizer.lr=nan", "optimizer.lr=nan", "must be a finite number, above 0"),
    ("optimizer.lr=inf", "optimizer.lr=inf", "must be a finite number, above 0"),
    ("target=nan", "target=nan", "finite number"),
    ("regularizer.dropout=1", "regularizer.dropout=1", "at least 0, below 1"),
    ("regularizer.l1=-1", "regularizer.l1=-1", "at least 0"),
    ("batch_size=0", "batch_size=0", "at least 1 or full"),
    ("batch_size=ful", "batch_size=ful", "at least 1 or full"),
    ("batch_size=1.5", "batch_size=1.5", "at least 1 or full"),
    ("budget.steps=0", "budget.steps=0", "at least 1"),
    ("budget.flops=1e9 budget.steps=5", "budget.flops=1e+09 and budget.steps=5", "give one of the two"),
    ("budget.flops=0", "budget.flops=0", "above 0"),
    ("budget.steps=1 budget.epochs=1", "budget.steps=1 and budget.epochs=1", "give one of the two"),
    ("seed=-1", "seed=-1", "at least 0"),
    ("seed=4294967296", "seed=4294967296", "at least 0, below 4294967296"),
    ("threads=0", "threads=0", "at least 1"),
    ("architecture.width=100", "architecture.width=100", "the nearest is 128"),
    ("task=tabular architecture.widths=[]", "architecture.widths=[]", "at least one hidden layer"),
    ("task=tabular architecture.widths=[8,0]", "architecture.widths=0", "at least 1"),
    ("task=tabular task.log1p=foo", "task.log1p=foo", "auto, all, none or a list of columns"),
    ("optimizer=sgd optimizer.momentum=1", "optimizer.momentum=1", "below 1"),
    # what does not go together
    ("train.patience=2 train.validations=0", "train.patience=2 train.validations=0", "do not go together"),
    ("task=tabular architecture=gpt", "do not go together", "architecture=gpt takes task=text"),
    ("architecture=vit", "do not go together", "architecture=vit takes task=image"),
    ("architecture=mlp", "do not go together", "architecture=mlp takes task=tabular or image"),
    ("optimizer=sgd optimizer.betas=[0.1,0.2]", "optimizer=sgd has no such key", "optimizer=adam"),
    ("optimizer.momentum=0.9", "optimizer.momentum=0.9", "add optimizer=sgd"),
    ("schedule.beta=1", "schedule=cosine has no such key", "add schedule=inverse_time"),
    ("precision.weights=bf16", "precision=fp32 has no such key", "add precision=bf16"),
    ("task.target=x", "task=text has no such key", "add task=tabular"),
    ("task=tabular optimizer.weight_decay=0.1", "optimizer.weight_decay", "add optimizer=adamw"),
    ("pruner=random", "pruner=random", "add method=prune"),
    ("sparsity=0.5", "sparsity=0.5", "add method=prune"),
    ("pruner.scope=layer", "pruner.scope=layer", "add method=prune"),
    ("method.pace=gradual", "method=train has no such key", "add method=prune"),
    # pruning
    ("method=prune sparsity=1", "sparsity=1", "at least 0, below 1 or auto"),
    ("method=prune sparsity=-0.1", "sparsity=-0.1", "at least 0, below 1 or auto"),
    ("method=prune sparsity=much", "sparsity=much", "at least 0, below 1 or auto"),
    ("method=prune sparsity=nan", "sparsity=nan", "finite number"),
    ("method=prune pruner=magnitud", "no such pruner", "did you mean 'magnitude'"),
    ("method=prune pruner=wanda pruner.scope=layer", "pruner=wanda has no such key", "pruner=magnitude"),
    ("method=prune pruner=n_m pruner.pattern=4:2", "pruner.pattern=4:2", "0 < n < m"),
    ("method=prune pruner=n_m pruner.pattern=2:4 sparsity=0.9", "sparsity=0.9 pruner.pattern=2:4", "give one of the two"),
    ("method=prune pruner=movement", "method.pace=one_shot", "method.pace=iterative or gradual"),
    ("method=prune pruner=layer_drop method.pace=gradual", "do not go together", "method.pace=one_shot"),
    ("method=prune pruner=structured_l1 method.rewind=true", "do not go together", "magnitude"),
    ("method=prune method.pace=gradual method.rewind=true", "method.rewind=true", "one_shot or iterative"),
    ("method=prune method.pace=gradual method.finetune=0", "method.finetune=0", "pace=one_shot"),
    ("method=prune method.pace=iterative train.patience=2", "train.patience=2", "method.pace=one_shot"),
    ("method=prune train.shard=true", "train.shard=true", "leave train.shard out"),
    ("method=prune sparsity=auto devices=2", "devices=2", "take devices=1"),
    ("method=prune method.rewind=true train.average=0.9", "train.average=0.9", "take train.average=0"),
    ("method=prune method.calibration=7", "method.calibration=7", "at least 8"),
    ("method=prune max_quality_loss=1", "max_quality_loss=1", "add sparsity=auto"),
    ("quantizer=int8_static", "quantizer=int8_static", "add method=quantize"),
    ("method=prune quantizer=int8_static", "quantizer=int8_static", "add method=quantize"),
    ("method=quantize quantizer=int8", "no such quantizer", "int8_dynamic"),
    ("method=quantize quantizer=int4_weight quantizer.group=48", "quantizer.group=48", "32, 64, 128"),
    ("method=quantize quantizer.group=64", "quantizer=int8_dynamic has no such key", "add quantizer=int4_weight"),
    ("method=quantize sparsity=0.5", "sparsity=0.5", "add method=prune"),
    ("method=quantize precision=fp8", "precision=fp8", "take precision=bf16"),
    ("method=quantize devices=2", "devices=2", "take devices=1"),
    ("method=quantize train.shard=true", "train.shard=true", "leave train.shard out"),
    ("max_quality_loss=1", "max_quality_loss=1", "add method=prune or method=quantize"),
    ("method=prune sparsity=auto max_quality_loss=-1", "max_quality_loss=-1", "at least 0"),
    # the grammar
    ("optimizer=sgd,adam", "gives several values", "add -m"),
    ("seed=range(1,3)", "gives several values", "add -m"),
    ("~optimizer", "cannot be removed", "null"),
    ("~seed", "cannot be removed", "null"),
    ("optimizer", "is not an override", "write key=value"),
    ("store=", "store=", "is empty"),
    ("task.path=", "task.path=", "is empty"),
    ("optimizer=null", "optimizer=null", "choose one of adam"),
    ("optimizer.name=sgd", "set by the choice", "write optimizer=sgd instead"),
    ("a=b=c", "is not an override", "quote values"),
    ("+seed=1", "seed", "Could not append"),
    ("seed=${foo}", "seed=", "whole number"),
    ("store=${oc.env:THRIFTY_NO_SUCH_VARIABLE}", "store=", "text"),
]


@pytest.mark.parametrize(("given", "names", "helps"), BAD, ids=[one[0] for one in BAD])
def test_bad_input_gets_one_line_that_names_it_and_helps(given: str, names: str, helps: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        compose(given.split())
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert names in message
    assert helps in message
    assert "\n" not in message


def test_each_choice_is_named_when_another_is_asked_for() -> None:
    for group, choices in CHOICES.items():
        with pytest.raises(BadConfiguration) as caught:
            compose([f"{group}=zzz"])
        assert all(name in str(caught.value) for name in choices), group


def test_no_choice_can_be_renamed_from_the_command_line() -> None:
    with pytest.raises(BadConfiguration):
        compose(["optimizer.name=sgd"])


def test_a_pattern_and_a_sparsity_follow_from_each_other() -> None:
    def of(*overrides: str) -> tuple[Any, Any]:
        config = compose(["method=prune", "pruner=n_m", *overrides])
        return config.sparsity, config.pruner.pattern  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]

    assert of() == (0.5, "2:4")
    assert of("pruner.pattern=1:4") == (0.75, "1:4")
    assert of("pruner.pattern=4:8", "sparsity=0.5") == (0.5, "4:8")
    assert of("sparsity=0.75") == (0.75, "1:4")
    assert of("pruner.pattern=7:10", "sparsity=0.3") == (pytest.approx(0.3), "7:10")
    assert of("sparsity=0.8") == (0.8, "3:16")  # 0.8125; 1:4 is 0.75
    assert of("sparsity=0.9") == (0.9, "1:8")  # 0.875, as 2:16 is, of fewer


def test_what_only_pruning_has_is_empty_without_it() -> None:
    trained, pruned = compose([]), compose(["method=prune"])
    assert (trained.pruner, trained.sparsity, trained.max_quality_loss) == (None, None, None)
    assert pruned.pruner is not None
    assert (pruned.pruner.name, pruned.sparsity, pruned.max_quality_loss) == ("magnitude", 0.5, None)
    assert compose(["method=prune", "sparsity=auto"]).max_quality_loss == 0.5


def test_a_wrong_choice_is_told_before_a_key_that_it_would_have() -> None:
    with pytest.raises(BadConfiguration, match=r"^optimizer=adm: there is no such optimizer; .* did you mean 'adam'"):
        compose(["optimizer.lr=0.1", "optimizer=adm"])
