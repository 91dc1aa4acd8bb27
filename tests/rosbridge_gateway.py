"""The part of rosbridge v2 that a planner uses, over rclpy, for tests.

rosbridge_server has no wheel; this speaks its JSON protocol (advertise, unadvertise, publish,
subscribe, unsubscribe, call_service) on a loopback port.  python rosbridge_gateway.py PORT
"""

import array
import base64
import contextlib
import json
import signal
import sys
import threading
from importlib import import_module

import numpy as np
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from websockets.sync.server import serve

LOCK = threading.Lock()  # of the publishers that clients share


def to_json(value):
    if hasattr(value, "get_fields_and_field_types"):
        return {name: to_json(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, bytes):  # octet
        return value[0]
    if isinstance(value, array.array) and value.typecode == "B":
        return base64.b64encode(value.tobytes()).decode()
    if isinstance(value, list | tuple | array.array | np.ndarray):
        return [to_json(v) for v in value]
    return value


def fill(message, values):
    for name, value in values.items():
        part = getattr(message, name)
        if hasattr(part, "get_fields_and_field_types"):
            fill(part, value)
        else:
            setattr(message, name, value)
    return message


def kind_of(name, folder):
    package, kind = name.split("/")[0], name.split("/")[-1]
    return getattr(import_module(f"{package}.{folder}"), kind)


class Shared:
    """The publishers of all clients: as in rosbridge, one for a topic, until nobody advertises it
    any more."""

    def __init__(self, node):
        self.node, self.publishers, self.users = node, {}, {}

    def take(self, topic, kind):
        if topic not in self.publishers:
            self.publishers[topic] = self.node.create_publisher(kind, topic, 1)
        self.users[topic] = self.users.get(topic, 0) + 1
        return self.publishers[topic]

    def give(self, topic):
        self.users[topic] -= 1
        if not self.users[topic]:
            spinning(self.node.destroy_publisher, self.publishers.pop(topic))


def spinning(destroy, entity):
    """In the thread that spins: in another it may end that one (ros2/rclpy issue 1355)."""
    rclpy.get_global_executor().create_task(destroy, entity)


class Client:
    def __init__(self, node, shared, socket):
        self.node, self.shared = node, shared
        self.socket, self.lock = socket, threading.Lock()
        self.publishers, self.subscriptions = {}, {}

    def tell(self, **values):
        with self.lock:
            self.socket.send(json.dumps(values))

    def advertise(self, topic, type, **_):
        with LOCK:
            self.publishers[topic] = self.shared.take(topic, kind_of(type, "msg"))

    def unadvertise(self, topic, **_):
        with LOCK:
            del self.publishers[topic]
            self.shared.give(topic)

    def publish(self, topic, msg, **_):
        publisher = self.publishers[topic]
        publisher.publish(fill(publisher.msg_type(), msg))

    def subscribe(self, topic, type, **_):
        latched = topic.endswith("diagnostics")
        qos = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            ),
        )
        self.subscriptions[topic] = self.node.create_subscription(
            kind_of(type, "msg"), topic,
            lambda message: self.tell(op="publish", topic=topic, msg=to_json(message)), qos,
        )

    def unsubscribe(self, topic, **_):
        spinning(self.node.destroy_subscription, self.subscriptions.pop(topic))

    def call_service(self, service, id="", **_):
        kind = kind_of(dict(self.node.get_service_names_and_types())[service][0], "srv")
        client = self.node.create_client(kind, service)
        if not client.wait_for_service(3.0):
            self.tell(op="service_response", id=id, service=service, result=False, values="absent")
            return
        client.call_async(kind.Request()).add_done_callback(lambda future: self.tell(
            op="service_response", id=id, service=service, result=True,
            values=to_json(future.result()),
        ))

    def close(self):
        for topic in list(self.publishers):
            self.unadvertise(topic)
        for topic in list(self.subscriptions):
            self.unsubscribe(topic)


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    rclpy.init()
    node = rclpy.create_node("gateway")
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    shared = Shared(node)

    def handle(socket):
        client = Client(node, shared, socket)
        try:
            for text in socket:
                order = json.loads(text)
                operation = order.pop("op")
                if operation in ("advertise", "unadvertise", "publish", "subscribe", "unsubscribe",
                                 "call_service"):
                    getattr(client, operation)(**order)
        finally:
            client.close()

    with serve(handle, "127.0.0.1", int(sys.argv[1]), origins=[None]) as server:  # no web pages
        print("listening", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    rclpy.try_shutdown()  # or ROS 2 counts this process for 20 s more


if __name__ == "__main__":
    main()
