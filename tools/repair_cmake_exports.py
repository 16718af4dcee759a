#!/usr/bin/env python3
"""Make the CMake exports of the ROS 2 wheels usable on this machine.

The wheels were built in a manylinux container, and a few of their exported CMake files still
list include folders of that container (everything below /opt/python/). CMake stops at an
imported target whose include folder does not exist. Those items are dropped from the lists;
find_package(Python3) supplies this machine's folders anyway. Running it twice is harmless.

Usage: repair_cmake_exports.py PREFIX
"""

import pathlib
import re
import sys

# One item of a CMake list that points into the container, with the separator that follows it.
CONTAINER_ITEM = re.compile(r"/opt/python/[^;\"\s)]*;?")
# A separator left dangling when the last item of a list was dropped.
DANGLING_SEPARATOR = re.compile(r";(?=\")")


def repaired(text: str) -> str:
    """Return the CMake text without list items that begin with /opt/python/."""
    lines = []
    for line in text.splitlines(keepends=True):
        if "/opt/python/" in line:
            line = DANGLING_SEPARATOR.sub("", CONTAINER_ITEM.sub("", line))
        lines.append(line)
    return "".join(lines)


def repair(prefix: pathlib.Path) -> int:
    """Repair every exported CMake file below prefix/share and return how many changed."""
    changed = 0
    for path in sorted((prefix / "share").rglob("*.cmake")):
        before = path.read_text(encoding="utf-8")
        after = repaired(before)
        if after != before:
            # Write aside and rename, so that an interruption never leaves half a file.
            aside = path.with_name(path.name + ".part")
            aside.write_text(after, encoding="utf-8")
            aside.replace(path)
            changed += 1
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"repaired {repair(pathlib.Path(sys.argv[1]))} CMake export files")
