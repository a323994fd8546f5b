"""A LightningModule of somebody's own is pruned as ours are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thrifty.config import registry
from thrifty.config.choices.methods import Pace
from thrifty.config.choices.pruners import Movement, Pruner, Scope, Scoped
from thrifty.errors import BadData, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner
from thrifty.pruners.callback import PruningCallback
from thrifty.pruners.pace import due_steps

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
]

PROTECT = ["embeddings", "norms", "biases", "head"]
TOTAL = 6 * 8 + 8 * 8
NAMES = ["net.0.weight", "net.2.weight"]


class Users(pl.LightningModule):
    """Nothing of ours in it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01, weight_decay=0.1)


class Seen(pl.Callback):
    """Zeros among what is pruned, after every batch and so after the pruning of before it."""

    def __init__(self) -> None:
        self.zeros: list[int] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.zeros.append(zeros(pl_module))


def zeros(module: nn.Module) -> int:
    return sum(int((module.get_parameter(name) == 0).sum()) for name in NAMES)


def batches() -> DataLoader[Any]:
    inputs = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True).tanh()), batch_size=8)


def module() -> Users:
    torch.manual_seed(0)
    return Users()


def trained(
    users: pl.LightningModule, callback: pl.Callback, root: Path, checkpoint: Path | None = None, **options: Any
) -> tuple[pl.Trainer, list[int]]:
    """Ten batches an epoch; and the zeros after each."""
    seen = Seen()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=root, callbacks=[callback, seen], **{"max_epochs": 1, **options},
    )  # fmt: skip
    trainer.fit(users, batches(), ckpt_path=checkpoint, weights_only=True)
    return trainer, seen.zeros


def pruner(name: str = "magnitude") -> MaskPruner:
    config: Pruner = {
        "magnitude": lambda: Scoped(name=name, protect=PROTECT, scope=Scope["global"]),
        "movement": lambda: Movement(name=name, protect=PROTECT, scope=Scope["global"]),
        "wanda": lambda: Pruner(name=name, protect=PROTECT),
    }[name]()
    return registry.load("pruner", name)(config)


def test_masks_are_made_when_they_are_due_and_held_in_between(tmp_path: Path) -> None:
    callback = PruningCallback(pruner(), {0: 0.25, 4: 0.5, 7: 0.75})
    users = module()
    _, counted = trained(users, callback, tmp_path)
    # What is due before step 4 is done once the fourth batch has ended.
    assert counted == [28] * 3 + [56] * 3 + [84] * 4
    assert callback.masking is not None
    assert (callback.masking.removed, callback.masking.total) == (84, TOTAL)
    assert sorted(callback.masking.masks) == NAMES


def test_of_batches_that_are_gathered_only_the_last_ends_a_step(tmp_path: Path) -> None:
    callback = PruningCallback(pruner(), {1: 0.5, 2: 0.75})
    _, counted = trained(module(), callback, tmp_path, accumulate_grad_batches=4)
    assert counted == [0] * 3 + [56] * 4 + [84] * 3


def test_a_pace_s_steps_are_taken_as_they_are(tmp_path: Path) -> None:
    due = due_steps(Pace.gradual, 0.9, 1, 10)
    _, counted = trained(module(), PruningCallback(pruner(), due), tmp_path)
    expected = [round(due[step] * TOTAL) for step in range(1, 9)]
    assert counted == [*expected, *expected[-1:] * 2]
    assert expected[-1] == 101


def test_movement_sees_the_gradients_of_the_steps_before(tmp_path: Path) -> None:
    users, it = module(), pruner("movement")
    trained(users, PruningCallback(it, {3: 0.5}), tmp_path)
    assert it.state()["steps"] == 3  # after the last pruning there is nothing to look for

    other, scores = module(), {name: torch.zeros(1) for name in NAMES}
    optimizer = other.configure_optimizers()
    for batch in list(batches())[:3]:
        optimizer.zero_grad()
        other.training_step(batch, 0).backward()
        for name in NAMES:
            weight = other.get_parameter(name)
            scores[name] = scores[name] - 0.01 * weight.detach() * cast(Tensor, weight.grad)
        optimizer.step()
    for name in NAMES:
        torch.testing.assert_close(it.state()["scores"][name], scores[name])


def test_wanda_is_calibrated_with_the_module(tmp_path: Path) -> None:
    examples = Calibration([next(iter(batches()))], nn.functional.mse_loss, lambda model, inputs: model(inputs))
    callback = PruningCallback(pruner("wanda"), {0: 0.5}, examples)
    assert trained(module(), callback, tmp_path)[1] == [56] * 10


@pytest.mark.parametrize("name", ["magnitude", "movement"])
def test_a_resumed_training_ends_where_an_unbroken_one_does(name: str, tmp_path: Path) -> None:
    due = {2: 0.25, 5: 0.5, 12: 0.6, 17: 0.75}
    unbroken = module()
    trained(unbroken, PruningCallback(pruner(name), due), tmp_path, max_epochs=2)

    with pytest.warns(UserWarning, match="ended after 10 steps, before the pruning due at 17: sparsity is 0.5, not 0.75"):
        trainer, _ = trained(module(), PruningCallback(pruner(name), due), tmp_path)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(123)
    resumed, callback = Users(), PruningCallback(pruner(name), due)
    _, counted = trained(resumed, callback, tmp_path, tmp_path / "half.ckpt", max_epochs=2)
    assert counted == [56] + [67] * 5 + [84] * 4
    for key, one in unbroken.state_dict().items():
        assert torch.equal(one, resumed.state_dict()[key]), key


def test_a_checkpoint_of_another_module_is_refused(tmp_path: Path) -> None:
    callback = PruningCallback(pruner(), {0: 0.5})
    callback.load_state_dict({"masks": {"net.0.weight": torch.ones(2, 2, dtype=torch.bool)}, "pruner": {}, "seen": 1})
    with pytest.raises(BadData, match="another model's"):
        trained(module(), callback, tmp_path)


def test_a_further_fit_of_the_same_module_keeps_what_is_gone(tmp_path: Path) -> None:
    callback, users = PruningCallback(pruner(), {0: 0.25, 5: 0.5}), module()
    trained(users, callback, tmp_path)
    assert callback.masking is not None
    before = callback.masking.masks
    _, counted = trained(users, callback, tmp_path)
    assert counted == [56] * 10
    assert all(torch.equal(one, callback.masking.masks[name]) for name, one in before.items())
    assert trained(module(), callback, tmp_path)[1] == [28] * 4 + [56] * 6


def test_before_training_a_checkpoint_keeps_what_was_loaded() -> None:
    callback = PruningCallback(pruner(), {0: 0.5})
    assert callback.state_dict() == {}
    callback.load_state_dict({})
    callback.load_state_dict({"masks": {}, "pruner": {}, "seen": 3})
    assert callback.state_dict()["seen"] == 3


class ByHand(Users):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


def test_manual_optimisation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="optimises by hand"):
        trained(ByHand(), PruningCallback(pruner(), {0: 0.5}), tmp_path)


@pytest.mark.parametrize("clip", [None, 0.1])
def test_the_same_as_a_loop_by_hand(clip: float | None, tmp_path: Path) -> None:
    from thrifty.pruners.masking import Masking

    due, it = {0: 0.25, 4: 0.5}, pruner()
    users, ours = module(), module()
    trained(users, PruningCallback(pruner(), due), tmp_path, gradient_clip_val=clip)
    masking, optimizer = Masking(ours), cast(Callable[[], torch.optim.Optimizer], ours.configure_optimizers)()
    for step, batch in enumerate(batches()):
        if step in due:
            masking.tighten(it.masks(ours, due[step], None, masking.masks))
        masking.hold()
        optimizer.zero_grad()
        ours.training_step(batch, step).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(ours.parameters(), clip)
        optimizer.step()
        masking.hold()
    for key, one in ours.state_dict().items():
        assert torch.equal(one, users.state_dict()[key]), key
