"""The arm on this machine, without ROS: its own process, camera, planner side."""
