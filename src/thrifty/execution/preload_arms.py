"""What the fork server of a comparison imports once: torch, and what builds a model. Nothing that only training needs."""

import torch

import thrifty.execution.arm_worker
import thrifty.methods.workloads

_ = (torch, thrifty)
