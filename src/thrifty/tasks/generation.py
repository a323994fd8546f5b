"""Continue a prompt byte by byte, each from a cache of those before it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from thrifty.errors import BadConfiguration, BadData
from thrifty.tasks.prediction_output import write_predictions

WITHOUT_A_PROMPT = b"\n"
"""What the model is shown where the prompt is empty; it is not part of the result."""


class Continues(Protocol):
    """A model that answers a prompt once, and then each further byte."""

    context: int
    """Bytes it can look back."""

    def prefill(self, tokens: Tensor) -> tuple[Tensor, Any]:
        """Bytes (1, time) -> logits of the byte after them (1, 256), and a cache to go on with."""
        ...

    def decode(self, token: Tensor, cache: Any) -> Tensor:
        """The next byte (1, 1) -> logits of the one after it (1, 256); the cache is one byte longer then."""
        ...


def continue_prompt(model: Continues, given: str, output: Path | None, options: dict[str, Any]) -> str:
    """The prompt and its continuation, or, where `output` is given, one line that says where they are.

    Args:
        given: a file that holds the prompt, `-` for standard input, or the prompt itself.
        options: `length` of the continuation in bytes, `temperature` (0 takes the likeliest byte each time), `seed`.

    Raises:
        BadConfiguration: an option out of its range, or an output that cannot be written.
        BadData: a prompt that cannot be read.
    """
    length, temperature = int(options.get("length", 200)), float(options.get("temperature", 0.8))
    if length < 0:
        raise BadConfiguration(f"length={length}: must be at least 0, a number of bytes")
    if not 0 <= temperature < float("inf"):
        raise BadConfiguration(f"temperature={temperature:g}: must be at least 0; 0 takes the likeliest byte each time")
    prompt = read_prompt(given)
    continuation = generate(model, prompt or WITHOUT_A_PROMPT, length, temperature, int(options.get("seed", 0)))
    # Decoded together: a character may begin in the prompt and end in the continuation.
    text = (prompt + continuation).decode("utf-8", errors="replace")
    if output is None:
        return text
    write_predictions(output, text)
    return f"the prompt ({len(prompt)} bytes) and its continuation ({length} bytes) are in {output}"


def read_prompt(given: str) -> bytes:
    """The bytes of a file, of standard input (`-`), or of the string itself."""
    if given == "-":
        return sys.stdin.buffer.read()
    path = Path(given)
    try:
        if path.is_file():
            return path.read_bytes()
    except PermissionError as error:
        raise BadData(f"{given}: cannot be read ({error.strerror}); give a readable file, - or the prompt itself") from error
    except OSError:
        pass  # such as a name longer than a file's can be: a prompt
    return given.encode("utf-8", errors="surrogateescape")  # as the command line was decoded


def generate(model: Continues, prompt: bytes, length: int, temperature: float, seed: int) -> bytes:
    """`length` bytes that continue a prompt of at least one.

    Once the context is full, the newer half of it is read again as a prompt: what is cached of a byte holds its place.

    Args:
        temperature: divides the logits; 0 takes the likeliest byte each time.
    """
    # On the CPU, so that one seed gives one text on every device.
    generator = torch.Generator().manual_seed(seed)
    seen = bytearray(prompt)
    window, cache, held = model.context, None, 0
    for _ in range(length):
        if cache is None or held == model.context:
            start = seen[-window:]
            answer, cache = model.prefill(torch.tensor([list(start)]))
            window, held = max(1, model.context // 2), len(start)
        else:
            answer = model.decode(torch.tensor([[seen[-1]]]), cache)
            held += 1
        logits = answer[0].double().cpu()
        if temperature:
            # The largest logit at 0, so that no temperature makes it infinite.
            weights = torch.softmax((logits - logits.max()) / temperature, dim=0)
            seen.append(int(torch.multinomial(weights, 1, generator=generator)))
        else:
            seen.append(int(logits.argmax()))
    return bytes(seen[len(prompt) :])
