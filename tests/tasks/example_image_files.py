"""Small labelled images in every form that the image task reads, for its tests."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from chosen import chosen
from thrifty.tasks.image import ImageData, ImageTask

CLASSES, EACH = ("cat", "dog"), 10


def pixels(count: int = EACH * len(CLASSES), *shape: int) -> np.ndarray:
    """Random bytes, (count, *shape); 6 high and 5 wide where nothing else is said."""
    return np.random.default_rng(0).integers(0, 256, (count, *(shape or (6, 5))), dtype=np.uint8)


def truth(count: int = EACH * len(CLASSES)) -> np.ndarray:
    """Classes in turn."""
    return np.arange(count) % len(CLASSES)


def write_folder(folder: Path, images: np.ndarray | None = None, suffix: str = ".png") -> str:
    """A folder for each class; image n of the array is `n.png`."""
    images = pixels() if images is None else images
    for number, (image, label) in enumerate(zip(images, truth(len(images)), strict=True)):
        path = folder / CLASSES[label] / f"{number:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return str(folder)


def write_idx(path: Path, array: np.ndarray, magic: int | None = None, cut: int | None = None) -> str:
    """An IDX file, gzipped where its name says so."""
    start = (0x800 + array.ndim) if magic is None else magic
    content = struct.pack(f">{1 + array.ndim}I", start, *array.shape) + array.astype(np.uint8).tobytes()
    content = content[:cut]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def write_mnist(folder: Path, part: str = "train", gz: str = "", count: int = 20) -> str:
    folder.mkdir(exist_ok=True)
    write_idx(folder / f"{part}-labels-idx1-ubyte{gz}", truth(count))
    return write_idx(folder / f"{part}-images-idx3-ubyte{gz}", pixels(count))


def write_npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **(arrays or {"x": pixels(), "y": truth()}))
    return str(path)


def prepare(path: str | None = None, **keys: Any) -> ImageData:
    config = chosen("task=image", path=path, **keys)
    config.check("task.")
    return ImageTask(config).prepare(chosen("architecture=mlp"))


def everything(data: ImageData, split: str, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return data.batch(split, torch.arange(data.sizes[split]) + epoch * data.sizes[split])


def raw(data: ImageData, split: str) -> np.ndarray:
    """Pixels as they were read, worked back from a batch."""
    inputs, _ = everything(data, split)
    scale, mean = (torch.tensor(one).view(-1, 1, 1) for one in (data.normalisation.scale, data.normalisation.mean))
    return (inputs * scale + mean).numpy()


def all_raw(data: ImageData) -> np.ndarray:
    """Of all splits, one flattened image a row, in an order that does not depend on the splits."""
    rows = np.concatenate([raw(data, split).round().astype(int) for split in data.sizes]).reshape(sum(data.sizes.values()), -1)
    return rows[np.lexsort(rows.T[::-1])]


def linear(data: ImageData) -> torch.nn.Module:
    torch.manual_seed(0)
    inputs = data.shape["channels"] * data.shape["height"] * data.shape["width"]
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, data.shape["outputs"]))
