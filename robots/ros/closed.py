"""A node that answers what it says it answers, and nothing else."""

from __future__ import annotations

from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter


class ClosedNode(Node):
    """Without parameter services nobody sets use_sim_time, or anything else, from outside; a node's
    type descriptions would be one more service for SROS2 to allow (tools/lab/policy.xml)."""

    def __init__(self, name: str, context: Context | None = None) -> None:
        super().__init__(
            name, context=context, start_parameter_services=False,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )
