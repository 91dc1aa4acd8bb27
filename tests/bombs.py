"""Files of a few kilobytes that unfold to gigabytes, made of sound ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import h5py
import numcodecs.blosc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

from robot_data.importers.tfrecord import _example_class, _masked_crc, record_offsets

GB = 2**30


def npz(path: Path) -> None:
    """An array of 1.5 GB of zeros in a zip, the pictures where it has them."""
    with np.load(path) as data:
        held = {name: data[name] for name in data.files}
    name = "observations" if "observations" in held else max(held, key=lambda n: held[n].nbytes)
    shape = (3 * GB // 2,)
    if name == "observations":
        shape = (1, len(held["states"][0]), 2**14, 2**13, 2)
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for other in held.keys() - {name}:
            with file.open(f"{other}.npy", "w") as stream:
                np.lib.format.write_array(stream, held[other])
        with file.open(f"{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array_header_1_0(stream, head)
            for _ in range(24):
                stream.write(bytes(GB // 16))


def hdf5(path: Path) -> None:
    """Arrays of which nothing is on the disk; of stable-worldmodel, one long episode of them."""
    with h5py.File(path, "a") as file:
        if "ep_len" in file:
            for name in set(file) - {"ep_len", "ep_offset"}:
                shape, kind = file[name].shape, file[name].dtype
                del file[name]
                file.create_dataset(name, (2**28, *shape[1:]), kind, chunks=(1, *shape[1:]))
            del file["ep_len"], file["ep_offset"]
            file["ep_len"], file["ep_offset"] = [2**28], [0]
            return
        for name in ("observation/robot_state/cartesian_position", "observation/more"):
            if name in file:
                del file[name]
            file.create_dataset(name, (2**28, 6), "f8", chunks=(2**16, 6), compression="gzip")


def mp4(path: Path) -> None:
    """Frames of 100 megapixels, all black."""
    with av.open(str(path)) as container:
        count = sum(p.size > 0 for p in container.demux(video=0))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 10)
        stream.width = stream.height = 10_000
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        frame = av.VideoFrame(10_000, 10_000, "yuv420p")
        for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        for number in range(min(count, 2)):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def parquet(path: Path) -> None:
    """The first row, 4 million times."""
    rows = pq.read_table(path)[:1]
    if "episode_index" not in rows.column_names:
        rows = rows.append_column("episode_index", pa.array([0]))
    many = pa.concat_tables([rows] * 100_000).combine_chunks()
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(40):
            writer.write_table(many)


def mcap(path: Path) -> None:
    """A chunk that is 2 GB of zeros."""
    data = bytearray(path.read_bytes())
    place = 8
    while place < len(data) and data[place] != 6:  # opcode of a chunk
        place += 9 + struct.unpack_from("<Q", data, place + 1)[0]
    if place >= len(data):
        return json_(path)
    end = place + 9 + struct.unpack_from("<Q", data, place + 1)[0]
    place += 9 + 28
    name = b"\x04\x00\x00\x00zstd"
    room = end - place - len(name) - 8
    records = _zeros(2 * GB, room)
    data[place:end] = name + struct.pack("<Q", len(records)) + records
    path.write_bytes(bytes(data))
    return None


def db3(path: Path) -> None:
    """Messages of 4 GB of zeros, and a description that says that they are coded."""
    with sqlite3.connect(path) as file:
        file.execute("UPDATE messages SET data = ?", (_zeros(4 * GB),))
    file.close()
    described = path.with_name("metadata.yaml")
    text = described.read_text()
    for key, value in (("format", "zstd"), ("mode", "message")):
        text = text.replace(f"compression_{key}: ''", f"compression_{key}: {value}")
        text = text.replace(f'compression_{key}: ""', f"compression_{key}: {value}")
    described.write_text(text)


def tfrecord(path: Path) -> None:
    """A picture of 225 megapixels, and in another camera one as large as is still read."""
    start = record_offsets(path)[0]
    with open(path, "rb") as file:
        file.seek(start)
        length = struct.unpack("<Q", file.read(12)[:8])[0]
        example = _example_class()()
        example.ParseFromString(file.read(length))
    sides = [7_000, 15_000]
    for _, feature in sorted(example.features.feature.items()):
        cells = feature.bytes_list.value
        if len(cells) and cells[0][:3] in (b"\xff\xd8\xff", b"\x89PN") and sides:
            cells[0] = _png(sides.pop(0))
    data = example.SerializeToString()
    size = struct.pack("<Q", len(data))
    path.write_bytes(
        size + struct.pack("<I", _masked_crc(size)) + data + struct.pack("<I", _masked_crc(data))
    )


def zarray(path: Path) -> None:
    """One chunk of 200 GB, all fill value."""
    told = json.loads(path.read_text())
    told["chunks"] = [10**7, *told["chunks"][1:]]
    told["shape"] = [10**9, *told["shape"][1:]]
    path.write_text(json.dumps(told))


def chunk(path: Path) -> None:
    """A coded chunk that says it unfolds to 2 GB, and does."""
    coded = bytearray(path.read_bytes())
    if len(coded) >= 16 and coded[0] == 2:  # Blosc: sizes after the flags
        path.write_bytes(numcodecs.blosc.compress(bytes(GB), b"zstd", 1, 0))
    else:
        path.write_bytes(_zeros(2 * GB))


def json_(path: Path) -> None:
    """Lists in lists in lists."""
    path.write_text("[" * 3_000_000)


def yaml(path: Path) -> None:
    """A billion laughs."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    path.write_text("\n".join([*lines, path.read_text()]))


def _zeros(size: int, room: int | None = None) -> bytes:
    """``size`` zeros coded with zstd; ``room``: as many as fit into, and exactly, so many bytes."""
    parts, coder = [], zstd.ZstdCompressor(level=1)
    block = bytes(2**24)
    for _ in range(size // len(block)):
        parts.append(coder.compress(block))
        if room is not None and sum(map(len, parts)) > room * 0.9 - 64:
            break
    parts.append(coder.flush())
    coded = b"".join(parts)
    if room is None:
        return coded
    rest = room - len(coded)
    return coded + struct.pack("<II", 0x184D2A50, rest - 8) + bytes(rest - 8)  # a skipped frame


def _png(side: int) -> bytes:
    """A black picture, made without its pixels."""
    def part(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    rows, row = zlib.compressobj(1), bytes(1 + 3 * side)
    data = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", data) + part(b"IEND", b"")


MAKERS: dict[str, Callable[[Path], None]] = {
    ".npz": npz, ".h5": hdf5, ".mp4": mp4, ".parquet": parquet, ".mcap": mcap, ".db3": db3,
    ".json": json_, ".jsonl": json_, ".yaml": yaml, ".zarray": zarray, ".tfrecord": tfrecord,
}


def bombed(clean: Path, out: Path) -> list[Path]:
    """Copies of a source, in each of which another kind of file is a bomb."""
    roots = []
    for path in sorted(p for p in clean.rglob("*") if p.is_file()):
        make = _maker(path)
        root = out / f"{clean.name}-{make.__name__}" if make else out
        if make is None or root in roots:
            continue
        shutil.copytree(clean, root)
        make(root / path.relative_to(clean))
        roots.append(root)
    return roots


def _maker(path: Path) -> Callable[[Path], None] | None:
    if path.name.replace(".", "").isdigit():
        return chunk
    found = ".tfrecord" if ".tfrecord" in path.name else path.suffix or path.name
    return MAKERS.get(found)
