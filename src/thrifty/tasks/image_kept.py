"""A folder's images as an earlier run has decoded them: kept in the store's cache, and mapped into memory from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from thrifty import cache
from thrifty.identity import data_stamp, reading_code
from thrifty.tasks.image_set import ImageSet
from thrifty.tasks.image_source import kind_of, read_images

WORTH_SECONDS = 1.0
"""What reading must take to be worth the disk."""
_ABOUT = "set.json"


def read_kept(store: Path | None, given: str | None, resize: int | None) -> ImageSet:
    """As `read_images`; a folder that takes long to decode is decoded once for each state of its files.

    Args:
        store: whose cache to use; None uses none.

    Raises:
        BadData: as `read_images`.
        Unsupported: HDF5 without h5py.
    """
    if store is None or given is None or kind_of(given) != "folder":
        return read_images(given, resize)
    folder = Path(given).expanduser().resolve()
    key = hashlib.sha256(json.dumps([str(folder), resize, data_stamp(str(folder)), reading_code()]).encode()).hexdigest()
    place = cache.data_directory(store) / f"images-{folder.name}-{key[:12]}"
    kept = _kept(given, place, key)
    if kept is not None:
        cache.use(place)
        return kept
    begin = time.perf_counter()
    images = read_images(given, resize)
    if time.perf_counter() - begin >= WORTH_SECONDS and images.pixels.nbytes <= cache.bound_bytes():
        with contextlib.suppress(OSError):  # the next run decodes them again
            _keep(store, place, key, images)
    return images


def _kept(source: str, place: Path, key: str) -> ImageSet | None:
    """None where there are none, or others than were written."""
    try:
        about: dict[str, Any] = json.loads((place / _ABOUT).read_text())
        pixels, classes = (np.load(place / f"{name}.npy", mmap_mode="c") for name in ("pixels", "classes"))
        given = {split: np.load(place / f"given-{split}.npy") for split in about["given"]}
        told = [*about["about"], f"decoded before: {place.name} in the cache (`thrifty cache`) has them"]
        images = ImageSet(source, pixels, classes, about["labels"], given, told)  # whole at once: it keeps its fingerprint
        return images if about["key"] == key and images.fingerprint == about["fingerprint"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(store: Path, place: Path, key: str, images: ImageSet) -> None:
    """Under another name first: nobody sees half of it."""
    begun = place.parent / f".{secrets.token_hex(6)}"
    begun.mkdir(parents=True)
    try:
        arrays = {"pixels": images.pixels, "classes": images.classes}
        arrays |= {f"given-{split}": one for split, one in images.given.items()}
        for name, one in arrays.items():
            np.save(begun / f"{name}.npy", one, allow_pickle=False)
        about = {
            "key": key,
            "labels": images.labels,
            "given": list(images.given),
            "about": images.about,
        }
        (begun / _ABOUT).write_text(json.dumps({**about, "fingerprint": images.fingerprint}))
        shutil.rmtree(place, ignore_errors=True)  # was altered, or is another command's that has just been quicker
        begun.rename(place)
        cache.keep_within_bound(store, place)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
