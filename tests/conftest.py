"""What tests share: where real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """A data root with real files: PARETOBOARD_DATA, or shared/data beside the repository."""
    given = os.environ.get("PARETOBOARD_DATA")
    root = Path(given).absolute() if given else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is not there, set PARETOBOARD_DATA to a data root")
    return root


@pytest.fixture(scope="session")
def cifar10_root(data_root: Path) -> Path:
    """A data root with at least the first training batch and the test batch of CIFAR-10's binary version."""
    for batch in ("data_batch_1.bin", "test_batch.bin"):
        if not (data_root / "cifar-10-batches-bin" / batch).exists():
            pytest.skip(f"no {batch} of CIFAR-10 in {data_root}")
    return data_root
