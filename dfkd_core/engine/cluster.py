"""Find a Ray cluster, or start one here, and see that it has the coordinator of a folder of runs.

``python -m dfkd_core.engine.cluster RUNS [HOST:PORT]`` prints one line of JSON: ``problem``, in words, or nothing. In a
process of its own, since one that is connected to a cluster is ended when that goes.
"""

from __future__ import annotations

import hashlib
import importlib
import ipaddress
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
STORE_BYTES = 80_000_000  # nothing large passes through Ray: a run's folder is the channel
KNOCK_SECONDS = 10.0
NOT_THERE = "no cluster answers there; `ray status --address HOST:PORT` says what is wrong."
OPEN = (
    "this cluster takes orders from anybody who reaches it over the network. Start it with a token: "
    "`ray get-auth-token --generate`, then `RAY_AUTH_MODE=token ray start --head`."
)


def main() -> int:
    runs, address = Path(sys.argv[1]), (sys.argv[2] if len(sys.argv) > 2 else "")
    if MODE not in os.environ and _has_token():
        os.environ[MODE] = "token"  # before ray reads it; a cluster that wants none does not mind
    with tempfile.TemporaryFile("w") as aside:  # ray prints, and so does what it starts
        out = os.dup(1)
        os.dup2(aside.fileno(), 1)
        problem = _reached(runs, address)
        os.write(out, json.dumps({"problem": problem}).encode() + b"\n")
    return 1 if problem else 0


def _has_token() -> bool:
    named = any(os.environ.get(name) for name in (TOKEN, TOKEN_PATH))
    return named or (Path.home() / ".ray" / "auth_token").is_file()


def _reached(runs: Path, address: str) -> str:
    """Why the cluster cannot be used; empty once its coordinator is there."""
    from ray.exceptions import AuthenticationError, RayError

    ray = _ray()
    if address and not _answers(address):
        return NOT_THERE
    try:
        if not _connected(address or "auto"):
            if address:
                return NOT_THERE
            if problem := _started():
                return problem
            if not _connected("auto"):
                return NOT_THERE
        at = ray.get_runtime_context().gcs_address
        if _is_open(at, [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]):
            return OPEN
        _coordinator(runs, at)
    except AuthenticationError as error:
        return f"the cluster did not take the token: {str(error).splitlines()[0]}"
    except RayError as error:
        return f"its coordinator did not start: {str(error).strip().splitlines()[-1]}"
    return ""


def _ray() -> Any:
    """The package, which reads its settings when it is first imported."""
    return importlib.import_module("ray")


def _answers(address: str) -> bool:
    """Whether anything listens at ``HOST:PORT``, where Ray would wait minutes; other forms are left to it."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()) or "/" in host:
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
    except (OSError, OverflowError):
        return False
    return True


def _connected(address: str) -> bool:
    try:
        _ray().init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, ValueError):
        return False
    return True


def _started() -> str:
    """Start a cluster of this machine, which outlives this process; why that did not work, or nothing. It asks for a
    token: Ray listens on the network."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = ray if Path(ray).is_file() else shutil.which("ray") or "ray"
    environment = {**os.environ, MODE: "token"}
    options = ["--include-dashboard=false", "--disable-usage-stats", f"--object-store-memory={STORE_BYTES}"]
    try:
        if not _has_token():
            _check([command, "get-auth-token", "--generate"], environment)
        _check([command, "start", "--head", "--port=0", *options], environment)
    except subprocess.CalledProcessError as error:
        return f"no cluster could be started here: {' '.join((error.stderr or error.stdout).split())[-300:]}"
    os.environ[MODE] = "token"
    _ray()._raylet.Config.initialize("")  # ray has read its settings already
    return ""


def _check(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _is_open(address: str, hosts: list[str]) -> bool:
    """Whether a cluster that can be reached from elsewhere takes orders without a token: somebody who has none asks."""
    if all(_is_loopback(host) for host in hosts):
        return False
    stranger = {**os.environ, MODE: "disabled"}
    for name in (TOKEN, TOKEN_PATH):
        stranger.pop(name, None)
    asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    return subprocess.run(asked, env=stranger, capture_output=True, check=False).returncode == 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _coordinator(runs: Path, address: str) -> None:
    """Returns when the one of these runs is at work."""
    from dfkd_core.engine.coordinator import Coordinator

    namespace = f"dfkd-{hashlib.sha256(os.fsencode(runs)).hexdigest()[:16]}"
    options: dict[str, Any] = {"max_restarts": -1, "max_task_retries": -1, "num_cpus": 0, "lifetime": "detached"}
    ray = _ray()
    made = ray.remote(Coordinator).options(name="coordinator", namespace=namespace, get_if_exists=True, **options)
    ray.get(made.remote(str(runs), address).is_at_work.remote())


if __name__ == "__main__":
    sys.exit(main())
