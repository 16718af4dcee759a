"""The Python half of mbrl_ros for tools that expect a Python project; ROS 2 builds by CMake."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
MANIFEST = (ROOT / "package.xml").read_text(encoding="utf-8")


def element(name: str) -> str:
    """Text of an element of package.xml, the one place where these facts stand."""
    found = re.search(rf"<{name}(?: [^>]*)?>(.*?)</{name}>", MANIFEST, re.DOTALL)
    if found is None:
        raise SystemExit(f"package.xml has no <{name}>")
    return " ".join(found[1].split())


def requirements(name: str) -> list[str]:
    """Names in a file of direct dependencies, without comments."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def shared_files() -> list[tuple[str, list[str]]]:
    """Files for share/mbrl_ros: the manifest, launch files and configuration."""
    paths = [Path("package.xml")]
    for folder in ("launch", "config"):
        paths += sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.*"))
    return [(f"share/mbrl_ros/{path.parent}", [str(path)]) for path in paths]


setup(
    name="mbrl_ros",
    version=element("version"),
    description=element("description"),
    license=element("license"),
    python_requires=">=3.10",
    packages=find_packages(include=["mbrl_ros", "mbrl_ros.*"]),
    package_data={"mbrl_ros": ["**/*.html", "**/*.j2", "**/*.cu"]},
    data_files=shared_files(),
    install_requires=requirements("runtime.in") + requirements("torch.in"),
    extras_require={"cuda": ["cupy-cuda12x"], "develop": requirements("develop.in")},
    entry_points={"console_scripts": ["mbrl = mbrl_ros.cli.start:main"]},
)
