"""The real arm: limits, the loop that commands it, ROS 2 and FCI. No torch."""
