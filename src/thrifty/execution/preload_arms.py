"""What the fork server of a comparison imports once: torch, and what builds a model. Nothing that only training needs."""

import gc

import numpy.random
import torch

import thrifty.execution.arm_worker
import thrifty.measure.device
import thrifty.methods.sequence
import thrifty.methods.workloads
from thrifty.architectures.gpt import GptModel
from thrifty.architectures.shapes_only import shapes_only
from thrifty.config.registry import CHOICES

for _group in ("architecture", "precision", "engine"):
    for _choice in CHOICES[_group].values():
        _choice.load()
with shapes_only():  # what building a model imports and makes on its first time, a hundredth of a second; starts no thread
    GptModel(vocabulary=2, context=2, width=64, depth=1, dropout=0.0)
gc.freeze()  # an arm's own collection would walk, and so copy, all of it: a tenth of a second
_ = (numpy, torch, thrifty)
