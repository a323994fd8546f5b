"""What the fork server imports and looks up once, so that no worker has to. It computes nothing and touches no device."""

import gc
import os

try:
    import pytorch_lightning
    import torch.utils.flop_counter

    import thrifty.config.compose
    import thrifty.execution.worker
    import thrifty.methods.train
    import thrifty.record
except Exception as error:
    # No worker could do better, and half an import cannot be begun again: the fork server ends, with a line and no more.
    if os.environ.get("THRIFTY_DEBUG") == "1":
        raise
    raise SystemExit(f"imports: {type(error).__name__}: {error}; THRIFTY_DEBUG=1 shows where") from None

_ = (pytorch_lightning, torch, thrifty)
thrifty.record.environment()  # kept for every run: which versions and which commit, as of the code imported here
gc.collect()
gc.freeze()  # what is imported stays: no worker's collector need look through it, which takes a fifth of a second each time
