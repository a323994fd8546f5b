"""What the fork server imports once, so that no worker has to. Importing computes nothing and touches no device."""

import pytorch_lightning
import torch.utils.flop_counter

import thrifty.config.compose
import thrifty.execution.worker
import thrifty.methods.train

_ = (pytorch_lightning, torch, thrifty)
