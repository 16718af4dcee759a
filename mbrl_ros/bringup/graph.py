"""The graph of nodes, described once: launch files and `mbrl drive` both start what is written here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

import yaml

from mbrl_ros.core.errors import ConfigError

PACKAGE = "mbrl_ros"


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Args:
        executable: module in mbrl_ros.nodes, and the name ``ros2 run mbrl_ros`` knows it by.
        parameters: ROS parameters by name.
        remappings: topic names from the node's own to the graph's.
        name: of the node, where it is another one than the executable's; more than one node may run an executable.
        dispensable: whether the others go on when it ends.
        lifecycle: whether it is a managed node (it starts itself where its ``autostart`` parameter says so).
    """

    executable: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str] = field(default_factory=dict)
    lifecycle: bool = False
    name: str = ""
    dispensable: bool = False

    @property
    def node(self) -> str:
        """Name of the node."""
        return self.name or self.executable


@dataclass(frozen=True)
class Graph:
    """Processes that live and die together: when one that is not dispensable ends, the others are stopped."""

    nodes: tuple[NodeSpec, ...]


def option(default: Any, text: str) -> Any:
    """A field of an options class, with the text that launch arguments and ``--help`` show."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class DriveOptions:
    """What a driving graph needs to know."""

    vehicle: str = option("f1tenth", "a name in config/vehicles, or the path of a YAML file")
    track: str = option("demo", "a name in config/tracks, or the path of a CSV file")
    planner: str = option("mppi_f1tenth", "a name in config/planners, or the path of a YAML file")
    others: str = option(
        "",
        "planners that may take over while driving, with commas between, each as for planner; "
        "empty: where planner is a name in config/planners, those there for the same car",
    )
    model: str = option("", "folder of the model to plan with; empty: the vehicle's nominal kinematic bicycle")
    shadow: str = option(
        "", "a planner that watches and never commands: its name, such as mppi, or as for planner; empty: none"
    )
    seed: int = option(0, "seed of every random generator")
    require_engage: bool = option(True, "whether an operator must call /command_gate/engage before the car moves")
    use_sim_time: bool = option(False, "take time from /clock")


@dataclass(frozen=True)
class SimulationOptions(DriveOptions):
    """A driving graph with the simulator in the place of the car."""

    require_engage: bool = option(False, "whether an operator must call /command_gate/engage before the car moves")
    use_sim_time: bool = option(False, "take time from /clock; needed for any other pace than real time")
    plant: str = option("", "plant model: single_track_drift or multi_body; empty: as the vehicle's file says")
    real_time_factor: float = option(1.0, "simulated seconds per second")
    wait_for_plans_s: float = option(
        0.0, "simulated time waits for states, plans and commands older than this, however busy the machine; 0: never"
    )


@dataclass(frozen=True)
class ReplayOptions:
    """The model server beside a bag that is being played: live prediction errors."""

    bag: str = option("", "recording to play; empty: it is played by somebody else, with /clock")
    topics: str = option("", "quantity=/topic pairs with commas between, for a bag without /vehicle_state")
    vehicle: str = option("f1tenth", "a name in config/vehicles, or the path of a YAML file")
    model: str = option("", "folder of the model to compare; empty: the vehicle's nominal kinematic bicycle")
    estimate: bool = option(False, "whether to estimate states from the bag's sensors")
    real_time_factor: float = option(1.0, "seconds of the recording per second")
    use_sim_time: bool = option(True, "take time from /clock (ros2 bag play --clock)")


@dataclass(frozen=True)
class TrainOptions:
    """The trainer, which waits for goals."""

    split: str = option("time:0.8", "what to learn from, the rest gives the scores: time:0.8, lap:2 or none")
    vehicle: str = option("", "a name in config/vehicles or a path: physics begins with its parameters; empty: not")
    niceness: int = option(10, "by how much a training lets other processes go first, from 0 to 19")
    threads: int = option(1, "threads of a training")


def help_of(options: type) -> dict[str, tuple[Any, str]]:
    """Default and help text of each option, by name."""
    return {item.name: (item.default, item.metadata["help"]) for item in fields(options)}


def config_folder() -> Path:
    """The package's ``config`` folder: beside the sources, or in the installed share."""
    beside_sources = Path(__file__).resolve().parents[2] / "config"
    if beside_sources.is_dir():
        return beside_sources
    for parent in Path(__file__).resolve().parents:
        if (installed := parent / "share" / PACKAGE / "config").is_dir():
            return installed
    raise ConfigError(f"no config folder beside {__file__}, nor share/{PACKAGE}/config above it; rebuild the package")


def config_file(kind: str, name: str, suffix: str, also: Sequence[str] = ()) -> str:
    """Path of ``config/<kind>/<name><suffix>``, or ``name`` itself where it is the path of a file.

    Raises:
        ConfigError: neither exists; the message lists the names there are, and those in ``also``, which the caller
            takes for something else.
    """
    if Path(name).is_file():
        return str(Path(name).resolve())
    shipped = config_folder() / kind / f"{name}{suffix}"
    if shipped.is_file():
        return str(shipped)
    there = ", ".join(sorted(path.stem for path in (config_folder() / kind).glob(f"*{suffix}")))
    or_else = f"; or give one of {', '.join(also)}" if also else ""
    raise ConfigError(f"no file '{name}', and config/{kind} has no '{name}{suffix}'; it has {there}{or_else}")


def lasting_name(name: str) -> str:
    """``name``, or where that is the path of a file, the absolute one: what may be kept for later."""
    return str(Path(name).resolve()) if Path(name).is_file() else name


def vehicle_graph(options: DriveOptions) -> Graph:
    """Estimator, model server, planner and gate on a real car's topics, and a planner in shadow mode where asked."""
    vehicle = config_file("vehicles", options.vehicle, ".yaml")
    common = {"use_sim_time": options.use_sim_time, "vehicle": vehicle}
    planner = NodeSpec(
        "planner",
        {
            **common,
            "config": config_file("planners", options.planner, ".yaml"),
            "others": os.pathsep.join(_others(options)),
            "track": config_file("tracks", options.track, ".csv"),
            "seed": options.seed,
            "autostart": True,
        },
        lifecycle=True,
    )
    return Graph(
        (
            NodeSpec(
                "command_gate",
                {**common, "gate.require_engage": options.require_engage},
                remappings={"command": "/planner/command", "trust": "/dynamics_server/trust"},
            ),
            NodeSpec("state_estimator", common),
            NodeSpec("dynamics_server", {**common, "model": options.model}),
            planner,
            *((_shadow(options.shadow, planner),) if options.shadow else ()),
        )
    )


def _others(options: DriveOptions) -> list[str]:
    """Files of the planners that may take over: ``mppi_f1tenth`` has ``ddp_f1tenth`` and ``mcts_f1tenth`` beside it."""
    if options.others:
        return [config_file("planners", name.strip(), ".yaml") for name in options.others.split(",")]
    if Path(options.planner).is_file():
        return []
    car = options.planner.partition("_")[2]
    there = sorted((config_folder() / "planners").glob(f"*_{car}.yaml"))
    taken = {_names(config_file("planners", options.planner, ".yaml"))}
    others = []
    for path in there:
        if path.stem.partition("_")[2] == car and (name := _names(str(path))) not in taken:
            others.append(str(path))
            taken.add(name)
    return others


def _names(path: str) -> str:
    """The planner that a planner's file names; what is wrong with the file is told by the node."""
    written = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return str(written.get("planner", "mppi")) if isinstance(written, dict) else ""


def _shadow(wanted: str, planner: NodeSpec) -> NodeSpec:
    """``planner`` once more, in shadow mode: another planner by its name, or with another file.

    What is in the way of the one that drives is in its way, too.
    """
    from mbrl_ros.planning.settings import PlannerName  # torch comes with it: graphs without a shadow do without

    names = get_args(PlannerName)
    if wanted in names:
        files = [planner.parameters["config"], *filter(None, planner.parameters["others"].split(os.pathsep))]
        own = next((path for path in files if _names(path) == wanted), None)
        other = {"planner": wanted, "config": own or planner.parameters["config"], "others": ""}
    else:
        other = {"config": config_file("planners", wanted, ".yaml", also=names), "others": ""}
    parameters = {**planner.parameters, **other, "shadow": True}
    heard = {"~/obstacles": f"/{planner.node}/obstacles"}
    return replace(planner, parameters=parameters, remappings=heard, name="shadow_planner", dispensable=True)


def simulation_graph(options: SimulationOptions) -> Graph:
    """The driving graph, with the simulator instead of a car."""
    simulator = NodeSpec(
        "simulator",
        {
            "vehicle": config_file("vehicles", options.vehicle, ".yaml"),
            "track": config_file("tracks", options.track, ".csv"),
            "plant": options.plant,
            "seed": options.seed,
            "real_time_factor": options.real_time_factor,
            "wait_for_plans_s": options.wait_for_plans_s,
            "publish_clock": options.use_sim_time,
        },
    )
    return Graph((simulator, *vehicle_graph(options).nodes))


def replay_graph(options: ReplayOptions) -> Graph:
    """The model server (and the estimator, where asked) on a bag, and what plays it.

    Raises:
        ConfigError: there is no such vehicle, or a bag is played without its clock being heeded.
    """
    if options.bag and not options.use_sim_time:
        raise ConfigError("use_sim_time: a bag that is played here comes with its own /clock; leave it true")
    common = {
        "use_sim_time": options.use_sim_time,
        "vehicle": config_file("vehicles", options.vehicle, ".yaml"),
    }
    # A recording says less often how the car is than an estimator does: nothing of it is to be missed.
    kept = {"states_per_kept": 1} if options.bag and not options.estimate else {}
    server = NodeSpec("dynamics_server", {**common, "model": options.model, **kept})
    nodes = (server, NodeSpec("state_estimator", common)) if options.estimate else (server,)
    if not options.bag:
        return Graph(nodes)
    player = {
        "bag": options.bag,
        "topics": options.topics,
        "estimate": options.estimate,
        "real_time_factor": options.real_time_factor,
    }
    return Graph((*nodes, NodeSpec("bag_player", player)))


def train_graph(options: TrainOptions) -> Graph:
    """The trainer alone; beside a driving car it stays out of the way by its niceness."""
    vehicle = config_file("vehicles", options.vehicle, ".yaml") if options.vehicle else ""
    return Graph((NodeSpec("trainer", {**asdict(options), "vehicle": vehicle}),))
