"""Small Ray clusters on this machine, to measure and to test on: all nodes see the same folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

AUTHORISED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
SMALL = ("--disable-usage-stats", "--object-store-memory=80000000")


@contextmanager
def small_cluster(cpus: int = 2) -> Iterator[str]:
    """The address of a cluster, which ends with the block."""
    os.environ |= AUTHORISED
    folder = Path(tempfile.mkdtemp(prefix="dfkd-ray-"))
    try:
        yield begin_cluster(folder, cpus)
    finally:
        end_cluster(folder)


def begin_cluster(folder: Path, cpus: int = 2, **environment: str) -> str:
    """The address of a new one, whose files lie in ``folder``."""
    asked = ["--head", "--port=0", "--include-dashboard=false", f"--num-cpus={cpus}", f"--temp-dir={folder}"]
    _ray({**os.environ, **environment}, "start", *asked, *SMALL)
    return (folder / "ray_current_cluster").read_text().strip()


def begin_node(address: str, cpus: int = 2) -> psutil.Process:
    """One more machine of a cluster: the process at its root, without which it is gone."""
    before = {one.pid for one in _raylets()}
    _ray(dict(os.environ), "start", f"--address={address}", f"--num-cpus={cpus}", *SMALL)
    return next(one for one in _raylets() if one.pid not in before and address in " ".join(one.cmdline()))


def end_cluster(folder: Path) -> None:
    """The processes of this one only: those whose command names its folder, and what those have started."""
    ours = [one for one in psutil.process_iter() if one.pid != os.getpid() and str(folder) in " ".join(_command(one))]
    ours += [child for one in ours for child in _children(one)]
    for process in ours:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(ours, 10)
    shutil.rmtree(folder, ignore_errors=True)


def _raylets() -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["name"]) if one.info["name"] == "raylet"]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _ray(environment: dict[str, str], *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("ray")), *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
