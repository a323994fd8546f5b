"""Predictions for an image file, a folder of them, or the images of an .npz, HDF5 or IDX file: a CSV line for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thrifty.errors import BadData
from thrifty.tasks.image_arrays import as_pixels, read_npz_images
from thrifty.tasks.image_files import look_at, read_pixels
from thrifty.tasks.image_folder import images_below
from thrifty.tasks.image_hdf5 import read_hdf5_images
from thrifty.tasks.image_idx import read_idx_images
from thrifty.tasks.image_normalisation import Normalisation
from thrifty.tasks.image_set import size_text
from thrifty.tasks.image_source import kind_of
from thrifty.tasks.prediction_batches import Examples, Predictor, outputs_of
from thrifty.tasks.prediction_output import require_writable, write_predictions
from thrifty.tasks.table_values import counted

Pixels = Callable[[int, int], np.ndarray]
"""Pixels (images, channels, height, width) of the images from the first number up to, without it, the second."""


def predict_images(
    state: dict[str, Any], model: Predictor | Callable[[Tensor], Tensor], given: str, output: Path | None, batch_size: int
) -> str:
    """The work of `ImageTask.predict`."""
    require_writable(output, given)
    kind = kind_of(given)
    files = kind in ("image", "folder")
    names, pixels = _of_files(state, given, kind) if files else _of_array(state, given, kind)
    normalisation = Normalisation(**state["normalisation"])
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["file" if files else "number", "prediction", "probability"])
    examples = Examples(len(names), lambda first, end: normalisation.apply(torch.from_numpy(pixels(first, end))))
    name = iter(names)
    for outputs in outputs_of(model, examples, batch_size):
        best, classes = outputs.softmax(dim=-1).max(dim=-1)
        for number, probability in zip(classes.tolist(), best.tolist(), strict=True):
            lines.writerow([next(name), state["labels"][number], f"{probability:.7g}"])
    if output is None:
        return text.getvalue()
    write_predictions(output, text.getvalue())
    return f"wrote {counted(len(names), 'prediction')} to {output}"


def _of_files(state: dict[str, Any], given: str, kind: str) -> tuple[Sequence[str], Pixels]:
    path = Path(given).expanduser()
    if state["pixels"] != "uint8":
        raise BadData(f"{given}: the model was trained on fractions, and image files hold whole numbers; give an .npz")
    files = {given: path} if kind == "image" else {one.relative_to(path).as_posix(): one for one in images_below(path)}
    if not files:
        raise BadData(f"{given}: holds no images; give a folder of image files")
    paths = list(files.values())
    return list(files), lambda first, end: np.stack([_of_file(state, one) for one in paths[first:end]])


def _of_file(state: dict[str, Any], path: Path) -> np.ndarray:
    header = look_at(path, str(path))
    if state["resize"] is None:
        _require_shape(state, str(path), (state["channels"], header.height, header.width))
    return read_pixels(path, str(path), state["channels"], state["resize"])


def _of_array(state: dict[str, Any], given: str, kind: str) -> tuple[Sequence[str], Pixels]:
    read = {"npz": read_npz_images, "hdf5": read_hdf5_images, "idx": read_idx_images}[kind]
    pixels, _ = as_pixels(given, read(given, Path(given).expanduser()), state["resize"])
    _require_shape(state, given, pixels.shape[1:])
    if state["pixels"] == "uint8" and pixels.dtype != np.uint8:
        raise BadData(f"{given}: has fractions, and the model was trained on whole numbers from 0 to 255; give such")
    return [str(number) for number in range(len(pixels))], lambda first, end: pixels[first:end]


def _require_shape(state: dict[str, Any], name: str, shape: tuple[int, ...]) -> None:
    wanted = tuple(state[one] for one in ("channels", "height", "width"))
    if shape == wanted:
        return
    given, taken = (f"{size_text(*one[1:])} pixels with {counted(one[0], 'channel')}" for one in (shape, wanted))
    or_train = (
        "" if shape[1:] == wanted[1:] else f", or train with task.resize={max(wanted[1:])}, which takes images of any size"
    )
    raise BadData(f"{name}: {given}; the model takes {taken}: give such{or_train}")
