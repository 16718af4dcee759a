"""A simulator that waits for plans, over real topics."""

import pytest

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file

pytestmark = pytest.mark.ros

AHEAD_S = 0.06


def test_simulated_time_waits_for_the_next_state_and_the_next_plan(ros_domain, tmp_path):
    from harness import running
    from mbrl_ros.msg import PlannerStatus, VehicleState
    from rosgraph_msgs.msg import Clock

    from mbrl_ros.nodes.shared import quality
    from mbrl_ros.nodes.shared.messages import to_seconds, to_stamp

    vehicle, track = config_file("vehicles", "f1tenth", ".yaml"), config_file("tracks", "demo", ".csv")
    settings = {"vehicle": vehicle, "track": track, "publish_clock": True, "wait_for_plans_s": AHEAD_S}
    with running(Graph((NodeSpec("simulator", settings),)), tmp_path) as (_, bench):
        bench.listen("/clock", Clock, quality.STATE)
        plans = bench.node.create_publisher(PlannerStatus, "/planner/status", quality.STATE)
        states = bench.node.create_publisher(VehicleState, "/vehicle_state", quality.STATE)
        for publisher in (plans, states):
            bench.spin_until(publisher.get_subscription_count, 60.0, "the simulator listens")
        bench.spin_until(lambda: bench.count("/clock") > 20, 60.0, "time passes")

        def now_s():
            return to_seconds(bench.latest("/clock").clock)

        def answer(publisher, kind, stamp_s):
            message = kind()
            message.header.stamp = to_stamp(stamp_s)
            publisher.publish(message)

        answer(states, VehicleState, begun_s := now_s())
        bench.spin_for(0.5)  # on a busy machine time may have gone on before it heard the state
        stands_s = now_s()
        bench.spin_for(0.5)
        assert now_s() == stands_s
        assert stands_s >= begun_s + AHEAD_S - 0.011
        answer(states, VehicleState, stands_s + 100.0)
        answer(plans, PlannerStatus, stands_s)
        bench.spin_until(lambda: now_s() > stands_s, 60.0, "time goes on")
        bench.spin_for(0.5)
        assert now_s() == pytest.approx(stands_s + AHEAD_S, abs=0.021)
