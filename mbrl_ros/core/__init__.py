"""State and action layouts, angles, control sequences, recorded drives, tracks and tasks. Knows no ROS."""
