"""What compiling imports and finds out about the machine once a process, some 4 s: for a fork server, whose arms then need not.

Nothing is compiled here but what tells the instruction sets, and no device is touched: forked processes could not use it after.
"""

import contextlib
import importlib
import os

# Before inductor is imported: in an arm nothing is to be compiled beside the first thread, and no pool of processes started.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

_MODULES = (
    "torch._dynamo",
    "torch._inductor.compile_fx",
    # Those that the first call would import. Not all versions of torch have all of them.
    "torch._dynamo.backends.cudagraphs",
    "torch._dynamo.backends.distributed",
    "torch._dynamo.backends.inductor",
    "torch._dynamo.backends.onnxrt",
    "torch._dynamo.backends.tensorrt",
    "torch._dynamo.backends.torchxla",
    "torch._dynamo.backends.tvm",
    "torch._dynamo.repro.after_dynamo",
    "torch._export.db.logging",
    "torch._subclasses.schema_check_mode",
    "torch.distributed.tensor.experimental",
    "torch.export._trace",
    "torch.fx.experimental.validator",
    "torch.utils.cpp_extension",
)
for _name in _MODULES:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)

with contextlib.suppress(ImportError, AttributeError):  # names of another version
    from torch._inductor.codecache import torch_key
    from torch._inductor.codegen.common import init_backend_registration
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    init_backend_registration()
    torch_key()
    with contextlib.suppress(RuntimeError, OSError):  # no compiler: that is for the arm to say
        pick_vec_isa()
