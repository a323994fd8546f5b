"""What compiling imports and finds out about the machine once a process, some 4 s: for a fork server, whose arms then need not.

It computes nothing, starts no thread and touches no device: forked processes could not do so after.
"""

import contextlib
import importlib

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
_KERNEL = """
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C" void kernel(float* values) { at::vec::Vectorized<float>(0).store(values); }
"""
"""Like those of a model, so that what it takes to compile them is known: instruction sets, flags, compiled headers."""

for _name in _MODULES:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)

# Another version's names, or no compiler, which is for the arm to say.
with contextlib.suppress(ImportError, AttributeError, TypeError, RuntimeError, OSError):
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.codecache import torch_key
    from torch._inductor.codegen.common import init_backend_registration

    init_backend_registration()
    torch_key()
    AsyncCompile().cpp_pybinding(["float*"], _KERNEL)
