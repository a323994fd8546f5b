"""Weights go whose size times the norm of what they are multiplied by is smallest, output by output.

Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", 2023.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from thrifty.config.choices.pruners import Pruner
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.activations import input_norms
from thrifty.pruners.base import MaskPruner, Masks
from thrifty.pruners.selection import of_rows
from thrifty.pruners.targets import LAYERS, Targets, find_targets

FEWEST_EXAMPLES = 8
"""Below it the norms are those of a few examples, not of inputs."""


class WandaPruner(MaskPruner):
    """Scores a weight by |w| times the L2 norm of its input over calibration examples; every output loses the same number.

    All layers' inputs are those of the model as it is given, not pruned layer by layer as in the paper: one pass. Convolutions,
    which the paper has none of, are taken as linear layers on unfolded images.
    """

    config: Pruner
    calibrates: ClassVar[bool] = True

    def masks(
        self, model: nn.Module, sparsity: float, calibration: Calibration | None = None, held: Masks | None = None
    ) -> Masks:
        """See `MaskPruner`.

        Raises:
            BadConfiguration: fewer than 8 calibration examples.
            Unsupported: a parameter that is no layer's, or a layer that the model does not call.
            BadData: activations that are infinite or not a number.
        """
        examples = 0 if calibration is None else calibration.examples
        if calibration is None or examples < FEWEST_EXAMPLES:
            raise BadConfiguration(
                f"method.calibration: pruner=wanda looks at the inputs of layers, and {examples} examples are too few to tell their "
                f"size; give at least {FEWEST_EXAMPLES}"
            )
        targets = find_targets(model, self.config.protect)
        norms = self._norms(model, targets, calibration)
        self.about = [targets.protected_sentence, f"inputs of layers measured on {examples:,} examples"]
        sizes = {name: one.detach().abs() for name, one in targets.weights.items()}
        return of_rows({name: one * norms[name] for name, one in sizes.items()}, sparsity, held)

    def _norms(self, model: nn.Module, targets: Targets, calibration: Calibration) -> dict[str, Tensor]:
        """By parameter name; of a tied one over the inputs of all layers that have it."""
        layers: dict[str, nn.Module] = {}
        for name, users in targets.users.items():
            for number, user in enumerate(users):
                if not isinstance(user, LAYERS) or user.weight is not targets.weights[name]:
                    raise Unsupported(
                        f"pruner=wanda: {name} is not the weight of a linear layer or convolution, so nothing is multiplied by it "
                        "row by row; add its kind (embeddings, norms, biases) or its name to pruner.protect"
                    )
                layers[f"{number}:{name}"] = user
        measured = input_norms(model, layers, calibration)
        norms: dict[str, Tensor] = {}
        for name, users in targets.users.items():
            parts = [measured[key] for number in range(len(users)) if (key := f"{number}:{name}") in measured]
            if not parts:
                raise Unsupported(
                    f"pruner=wanda: the model computes without calling the layer of {name}, so its inputs are not seen; add "
                    f"{name.removesuffix('.weight')} to pruner.protect"
                )
            norms[name] = torch.stack(parts).square().sum(0).sqrt()
        return norms


def build(config: Pruner) -> MaskPruner:
    """The pruner of a configuration."""
    return WandaPruner(config)
