"""CIFAR-10 from its official files, of which there are two forms (Krizhevsky 2009).

The binary version is plain bytes. The python version is pickles, and a pickle can run anything when it
is loaded; that is why one is loaded here only after the very bytes that are loaded were found to have the
official MD5. MD5 is weak in that someone may write *two* files with one digest; to write a file that has
the digest of a given one, published in 2009, is out of reach (2^123 steps, Sasaki and Aoki 2009). And the
loader knows numpy arrays only, so that even such a file could not name another function. What it holds
must have the binary version's MD5, too.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import TYPE_CHECKING, Any, Final

from paretoboard.datasets import Dataset, Images
from paretoboard.datasets.integrity import DataFile, Layout, read_checked, require_md5
from paretoboard.datasets.shaping import shaped
from paretoboard.errors import DataError, UnknownNameError
from paretoboard.geometry import AS_STORED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.spec import Preprocess

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH_IMAGES: Final = 10_000
RECORD_BYTES: Final = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes
TRAIN_BATCHES: Final = tuple(f"data_batch_{number}" for number in range(1, 6))
SPLITS: Final = {"train": TRAIN_BATCHES, "train-batch-1": TRAIN_BATCHES[:1], "test": ("test_batch",)}
_ID: Final = re.compile(r"(train/[0-4]|test/0)[0-9]{4}")

BINARY: Final = Layout(
    title="binary version",
    files={
        batch: DataFile(path=f"cifar-10-batches-bin/{batch}.bin", md5=md5, most_bytes=BATCH_IMAGES * RECORD_BYTES)
        for batch, md5 in {
            "data_batch_1": "5dd7e06a14cb22eb9f671a540d1b7c25",
            "data_batch_2": "5ea93a67294ea407fff1d09f752e9692",
            "data_batch_3": "942cd6a4bcdd0dd3c604fbe906cb4421",
            "data_batch_4": "ae636b3ba5c66a11e91e8cb52e771fcb",
            "data_batch_5": "53f37980c15c3d472c316c40844f3f0d",
            "test_batch": "803d5f7f4d78ea53de84dbe85f74fb6d",
        }.items()
    },
)
# The digests are torchvision's, datasets/cifar.py: CIFAR10.train_list and .test_list.
PYTHON: Final = Layout(
    title="python version, as torchvision keeps it",
    files={
        batch: DataFile(path=f"cifar-10-batches-py/{batch}", md5=md5, most_bytes=40_000_000)
        for batch, md5 in {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        }.items()
    },
)


class Cifar10(Dataset):
    """CIFAR-10; ids are "train/00000" to "train/49999" and "test/00000" to "test/09999", as published."""

    splits = tuple(SPLITS)
    classes = len(CLASSES)
    class_names = CLASSES
    image_shape = (3, 32, 32)
    sizes = {split: len(batches) * BATCH_IMAGES for split, batches in SPLITS.items()}  # noqa: RUF012 - as published
    layouts = (BINARY, PYTHON)

    def __init__(self, data_root: Path, *, binary: Layout = BINARY, python: Layout = PYTHON) -> None:
        self.data_root, self.binary, self.python = data_root, binary, python

    def read(self, split: str, preprocess: Preprocess = AS_STORED) -> Images:
        """All images of a split; "train-batch-1" is the first 10,000 of "train".

        Every file is checked each time it is read, about 50 ms for one. Where a batch lies in both forms, the
        binary one is read.
        """
        if split not in SPLITS:
            raise UnknownNameError("split of cifar10", split, SPLITS)
        return shaped(self._read_batches(SPLITS[split]), preprocess)

    def read_ids(self, ids: tuple[str, ...], preprocess: Preprocess = AS_STORED) -> Images:
        """The images of `ids`, in that order; only the batches that hold one of them are read."""
        images = self._read_batches(sorted({_batch_of(name) for name in ids})).select(ids)
        return shaped(images, preprocess)

    def holds(self, split: str, name: str) -> bool:
        """Whether the id is of one of the split's batches."""
        return bool(_ID.fullmatch(name)) and _batch_of(name) in SPLITS[split]

    def _read_batches(self, batches: Sequence[str]) -> Images:
        import numpy as np

        self._require_present(batches)
        records = np.concatenate([self._records(batch) for batch in batches])
        return Images(
            ids=tuple(name for batch in batches for name in _ids_of(batch)),
            pixels=np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32),
            labels=records[:, 0].astype(np.int64),
            classes=CLASSES,
        )

    def _records(self, batch: str) -> NDArray[np.uint8]:
        import numpy as np

        if (self.data_root / self.binary.files[batch].path).exists():
            content = read_checked(self.data_root, self.binary.files[batch])
        else:
            content = binary_records(read_checked(self.data_root, self.python.files[batch]))
            require_md5(content, self.binary.files[batch].md5, f"{self.data_root}: {batch} of the python version")
        return np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)

    def _require_present(self, batches: Sequence[str]) -> None:
        missing = [
            batch
            for batch in batches
            if not any((self.data_root / form.files[batch].path).exists() for form in (self.binary, self.python))
        ]
        if missing:
            names = "\n".join(f"    {self.data_root / self.binary.files[batch].path}" for batch in missing)
            raise DataError(
                f"CIFAR-10 is not all there. Missing:\n{names}\n"
                "These are the files of the official binary version, cifar-10-binary.tar.gz; the python\n"
                f"version is read, too, from {self.data_root / 'cifar-10-batches-py'}. To bring them:\n"
                f"    paretoboard data fetch cifar10 --data-root {self.data_root}"
            )


def binary_records(pickled: bytes) -> bytes:
    """The records of the binary version, from a file of the python version whose MD5 *was checked*.

    Raises: DataError if it holds anything but arrays and plain values, or not a batch of images.
    """
    import numpy as np

    try:
        # latin1 is what turns the byte strings of Python 2 into an array's bytes, one to one.
        batch: Any = _ArraysOnly(io.BytesIO(pickled), encoding="latin1").load()
        pixels, labels = batch["data"], np.asarray(batch["labels"])
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), RECORD_BYTES - 1):
            raise DataError(f"python version of CIFAR-10: {pixels.dtype} pixels of shape {pixels.shape} found")
        return np.concatenate([labels.astype(np.uint8)[:, None], pixels], axis=1).tobytes()
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"python version of CIFAR-10: not a batch of images: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Knows the three names that a pickled array is made of, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        # Asked of an array, since the module that holds it was renamed in numpy 2.
        reconstruct = np.empty(0).__reduce__()[0]
        known = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch does")
        return known[module, name]


def _batch_of(name: str) -> str:
    match = _ID.fullmatch(name)
    if not match:
        raise DataError(
            f"cifar10 has no image '{name}': ids are train/00000 to train/49999 and test/00000 to test/09999"
        )
    return "test_batch" if name.startswith("test") else TRAIN_BATCHES[int(match[1][-1])]


def _ids_of(batch: str) -> list[str]:
    part, first = ("test", 0) if batch == "test_batch" else ("train", TRAIN_BATCHES.index(batch) * BATCH_IMAGES)
    return [f"{part}/{index:05d}" for index in range(first, first + BATCH_IMAGES)]
