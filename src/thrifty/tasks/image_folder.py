"""A folder of class folders of image files; or of train, validation and test folders of such class folders."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from thrifty.errors import BadData
from thrifty.tasks.image_files import Header, is_image_name, look_at, read_pixels
from thrifty.tasks.image_set import ImageSet, require_classes, require_size, size_text
from thrifty.tasks.table_values import counted, listed

SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
WHAT_TO_GIVE = "give a folder with one folder of images for each class, named by the class"


@dataclass
class Found:
    """Files below a folder."""

    images: list[Path] = field(default_factory=list)
    others: int = 0
    links: int = 0


def read_folder(source: str, folder: Path, resize: int | None) -> ImageSet:
    """Read every image of every class folder.

    No link is followed: one that leads out of the folder is not part of it, one that stays inside would show an image twice,
    perhaps once to training and once to the test. Hidden files and folders are left out.

    Raises:
        BadData: no class folders, an empty one, an image that cannot be read, or images of several sizes without `resize`.
    """
    classes_of = {split: _folders(place) for split, place in _splits(folder).items()}
    names = _in_order({one.name for one in classes_of["train"]})
    numbers = {name: number for number, name in enumerate(names)}
    found = {split: {one.name: _files(one) for one in classes} for split, classes in classes_of.items()}
    _require_class_folders(source, folder, names, found)
    files = [
        (path, numbers[name], split)
        for split, classes in found.items()
        for name in sorted(classes)
        for path in classes[name].images
    ]
    paths = [path for path, _, _ in files]
    headers = [look_at(path, str(path)) for path in paths]
    channels = common_channels({one.channels for one in headers})
    height, width = _common_size(source, folder, paths, headers, resize)
    require_size(source, len(files), (channels, height, width))
    pixels = np.empty((len(files), channels, height, width), np.uint8)
    for place, path in enumerate(paths):
        pixels[place] = read_pixels(path, str(path), channels, resize)
    splits = np.array([split for _, _, split in files])
    given = {split: (splits == split).nonzero()[0] for split in found} if len(found) > 1 else {}
    classes = np.array([number for _, number, _ in files], dtype=np.int64)
    about = _about([one for classes in found.values() for one in classes.values()], headers, channels)
    return ImageSet(source, pixels, classes, names, given, about)


def images_below(folder: Path) -> list[Path]:
    """The image files below a folder, in the order of their relative paths."""
    return _files(folder).images


def common_channels(found: set[int]) -> int:
    """The channels that all images get: those they have, or 3 where they differ."""
    return found.pop() if len(found) == 1 else 3


def _splits(folder: Path) -> dict[str, Path]:
    """The folder as `train`; or its own folders by the splits they are named after, where all are and hold class folders."""
    folders = _folders(folder)
    named = {SPLIT_NAMES[one.name.lower()]: one for one in folders if one.name.lower() in SPLIT_NAMES}
    whole = len(named) == len(folders) > 1 and "train" in named and all(_folders(one) for one in folders)
    return named if whole else {"train": folder}


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink() and not _hidden(one.name))


def _files(folder: Path) -> Found:
    found = Found()

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        found.links += sum((Path(parent) / one).is_symlink() for one in folders)
        folders[:] = [one for one in folders if not _hidden(one)]
        for path in (Path(parent) / one for one in files if not _hidden(one)):
            if path.is_symlink():
                found.links += 1
            elif path.is_file() and is_image_name(path):
                found.images.append(path)
            else:
                found.others += 1
    found.images.sort(key=lambda path: path.relative_to(folder).as_posix())
    return found


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"  # what a Mac's archives add


def _in_order(names: set[str]) -> list[str]:
    """Sorted; names that all are numbers as numbers, so that 2 comes before 10."""
    numbers = all(one.isdecimal() for one in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))


def _require_class_folders(source: str, folder: Path, names: list[str], found: dict[str, dict[str, Found]]) -> None:
    if not names:
        loose = sum(is_image_name(one) for one in folder.iterdir())
        beside = f" ({counted(loose, 'image')} in it, in no class folder)" if loose else ""
        raise BadData(f"{source}: holds no class folders{beside}; {WHAT_TO_GIVE}")
    for split, classes in found.items():
        for name, files in classes.items():
            where = f"{split}/{name}" if len(found) > 1 else name
            if not files.images:
                left_out = (
                    f" ({counted(files.others, 'other file')}, {counted(files.links, 'link')})"
                    if files.others + files.links
                    else ""
                )
                raise BadData(f"{source}: class folder '{where}' holds no images{left_out}; add some, or take the folder out")
            if name not in names:
                raise BadData(
                    f"{source}: class folder '{where}' has none of that name in training, which has: {listed(names)}; take it out"
                )
    require_classes(source, len(names))


def _common_size(source: str, folder: Path, paths: list[Path], headers: list[Header], resize: int | None) -> tuple[int, int]:
    sizes = Counter((one.height, one.width) for one in headers)
    if resize is not None:
        return resize, resize
    (most, _), *others = sizes.most_common()
    if others:
        odd = next(path for path, one in zip(paths, headers, strict=True) if (one.height, one.width) == others[0][0])
        shown = listed([f"{size_text(*size)} ({count})" for size, count in sizes.most_common()], 6)
        side = max(1, min(most))
        raise BadData(
            f"{source}: images of {len(sizes)} sizes: {shown}, such as {odd.relative_to(folder)}; give task.resize=N, such as "
            f"task.resize={min(side, 224)}, to scale all to NxN pixels"
        )
    return most


def _about(found: list[Found], headers: list[Header], channels: int) -> list[str]:
    about = []
    if left_out := [
        counted(number, what)
        for number, what in ((sum(one.others for one in found), "other file"), (sum(one.links for one in found), "link"))
        if number
    ]:
        about.append(f"{' and '.join(left_out)} left out")
    if different := sum(one.channels != channels for one in headers):
        about.append(f"{counted(different, 'image')} of another number of channels made colour, transparency left out")
    return about
