"""A Ray cluster on this machine, for tests: each node a `ray start --block` in the foreground."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

HERE = str(Path(__file__).parent)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ray_environment(folder: str) -> dict[str, str]:
    # A token of the cluster's own: without these, Ray would use, or ask for, the one in the home folder.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": os.path.join(folder, "token")}
    return os.environ | token | {"PYTHONPATH": HERE, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}


class Cluster:
    """Two nodes of one CPU each; `settings` are added to their environment, which is that of their workers."""

    def __init__(self, folder: str, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._settings = dict(settings or {})

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        Path(self.folder, "token").write_text(secrets.token_hex(32))
        self._node("--head", f"--port={port}", f"--temp-dir={self.folder}", "--include-dashboard=false")
        self._await_head()
        self._node(f"--address={self.address}")

    def kill(self) -> None:
        """Kill the newest node and all that it runs, as if its machine had lost power."""
        node = self.nodes.pop()
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def _await_head(self) -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(self.address.rpartition(":")[2]))) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(Path(self.folder, "log.txt").read_text())

    def _node(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--num-gpus=0"]
        command += ["--object-store-memory=80000000", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        environment = ray_environment(self.folder) | self._settings
        with open(os.path.join(self.folder, "log.txt"), "ab") as log:
            node = subprocess.Popen(
                [*command, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.nodes.append(node)

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.terminate()
        for node in reversed(self.nodes):
            try:
                node.wait(timeout=15)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
            try:
                os.killpg(node.pid, signal.SIGKILL)  # what the node left behind, if anything
            except ProcessLookupError:
                pass
