"""An open ROS 2 bag: its topics, the messages of those that can be read, and why others cannot.

rosbags' ``AnyReader`` refuses a whole bag for one definition that it cannot parse (service events,
types that are defined nowhere); here such a topic is left out by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, storage_mcap
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from robot_data.schema import DataError

JOINT_TYPE = "sensor_msgs/msg/JointState"
TEXT_TYPE = "std_msgs/msg/String"
MOST_BYTES = 16 * 1024  # of a message that is kept as numbers: pictures and clouds are larger
MOST_TEXT = 1024 * 1024  # of a String message, such as a robot's description
IDL_MARK = "=" * 80 + "\n"


_DEFINITION = storage_mcap.get_msgdef


def _definition(schema: storage_mcap.Schema | None) -> MessageDefinition:
    """A schema of another kind (JSON, protobuf) is no reason to refuse the file."""
    try:
        return _DEFINITION(schema)
    except KeyError:
        return MessageDefinition(MessageDefinitionFormat.NONE, "")


storage_mcap.get_msgdef = _definition


@dataclass(frozen=True)
class Numbers:
    """The numeric fields of a topic: times [N] in ns, names [W], rows float64 [N, W]."""

    times: NDArray[np.int64]
    names: list[str]
    rows: NDArray[np.float64]


class Bag:
    """``kinds``: type of every topic; ``unread``: why a topic cannot be read.

    ``path``: a bag folder or a plain file.  To be closed; a context manager.
    """

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self.unread: dict[str, str] = {}
        self._store = get_typestore(Stores.EMPTY)
        self._known = get_typestore(Stores.LATEST).fielddefs
        for connection in self._reader.connections:
            self._define(connection)
        kinds: dict[str, set[str]] = {}
        for connection in self._reader.connections:
            kinds.setdefault(connection.topic, set()).add(connection.msgtype)
        for topic, types in kinds.items():
            if len(types) > 1:
                self.unread[topic] = f"it has messages of {len(types)} types"
        self.kinds = {topic: sorted(types)[0] for topic, types in kinds.items()}

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()

    def _define(self, connection: Connection) -> None:
        kind, told = connection.msgtype, connection.msgdef
        try:
            if told.format == MessageDefinitionFormat.MSG:
                self._store.register(get_types_from_msg(told.data, kind))
            elif told.format == MessageDefinitionFormat.IDL:
                parts = told.data.split(IDL_MARK)
                for part in parts[1:] if len(parts) > 1 else [f"\n{told.data}"]:
                    self._store.register(get_types_from_idl(part.split("\n", 1)[1]))
            elif kind not in self._store.fielddefs:
                if kind not in self._known:
                    raise DataError(f"its type {kind} is not defined in the bag")
                held = self._store.fielddefs
                self._store.register({k: v for k, v in self._known.items() if k not in held})
            if connection.digest and self._store.hash_rihs01(kind) != connection.digest:
                raise DataError(f"its definition of {kind} is not the one that it was written with")
        except DataError as error:
            self.unread[connection.topic] = str(error)
        except Exception as error:  # parsers raise many types
            first = " ".join(str(error).split())[:80]
            self.unread[connection.topic] = f"its definition of {kind} cannot be parsed ({first})"

    def raw(self, topic: str) -> Iterator[tuple[int, bytes]]:
        """Recording time in ns and bytes of every message, in the order they were recorded."""
        chosen = [c for c in self._reader.connections if c.topic == topic]
        if not chosen:
            raise DataError(f"there is no topic {topic}")
        for _, logged, data in self._reader.messages(connections=chosen):
            yield logged, bytes(data)

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Time in ns (of the header where there is one) and message; raises DataError for a topic
        that cannot be read."""
        if topic in self.unread:
            raise DataError(f"{topic} cannot be read: {self.unread[topic]}")
        for logged, data in self.raw(topic):
            message = self.decode(topic, data)
            yield stamp_of(message, logged), message

    def decode(self, topic: str, data: bytes) -> Any:
        """One message."""
        return self._store.deserialize_cdr(data, self.kinds[topic])

    def text(self, topic: str) -> list[str]:
        """The messages of a String topic; raises DataError for one of more than MOST_TEXT."""
        found = []
        for _, data in self.raw(topic):
            if len(data) > MOST_TEXT:
                raise DataError(f"a message of {len(data)} bytes is longer than {MOST_TEXT}")
            found.append(str(self.decode(topic, data).data))
        return found

    def numbers(self, topic: str) -> Numbers:
        """All numeric fields, as float64; joint states by the names of their joints, NaN where a
        message has none.

        Raises DataError for messages of more than MOST_BYTES, and for those whose fields change.
        """
        if topic in self.unread:
            raise DataError(self.unread[topic])
        times: list[int] = []
        found: list[tuple[tuple[str, ...], NDArray[np.float64]]] = []
        names: tuple[str, ...] | None = None
        for logged, data in self.raw(topic):
            if len(data) > MOST_BYTES:
                raise DataError(
                    f"its messages have {len(data)} bytes, of at most {MOST_BYTES} that are kept "
                    "as numbers"
                )
            message = self.decode(topic, data)
            if self.kinds[topic] == JOINT_TYPE:
                own, values = _joint_fields(message)
            else:
                own, values = _flat(message)
            names = own if names is None else names  # one tuple for all messages
            found.append((names if names == own else own, np.array(values, np.float64)))
            times.append(stamp_of(message, logged))
        if self.kinds[topic] == JOINT_TYPE:
            union = sorted({name for own, _ in found for name in own})
            rows = np.full((len(found), len(union)), np.nan)
            place = {name: i for i, name in enumerate(union)}
            for row, (own, values) in zip(rows, found, strict=True):
                row[[place[name] for name in own]] = values
            return Numbers(np.array(times, np.int64), union, rows)
        if not found:
            return Numbers(np.zeros(0, np.int64), [], np.zeros((0, 0)))
        if any(own is not names for own, _ in found):
            raise DataError("its fields or names change from message to message")
        rows = np.array([values for _, values in found], np.float64)
        return Numbers(np.array(times, np.int64), list(names or ()), rows)


def stamp_of(message: Any, logged: int) -> int:
    """Time in ns of the message's header; the recording time where it has none."""
    header = getattr(message, "header", None)
    if header is None or (header.stamp.sec == 0 and header.stamp.nanosec == 0):
        return logged
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _joint_fields(message: Any) -> tuple[tuple[str, ...], list[float]]:
    """Fields as ``position.JOINT``; a field without a value for every joint is left out."""
    names, values = [], []
    for field in ("position", "velocity", "effort"):
        row = getattr(message, field)
        if len(row) == len(message.name):
            names += [f"{field}.{joint}" for joint in message.name]
            values += row.tolist()
    return tuple(names), values


def _flat(message: Any, prefix: str = "") -> tuple[tuple[str, ...], list[float]]:
    """Names and values of all numeric fields, depth first; the header's stamp is left out.

    Lists of text are part of the names: where they change, numbers beside them change meaning.
    """
    names: list[str] = []
    values: list[float] = []
    for item in fields(message):
        value, name = getattr(message, item.name), f"{prefix}{item.name}"
        if item.name in ("header", "layout"):
            continue
        if is_dataclass(value):
            more = _flat(value, f"{name}.")
            names, values = [*names, *more[0]], values + more[1]
        elif isinstance(value, (bool, int, float)):
            names.append(name)
            values.append(float(value))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            names += [f"{name}[{i}]" for i in range(value.size)]
            values += value.astype(np.float64).ravel().tolist()
        elif isinstance(value, list) and value and all(isinstance(text, str) for text in value):
            names.append(f"{name}={','.join(value)}")
            values.append(float("nan"))
    return tuple(names), values
