"""What the fork server imports once, so that no worker has to. Importing computes nothing and touches no device."""

import gc
import os

try:
    import pytorch_lightning
    import torch.utils.flop_counter

    import thrifty.config.compose
    import thrifty.execution.worker
    import thrifty.methods.train
except Exception as error:
    # No worker could do better, and half an import cannot be begun again: the fork server ends, with a line and no more.
    if os.environ.get("THRIFTY_DEBUG") == "1":
        raise
    raise SystemExit(f"imports: {type(error).__name__}: {error}; THRIFTY_DEBUG=1 shows where") from None

gc.freeze()  # a worker's collections would walk, and so copy, all of it
_ = (pytorch_lightning, torch, thrifty)
