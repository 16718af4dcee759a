"""command_gate: the only publisher of /drive. Clamps, refuses, brakes, latches the e-stop."""

from __future__ import annotations

from ackermann_msgs.msg import AckermannDriveStamped
from pydantic import Field
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from mbrl_ros.core.command_gate import CommandGate, GateSettings, Mode
from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.rate import RateMonitor
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.msg import ModelTrust
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.messages import command_of, drive_message, to_seconds
from mbrl_ros.nodes.shared.run import run


class CommandGateSettings(Settings):
    """Parameters of the command_gate node."""

    vehicle: str = Field(description="path of the vehicle's YAML, whose limits are enforced")
    control_rate_hz: float = Field(50.0, ge=5.0, le=200.0, description="rate that commands are expected at")
    slot_tolerance_s: float = Field(0.005, gt=0.0, description="how far from its slot a command still keeps the rate")
    watchdog_rate_hz: float = Field(50.0, ge=20.0, le=200.0, description="rate of the check for silence")
    gate: GateSettings = Field(default_factory=GateSettings, description="timeouts and policy")


class CommandGateNode:
    """Subscribes ``command``, ``trust``, ``estop`` and ``enable``; publishes ``/drive``; services ``~/engage``,
    ``~/estop`` and ``~/reset_estop``."""

    def __init__(self) -> None:
        self.node = Node("command_gate")
        self.clock = NodeClock(self.node)
        settings = parameters.declare(self.node, CommandGateSettings)
        self.gate = CommandGate(read_settings(settings.vehicle, Vehicle).limits, settings.gate)
        self._silence_s = 0.9 / settings.watchdog_rate_hz
        self._sent_s = self._sent_stamp_s = float("-inf")
        self._rate = RateMonitor(1.0 / settings.control_rate_hz, settings.slot_tolerance_s)
        self._drive = self.node.create_publisher(AckermannDriveStamped, "/drive", quality.COMMAND)
        self._diagnostics = diagnostics.Diagnostics(self.node, "commands", self._report)
        self.node.create_subscription(AckermannDriveStamped, "command", self._on_command, quality.COMMAND)
        self.node.create_subscription(ModelTrust, "trust", self._on_trust, quality.LATCHED)
        # A reliable subscription is deaf to best-effort publishers, a best-effort one may lose what is sent reliably.
        for profile in (quality.STATE, quality.SENSOR):
            self.node.create_subscription(Bool, "estop", self._on_estop, profile)
        self.node.create_subscription(Bool, "enable", self._on_enable, quality.COMMAND)
        self.node.create_service(SetBool, "~/engage", self._on_engage)
        self.node.create_service(Trigger, "~/estop", self._on_estop_service)
        self.node.create_service(Trigger, "~/reset_estop", self._on_reset_estop)
        self.node.create_timer(1.0 / settings.watchdog_rate_hz, self._on_watchdog, clock=self.clock.steady)
        self.node.create_timer(0.1, self._check_owner, clock=self.clock.steady)
        self._last_now_s = self.clock.now_s()

    def close(self) -> None:
        """Tell the car to stop, several times, before falling silent."""
        self.gate.disengage()
        for k in range(self.gate.settings.stop_commands):
            # On /clock time does not move meanwhile, and the car refuses repeated stamps.
            self._send(ahead_s=k * 1e-6)

    def _on_command(self, message: AckermannDriveStamped) -> None:
        now_s = self.clock.now_s()
        if now_s < self._last_now_s - 1.0:
            self.gate.reset_time()
        self._last_now_s = now_s
        refusal = self.gate.receive(
            command_of(message), to_seconds(message.header.stamp), now_s, self.clock.receipt_s()
        )
        if refusal:
            self.node.get_logger().warning(f"command refused: {refusal}", throttle_duration_sec=1.0)
            return
        self._send()
        # Braking for want of commands is what missed cycles lead to: it does not excuse them.
        if self.gate.mode in (Mode.DRIVING, Mode.BRAKING):
            self._rate.cycle(self.clock.receipt_s())
        else:
            self._rate.interrupt()

    def _on_watchdog(self) -> None:
        # Commands are passed on as they arrive; this timer only speaks where they do not.
        if self.clock.steady_s() - self._sent_s > self._silence_s:
            self._send()

    def _send(self, ahead_s: float = 0.0) -> None:
        now_s = self.clock.now_s()
        # On /clock nothing newer can be said before it moves on, and before it begins (zero) nothing at all.
        if now_s == 0.0 or now_s + ahead_s == self._sent_stamp_s:
            return
        now_s += ahead_s
        command = self.gate.tick(now_s, self.clock.receipt_s())
        self._diagnostics.publish_on_change()
        if command is not None:
            self._drive.publish(drive_message(command, now_s))
            self._sent_stamp_s = now_s
            self._sent_s = self.clock.steady_s()

    def _check_owner(self) -> None:
        publishers = self.node.count_publishers(self.node.resolve_topic_name("command"))
        self.gate.set_fault(f"{publishers} publishers of commands" if publishers > 1 else "")

    def _on_estop(self, message: Bool) -> None:
        if message.data:
            self._press_estop("topic")

    def _on_trust(self, message: ModelTrust) -> None:
        stop = f"model {message.model_id} is not trusted: {message.reason}" if message.level == ModelTrust.STOP else ""
        self.gate.heed_trust(message.speed_cap, stop, self.clock.receipt_s())

    def _press_estop(self, source: str) -> None:
        self.node.get_logger().error(f"e-stop pressed by {source}: braking until ~/reset_estop is called")
        self.gate.press_estop()
        self._send()

    def _on_enable(self, message: Bool) -> None:
        self.gate.enable(message.data, self.clock.receipt_s())

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            refusal = self.gate.engage(self.clock.receipt_s())
        else:
            self.gate.disengage()
            refusal = ""
        response.success, response.message = not refusal, refusal or self.gate.mode.value
        return response

    def _on_estop_service(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._press_estop("service")
        response.success, response.message = True, self.gate.mode.value
        return response

    def _on_reset_estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.gate.reset_estop()
        response.success, response.message = True, self.gate.mode.value
        return response

    def _report(self) -> diagnostics.Report:
        mode = self.gate.mode
        level = {
            Mode.DRIVING: diagnostics.OK,
            Mode.INACTIVE: diagnostics.WARN,
            Mode.BRAKING: diagnostics.ERROR,
            Mode.STOPPED_BY_OPERATOR: diagnostics.ERROR,
        }[mode]
        message = f"{mode.value}: {self.gate.reason}" if self.gate.reason else mode.value
        return (
            level,
            message,
            {**self.gate.counters, "cycles": self._rate.cycles, "cycles in their slot": self._rate.kept},
        )


def main() -> None:
    """Run the node."""
    run("command_gate", CommandGateNode)


if __name__ == "__main__":
    main()
