"""The nodes in processes of their own and the core in this one: the same commands for the same inputs.

The test holds every node's clock and hands every message on, in the order in which `ClosedLoop` calls the parts, and
goes on when the node has answered for the instant. So what a node is compared with does not depend on the scheduler.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mbrl_ros.bringup.graph import DriveOptions, Graph, config_file, vehicle_graph
from mbrl_ros.core.command_gate import CommandGate, GateSettings
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop, measurements
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.control_loop import ControlLoop
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]

CYCLES = 100
CYCLE_NS, HALF_CYCLE_NS = 20_000_000, 10_000_000
START_NS = 1_000_000_000  # at zero the clock of a node has not begun
# Messages carry commands in single precision. In a loop through sampled plans a difference of 1e-8 grows tenfold every
# quarter of a second, so the loop as a whole is compared for as long as it stays small; its parts are to the end.
UNDISTURBED_CYCLES = 40
SEED = 3
# The gate passes a command on as it arrives, or, where the clock has moved and nothing arrives, repeats the last one.
# In lock-step it hears a command first and moves its clock then, so that only one of the two can happen.
GATE = GateSettings(require_engage=False, future_tolerance_s=0.03)

VEHICLE = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
TRACK = Track.from_csv(config_file("tracks", "demo", ".csv"))


@dataclass
class Record:
    """What the nodes were told and what they answered, cycle by cycle."""

    settings: RacingPlannerSettings
    commands: list = field(default_factory=list)
    plans: list = field(default_factory=list)
    drives: list = field(default_factory=list)
    readings: list = field(default_factory=list)  # [2 * cycles] lists of Reading
    states: list = field(default_factory=list)  # [2 * cycles] VehicleState, None before the first pose


def few_rollouts(path: Path) -> RacingPlannerSettings:
    """The 1:10 car's planner, small enough to be evaluated without compiling."""
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"] |= {"rollouts": 128, "horizon": 30, "backend": "eager"}
    path.write_text(yaml.safe_dump(settings))
    return read_settings(path, RacingPlannerSettings)


def switched(planner: Path) -> Graph:
    """The vehicle's graph, with a clock for each node and no topic that leads from one node to another."""
    answers = {
        "state_estimator": {"/vehicle_state": "/answer/vehicle_state"},
        "planner": {"~/command": "/answer/command", "/dynamics_server/model_id": "/told/model_id"},
        "command_gate": {"/drive": "/answer/drive"},
    }
    more = {
        "command_gate": {"gate.future_tolerance_s": GATE.future_tolerance_s},
        "dynamics_server": {"use_sim_time": False},  # its heartbeat only has to be heard once
    }
    options = DriveOptions(planner=str(planner), seed=SEED, use_sim_time=True, require_engage=False)
    return Graph(
        tuple(
            replace(
                spec,
                parameters={**spec.parameters, **more.get(spec.executable, {})},
                remappings={
                    **spec.remappings,
                    **answers.get(spec.executable, {}),
                    "/clock": f"/clock_of/{spec.executable}",
                },
            )
            for spec in vehicle_graph(options).nodes
        )
    )


class Switchboard:
    """Hands messages to the nodes and takes their answers."""

    NODES = ("state_estimator", "planner", "command_gate")

    def __init__(self, bench):
        from ackermann_msgs.msg import AckermannDriveStamped
        from geometry_msgs.msg import PoseWithCovarianceStamped
        from mbrl_ros.msg import PlannedTrajectory, VehicleState
        from nav_msgs.msg import Odometry
        from rcl_interfaces.srv import GetParameters
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Imu
        from std_msgs.msg import String

        from mbrl_ros.nodes.shared import quality

        self.bench = bench
        for topic, kind in {
            "/answer/vehicle_state": VehicleState,
            "/answer/command": AckermannDriveStamped,
            "/answer/drive": AckermannDriveStamped,
            "/planner/plan": PlannedTrajectory,
            "/dynamics_server/model_id": String,
        }.items():
            bench.listen(topic, kind, quality.STATE)
        kinds = {
            "/wheel_odom": Odometry,
            "/imu/data": Imu,
            "/drive_feedback": AckermannDriveStamped,
            "/pose_fix": PoseWithCovarianceStamped,
            "/vehicle_state": VehicleState,
            "/planner/command": AckermannDriveStamped,
            "/drive": AckermannDriveStamped,
            "/told/model_id": String,
            **{f"/clock_of/{name}": Clock for name in self.NODES},
        }
        self._publishers = {topic: bench.node.create_publisher(kind, topic, 10) for topic, kind in kinds.items()}
        # Endpoints become known in the order in which they were made: who answers these calls knows all of the above.
        self._calls = {name: bench.node.create_client(GetParameters, f"/{name}/get_parameters") for name in self.NODES}
        self._request = GetParameters.Request()
        for topic, publisher in self._publishers.items():
            bench.spin_until(lambda p=publisher: p.get_subscription_count() > 0, 60.0, f"somebody hears {topic}")
        for name, call in self._calls.items():
            bench.spin_until(call.service_is_ready, 60.0, f"{name} runs")
            self.settle(name)
        self.wait_until_active()
        bench.spin_until(lambda: bench.count("/dynamics_server/model_id") > 0, 60.0, "the model server's heartbeat")

    def wait_until_active(self):
        from lifecycle_msgs.msg import State
        from lifecycle_msgs.srv import GetState

        def is_active():
            state = self.bench.call(GetState, "/planner/get_state", GetState.Request(), timeout_s=60.0)
            return state.current_state.id == State.PRIMARY_STATE_ACTIVE

        self.bench.spin_until(is_active, 60.0, "the planner is active")

    def tell(self, topic, message):
        self._publishers[topic].publish(message)

    def settle(self, name):
        """Return when a node has taken in what it was told last.

        Its answer to a call is behind that in the same queue; the second call is for executors that look at services
        and subscriptions in another order than that of arrival.
        """
        for _ in range(2):
            future = self._calls[name].call_async(self._request)
            self.bench.spin_until(future.done, 60.0, f"{name} answers")

    def clock(self, name, now_ns):
        from builtin_interfaces.msg import Time
        from rosgraph_msgs.msg import Clock

        self.tell(f"/clock_of/{name}", Clock(clock=Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)))

    def answer(self, topic, now_ns):
        """The message of ``topic`` that is stamped with ``now_ns``."""
        received = self.bench.received[topic]

        def arrived():
            return bool(received) and nanoseconds(received[-1][1]) == now_ns

        self.bench.spin_until(arrived, 60.0, f"{topic} for {now_ns} ns")
        return received[-1][1]


def nanoseconds(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def message_of(reading):
    """Topic and message of a simulated reading, as the simulator node publishes it."""
    from ackermann_msgs.msg import AckermannDriveStamped
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import Imu

    from mbrl_ros.nodes.shared.messages import quaternion_of, to_stamp

    values, variances = reading.values.tolist(), reading.variances.tolist()
    if reading.sensor == "imu":
        topic, message = "/imu/data", Imu()
        message.angular_velocity.z = values[0]
        message.linear_acceleration.x, message.linear_acceleration.y, message.linear_acceleration.z = values[1:]
        message.angular_velocity_covariance[8] = variances[0]
        message.linear_acceleration_covariance[0::4] = variances[1:]
    elif reading.sensor == "wheel_speed":
        topic, message = "/wheel_odom", Odometry(child_frame_id="base_link")
        message.twist.twist.linear.x, message.twist.covariance[0] = values[0], variances[0]
    elif reading.sensor == "steering":
        topic, message = "/drive_feedback", AckermannDriveStamped()
        message.drive.steering_angle = values[0]
    else:
        topic, message = "/pose_fix", PoseWithCovarianceStamped()
        message.header.frame_id = "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = values[:2]
        message.pose.pose.orientation = quaternion_of(values[2])
        for entry, variance in zip((0, 7, 35), variances, strict=True):
            message.pose.covariance[entry] = variance
    message.header.stamp = to_stamp(reading.stamp_s)
    return topic, message


def simulator():
    subject = Simulator(VEHICLE, seed=SEED, start_s=START_NS * 1e-9)
    start = TRACK.at(0.0)
    subject.set_pose(float(start.position[0]), float(start.position[1]), float(start.heading))
    return subject


@pytest.fixture(scope="module")
def record(ros_domain_of_module, tmp_path_factory):
    """Two seconds of driving."""
    from harness import running

    folder = tmp_path_factory.mktemp("parity")
    settings = few_rollouts(folder / "planner.yaml")
    with running(switched(folder / "planner.yaml"), folder / "logs") as (_, bench):
        board, found, car = Switchboard(bench), Record(settings), simulator()
        for name in board.NODES:
            board.clock(name, START_NS - HALF_CYCLE_NS)
        board.answer("/answer/drive", START_NS - HALF_CYCLE_NS)
        for cycle in range(CYCLES):
            now_ns = START_NS + cycle * CYCLE_NS
            command_cycle(board, found, car, now_ns)
            for part in (1, 2):
                estimate(board, found, car, now_ns, now_ns + part * HALF_CYCLE_NS)
        yield found


def command_cycle(board, found, car, now_ns):
    """The planner commands and plans, the gate passes on, everybody hears what was sent."""
    board.tell("/told/model_id", board.bench.latest("/dynamics_server/model_id"))
    board.settle("planner")
    board.clock("planner", now_ns)
    found.commands.append(board.answer("/answer/command", now_ns))
    has_state = bool(found.states) and found.states[-1] is not None
    found.plans.append(board.answer("/planner/plan", now_ns) if has_state else None)
    board.tell("/planner/command", found.commands[-1])
    board.settle("command_gate")
    board.clock("command_gate", now_ns)
    sent = board.answer("/answer/drive", now_ns)
    found.drives.append(sent)
    board.tell("/drive", sent)
    board.settle("planner")
    board.settle("state_estimator")
    drive = sent.drive
    car.command(now_ns * 1e-9, drive.steering_angle, speed=drive.speed, acceleration=drive.acceleration)


def estimate(board, found, car, now_ns, then_ns):
    """Time passes to ``then_ns``; the estimator hears of what was measured and answers, the planner hears of that."""
    readings = car.advance(then_ns * 1e-9)
    found.readings.append(readings)
    board.clock("state_estimator", then_ns - 1_000_000)
    for reading in readings:
        board.tell(*message_of(reading))
    board.settle("state_estimator")
    board.clock("state_estimator", then_ns)
    aligned = any(reading.sensor == "pose" for part in found.readings for reading in part)
    found.states.append(board.answer("/answer/vehicle_state", then_ns) if aligned else None)
    if aligned:
        # Not yet at the next command's time: the planner is to know this state before it commands.
        board.clock("planner", now_ns + HALF_CYCLE_NS)
        board.tell("/vehicle_state", found.states[-1])
        board.settle("planner")


def planner(settings):
    nominal = passport.in_memory(build_for(VEHICLE, "kinematic_bicycle", dt=0.02))
    return racing_planner(settings, nominal, VEHICLE, TRACK, SEED)


def drive_fields(message):
    drive = message.drive
    return [drive.steering_angle, drive.steering_angle_velocity, drive.speed, drive.acceleration, drive.jerk]


def single_precision(command):
    """[5] a command's fields as AckermannDrive carries them."""
    return [float(np.float32(value)) for value in vars(command).values()]


def test_the_car_drove(record):
    assert record.states[-1].vx > 2.0
    assert len([plan for plan in record.plans if plan is not None]) > 0.9 * CYCLES


def test_state_estimator(record):
    from mbrl_ros.nodes.shared.messages import state_of, to_seconds

    core = StateEstimator.for_vehicle(VEHICLE)
    compared = 0
    for half, (readings, answer) in enumerate(zip(record.readings, record.states, strict=True)):
        if half % 2 == 0:
            sent = record.drives[half // 2]
            action = np.array([sent.drive.steering_angle, sent.drive.acceleration])
            core.add_command(to_seconds(sent.header.stamp), action)
        for reading in readings:
            for measurement in measurements(reading):
                core.add(measurement)
        expected = core.predict((START_NS + (half + 1) * HALF_CYCLE_NS) * 1e-9)
        assert (expected is None) == (answer is None)
        if expected is not None:
            compared += 1
            np.testing.assert_allclose([*state_of(answer), answer.gyro_bias], expected.mean, rtol=0, atol=1e-6)
            covariance = np.reshape(answer.covariance, (9, 9))
            np.testing.assert_allclose(covariance, expected.covariance, rtol=1e-5, atol=1e-10)
    assert compared > 1.8 * CYCLES


def test_planner_to_the_bit(record):
    from mbrl_ros.nodes.shared.messages import state_of, to_seconds

    core, mppi = ControlLoop(VEHICLE.limits, record.settings.loop), planner(record.settings)
    for cycle in range(CYCLES):
        now_ns = START_NS + cycle * CYCLE_NS
        now_s = now_ns * 1e-9
        command = core.command(now_s, now_s)
        assert drive_fields(record.commands[cycle]) == single_precision(command), f"cycle {cycle}"
        problem, answer = core.problem(), record.plans[cycle]
        assert (problem is None) == (answer is None)
        if problem is not None:
            plan = mppi.plan(problem)
            np.testing.assert_array_equal(np.reshape(answer.controls.actions, plan.actions.shape), plan.actions)
            np.testing.assert_array_equal(np.reshape(answer.states, plan.states.shape), plan.states)
            assert answer.model_id == plan.model_id
            core.adopt(plan, solve_time_s=0.0)
        sent = record.drives[cycle]
        core.sent(to_seconds(sent.header.stamp), sent.drive.steering_angle, sent.drive.acceleration)
        heard_s = (now_ns + HALF_CYCLE_NS) * 1e-9
        for state in record.states[2 * cycle : 2 * cycle + 2]:
            if state is not None:
                assert core.observe(state_of(state), to_seconds(state.header.stamp), heard_s, heard_s) == ""


def test_command_gate_to_the_last_digit_that_a_message_carries(record):
    from mbrl_ros.nodes.shared.messages import command_of, to_seconds

    core = CommandGate(VEHICLE.limits, GATE)
    before_s = (START_NS - HALF_CYCLE_NS) * 1e-9
    core.tick(before_s, before_s)
    for cycle, (command, sent) in enumerate(zip(record.commands, record.drives, strict=True)):
        now_s = (START_NS + cycle * CYCLE_NS) * 1e-9
        assert core.receive(command_of(command), to_seconds(command.header.stamp), before_s, before_s) == ""
        assert drive_fields(sent) == single_precision(core.tick(now_s, now_s)), f"cycle {cycle}"
        before_s = now_s
    assert core.counters["clamped jerk"] > 0


def test_the_whole_loop_in_one_process(record):
    loop = ClosedLoop(
        VEHICLE,
        TRACK,
        Simulator(VEHICLE, seed=SEED, start_s=START_NS * 1e-9),
        StateEstimator.for_vehicle(VEHICLE),
        planner(record.settings),
        record.settings.loop,
    )
    loop.run(laps=1, timeout_s=UNDISTURBED_CYCLES * CYCLE_NS * 1e-9)
    expected = np.array([list(vars(command).values()) for _, command in loop.commands])
    commands = np.array([drive_fields(message) for message in record.drives[:UNDISTURBED_CYCLES]])
    assert expected[-1, 3] > 1.0
    np.testing.assert_allclose(commands, expected, rtol=0, atol=1e-3)
