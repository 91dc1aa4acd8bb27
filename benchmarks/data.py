"""Training windows per second from our store and from other formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Training windows per second of one core: our store, raw and JPEG, beside HDF5 with gzip, MP4
    through PyAV and zarr with lz4 a frame; and DataLoaders of our store.

    The same made-up episodes, one thread; the page cache is warm.
    """

    out: str = "outputs/bench/data"  # folder of the table and the report
    side: int = 128  # side of the square images [px]
    length: int = 16  # frames of a window
    seconds: float = 3.0  # time for each way [s]
    workers: tuple[int, ...] = (1, 2)  # processes of a DataLoader


def run(settings: Settings) -> dict[str, Any]:
    """Returns windows per second of every way."""
    from benchmarks.data_ways import measure

    return measure(settings)
