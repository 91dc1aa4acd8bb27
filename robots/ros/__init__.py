"""The arm behind ROS 2: bridge, driver node, planner side."""
