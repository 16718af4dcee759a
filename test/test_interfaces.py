"""The wire: interface definitions, their documentation, and their type hashes."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest
import yaml
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

import mbrl_ros

ROOT = Path(mbrl_ros.__file__).resolve().parents[1]
OWN = sorted(path for kind in ("msg", "srv", "action") for path in (ROOT / kind).glob(f"*.{kind}"))
OVERLAY = sorted(path for kind in ("msg", "srv", "action") for path in (ROOT / "overlay").glob(f"*/{kind}/*.{kind}"))

# Type hashes that a ROS 2 distribution and recordings made with one carry (REP-2011).
UPSTREAM_HASHES = {
    "ackermann_msgs/msg/AckermannDriveStamped": (
        "RIHS01_48ca7612a08d3bb72744fd98b71b7cf2ea24c6ad50fa4e1aa0bbad963c90d8cf"
    ),
    "tf2_msgs/msg/TFMessage": "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "tf2_msgs/msg/TF2Error": "RIHS01_db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a",
}


def ros_name(path: Path) -> str:
    """Type name of a definition file, such as mbrl_ros/msg/VehicleState."""
    package = path.parents[1].name if path in OVERLAY else "mbrl_ros"
    return f"{package}/{path.parent.name}/{path.stem}"


def built_hash(name: str) -> str:
    """Hash that the interface generator wrote beside a built type."""
    package, kind, stem = name.split("/")
    for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep):
        description = Path(prefix) / "share" / package / kind / f"{stem}.json"
        if description.is_file():
            hashes = json.loads(description.read_text("utf-8")).get("type_hashes")
            if hashes is None:
                pytest.skip("this ROS 2 distribution is older than type hashes")
            return next(item["hash_string"] for item in hashes if item["type_name"] == name)
    pytest.fail(f"{name} is not built")


@pytest.fixture(scope="module")
def typestore():
    """Types of ROS 2 with the definitions of this repository, read from their text without ROS."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in OWN + OVERLAY:
        if path.suffix == ".msg":
            types |= get_types_from_msg(path.read_text("utf-8"), ros_name(path))
    store.register(types)
    return store


@pytest.mark.parametrize("path", OWN + OVERLAY, ids=ros_name)
def test_every_field_is_explained(path):
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("# "), "the first line says what the interface is for"
    silent = [line for line in lines if line.strip() and line != "---" and "# " not in line]
    assert not silent


@pytest.mark.ros
@pytest.mark.parametrize("path", OWN + OVERLAY, ids=ros_name)
def test_built_type_has_its_support_library(path):
    package, kind, stem = ros_name(path).split("/")
    built = getattr(importlib.import_module(f"{package}.{kind}"), stem)
    metaclass = type(built)
    metaclass.__import_type_support__()
    assert metaclass._TYPE_SUPPORT is not None


@pytest.mark.ros
@pytest.mark.parametrize("path", [path for path in OWN if path.suffix == ".msg"], ids=ros_name)
def test_recordings_carry_the_hash_of_the_built_message(path, typestore):
    """Messages written with rosbags and messages on the wire are the same types."""
    assert typestore.hash_rihs01(ros_name(path)) == built_hash(ros_name(path))


@pytest.mark.parametrize("name", UPSTREAM_HASHES)
def test_overlay_definition_has_the_upstream_hash(name, typestore):
    assert typestore.hash_rihs01(name) == UPSTREAM_HASHES[name]


@pytest.mark.ros
@pytest.mark.parametrize("name", UPSTREAM_HASHES)
def test_type_in_use_has_the_upstream_hash(name):
    assert built_hash(name) == UPSTREAM_HASHES[name]


def test_recorded_commands_have_the_upstream_hash(shared_data):
    metadata = yaml.safe_load((shared_data / "bags" / "f1tenth_ds3" / "metadata.yaml").read_text("utf-8"))
    topics = metadata["rosbag2_bagfile_information"]["topics_with_message_count"]
    recorded = {topic["topic_metadata"]["type"]: topic["topic_metadata"]["type_description_hash"] for topic in topics}
    name = "ackermann_msgs/msg/AckermannDriveStamped"
    assert recorded[name].strip() == UPSTREAM_HASHES[name]
