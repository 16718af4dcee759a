"""What has to be there first, and must not be slowed down: nodes that start without the numerics of planners.

The planner itself loads them once other nodes can get to know it.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros


def test_gate_simulator_player_and_the_planners_executable_start_without_torch():
    program = "import sys; from mbrl_ros.nodes import bag_player, command_gate, planner, simulator; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "rclpy" in loaded
    assert "torch" not in loaded
