"""Which parameters of a model may be pruned, and which are protected."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from thrifty.config.choices.pruners import PROTECTED_KINDS
from thrifty.errors import BadConfiguration, Unsupported, nearest

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Whose weights are pruned."""
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
_HEADS = ("head", "output", "classifier", "fc", "lm_head")
"""What the layer that makes the outputs is usually called."""
_OTHER = "other parameters"


@dataclass(frozen=True)
class Targets:
    """What of a model may be pruned, and what stays whole. A parameter of several names goes by its first."""

    weights: dict[str, nn.Parameter]
    """By name, in the model's order."""
    users: dict[str, list[nn.Module]]
    """By the same names: the modules that have the parameter, more than one where it is tied."""
    protected: dict[str, dict[str, int]]
    """What stays whole: by kind or pattern, the number of weights by parameter name."""

    @property
    def total(self) -> int:
        """Single weights that may be pruned."""
        return sum(one.numel() for one in self.weights.values())

    @property
    def protected_sentence(self) -> str:
        """How much may be pruned and what stays whole, for the record."""
        whole = [size for group in self.protected.values() for size in group.values()]
        tensors, share = len(self.weights) + len(whole), self.total / (self.total + sum(whole))
        kept = ", ".join(
            f"{kind} ({len(group)} tensor{'s' if len(group) != 1 else ''}, {sum(group.values()):,} weights)"
            for kind, group in self.protected.items()
        )
        return (
            f"pruned: {len(self.weights)} of {tensors} weight tensors, {100 * share:.1f} % of the parameters; "
            f"left whole: {kept or 'nothing'}"
        )


def find_targets(model: nn.Module, protect: list[str]) -> Targets:
    """The weights of linear layers and convolutions but for what is protected, and of kinds that `protect` leaves out.

    Needs shapes only, so a model on the meta device will do. A tied parameter counts once, and is protected if it is under
    any of its names.

    Args:
        protect: kinds of `PROTECTED_KINDS`, and names or fnmatch patterns of modules or parameters. A module's name stands
            for all that is in it.

    Raises:
        BadConfiguration: an entry that is no kind and matches nothing.
        Unsupported: nothing is left to prune.
    """
    patterns = [one for one in protect if one not in PROTECTED_KINDS]
    _hold_to_names(model, patterns)
    names = {id(one): name for name, one in model.named_parameters()}
    parameters = dict(model.named_parameters())
    labels: dict[str, set[str]] = {name: set() for name in parameters}
    users: dict[str, list[nn.Module]] = {name: [] for name in parameters}
    candidates: set[str] = set()
    head = _head(model)
    for module_name, module in model.named_modules(remove_duplicate=False):
        for leaf, parameter in module.named_parameters(recurse=False):
            name = names[id(parameter)]
            if all(one is not module for one in users[name]):
                users[name].append(module)
            kinds = _kinds(module_name, module, leaf, module is head)
            labels[name] |= kinds | {one for one in patterns if _matches(module_name, leaf, one)}
            if kinds or (leaf == "weight" and isinstance(module, LAYERS)):
                candidates.add(name)
    protected: dict[str, dict[str, int]] = {}
    for label in (*PROTECTED_KINDS, *dict.fromkeys(patterns), _OTHER):
        seen = {name for group in protected.values() for name in group}
        members = [
            name
            for name in parameters
            if name not in seen and (name not in candidates if label is _OTHER else label in protect and label in labels[name])
        ]
        if members:
            protected[label] = {name: parameters[name].numel() for name in members}
    whole = {name for group in protected.values() for name in group}
    weights = {name: one for name, one in parameters.items() if name not in whole}
    if not sum(one.numel() for one in weights.values()):
        raise Unsupported(
            f"pruner.protect=[{','.join(protect)}]: nothing of the model is left to prune; protect less, or take a model with "
            "linear layers or convolutions"
        )
    return Targets(weights, {name: users[name] for name in weights}, protected)


def _kinds(name: str, module: nn.Module, leaf: str, is_head: bool) -> set[str]:
    """Of `PROTECTED_KINDS`, those that a parameter is of."""
    kinds = set()
    if isinstance(module, _EMBEDDINGS) or (isinstance(module, LAYERS) and name.endswith("embedding")):
        kinds.add("embeddings")
    if isinstance(module, _NORMS):
        kinds.add("norms")
    if leaf.endswith("bias"):
        kinds.add("biases")
    if is_head:
        kinds.add("head")
    return kinds


def _head(model: nn.Module) -> nn.Module | None:
    """The layer that makes the outputs, by its name or else by its place."""
    layers = [(name, one) for name, one in model.named_modules() if isinstance(one, LAYERS) and not name.endswith("embedding")]
    called = [one for name, one in layers if name.rpartition(".")[2] in _HEADS]
    if called:
        return called[-1]
    linear = [one for _, one in layers if isinstance(one, nn.Linear)]
    if not linear or len(layers) == 1:
        return None
    # A last layer as wide as an embedding writes into the stream, and the outputs are read off the embedding, as in a GPT.
    widths = {one.embedding_dim for one in model.modules() if isinstance(one, _EMBEDDINGS)}
    return None if linear[-1].out_features in widths else linear[-1]


def _matches(module_name: str, leaf: str, pattern: str) -> bool:
    """Whether a pattern names the parameter, its module or one around it."""
    parts = [*filter(None, module_name.split(".")), leaf]
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _hold_to_names(model: nn.Module, patterns: list[str]) -> None:
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    names += [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BadConfiguration(
                f"pruner.protect: '{pattern}' is no layer or parameter of the model, and none of the kinds "
                f"{', '.join(PROTECTED_KINDS)}{nearest(pattern, [*PROTECTED_KINDS, *names])}"
            )
