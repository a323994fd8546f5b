"""What the fork server of a comparison imports once: torch, and what builds a model. Nothing that only training needs."""

import gc

import numpy.random
import torch

import thrifty.execution.arm_worker
import thrifty.measure.device
import thrifty.methods.sequence
import thrifty.methods.workloads
from thrifty.config.registry import CHOICES

for _group in ("architecture", "precision", "engine"):
    for _choice in CHOICES[_group].values():
        _choice.load()
gc.freeze()  # an arm's own collection would walk, and so copy, all of it: a tenth of a second
_ = (numpy, torch, thrifty)
