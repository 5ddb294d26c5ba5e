"""Whether the kernel has killed for want of memory: its own count, of the control group that this process is in."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

OF_A_GROUP = ("memory.events", "memory.oom_control")  # version 2 and version 1; both hold a line ``oom_kill COUNT``


def oom_kills(processes: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes of this control group, and of those below it, were killed so far; 0 where nobody counts."""
    count = 0
    with suppress(OSError, ValueError):
        for line in processes.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                for name in OF_A_GROUP:
                    # In a container the group is mounted as the root, though its path is the host's.
                    for folder in (groups / controllers / path.lstrip("/"), groups / controllers):
                        count = max(count, _count(folder / name))
    return count


def _count(file: Path) -> int:
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
