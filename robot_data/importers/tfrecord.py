"""TFRecord files and ``tf.train.Example`` messages without TensorFlow.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord (length, masked CRC-32C of it,
data, masked CRC-32C of it); the message is described to protobuf by hand below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from robot_data.schema import DataError

Feature = NDArray[Any] | list[bytes]


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def record_offsets(path: Path) -> list[int]:
    """Where each whole record starts; a torn tail is left out."""
    offsets, size = [], path.stat().st_size
    with open(path, "rb") as file:
        while True:
            start = file.tell()
            head = file.read(12)
            if len(head) < 12 or _masked_crc(head[:8]) != struct.unpack("<I", head[8:])[0]:
                return offsets
            length = struct.unpack("<Q", head[:8])[0]
            if start + 16 + length > size:
                return offsets
            offsets.append(start)
            file.seek(length + 4, 1)


def read_example(path: Path, offset: int) -> dict[str, Feature]:
    """The features of the record at ``offset``: float32 or int64 arrays [K], or lists of bytes."""
    with open(path, "rb") as file:
        file.seek(offset)
        length = struct.unpack("<Q", file.read(12)[:8])[0]
        data = file.read(length)
        check = file.read(4)
    if len(check) < 4 or _masked_crc(data) != struct.unpack("<I", check)[0]:
        raise DataError(f"record at byte {offset} of {path.name} does not match its checksum")
    example = _example_class()()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise DataError(f"record at byte {offset} of {path.name} is no Example") from error
    return dict(_features(example))


def _features(example: Any) -> Iterator[tuple[str, Feature]]:
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            yield name, list(feature.bytes_list.value)
        elif kind == "float_list":
            yield name, np.array(feature.float_list.value, np.float32)
        elif kind == "int64_list":
            yield name, np.array(feature.int64_list.value, np.int64)


@cache
def _example_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="arm_worldmodel_example.proto", package="arm_worldmodel", syntax="proto3"
    )

    def message(name: str, *fields: tuple[str, int, int, bool, str], within: Any = None) -> Any:
        made = within.nested_type.add() if within is not None else file.message_type.add()
        made.name = name
        for title, number, kind, repeated, type_name in fields:
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            made.field.add(
                name=title, number=number, type=kind, label=label,  # pyright: ignore
                type_name=f".arm_worldmodel.{type_name}" if type_name else None,
            )
        return made

    message("BytesList", ("value", 1, field.TYPE_BYTES, True, ""))
    message("FloatList", ("value", 1, field.TYPE_FLOAT, True, ""))
    message("Int64List", ("value", 1, field.TYPE_INT64, True, ""))
    feature = message(
        "Feature", ("bytes_list", 1, field.TYPE_MESSAGE, False, "BytesList"),
        ("float_list", 2, field.TYPE_MESSAGE, False, "FloatList"),
        ("int64_list", 3, field.TYPE_MESSAGE, False, "Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for item in feature.field:
        item.oneof_index = 0
    features = message(
        "Features", ("feature", 1, field.TYPE_MESSAGE, True, "Features.FeatureEntry")
    )
    entry = message(
        "FeatureEntry", ("key", 1, field.TYPE_STRING, False, ""),
        ("value", 2, field.TYPE_MESSAGE, False, "Feature"), within=features,
    )
    entry.options.map_entry = True
    message("Example", ("features", 1, field.TYPE_MESSAGE, False, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("arm_worldmodel.Example"))
