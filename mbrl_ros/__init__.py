"""Model-based reinforcement learning for autonomous race cars, on ROS 2."""

import re
from pathlib import Path
from pkgutil import extend_path

# The generated messages (mbrl_ros.msg, .srv, .action) are built into another folder than the
# sources. Joining both folders lets the source tree import them without being installed.
__path__ = extend_path(__path__, __name__)


def _read_version() -> str:
    """Version of the package manifest beside the sources, or installed under share."""
    here = Path(__file__).resolve()
    manifests = [here.parents[1], *(folder / "share" / __name__ for folder in here.parents)]
    for manifest in manifests:
        if (manifest / "package.xml").is_file():
            text = (manifest / "package.xml").read_text(encoding="utf-8")
            if found := re.search(r"<version>\s*([^<\s]+)\s*</version>", text):
                return found[1]
    raise ImportError(f"no package.xml of {__name__} beside or above {here}; install it again")


__version__ = _read_version()
