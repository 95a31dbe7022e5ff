"""Two hosts that only a virtual cable joins: namespaces of one machine, made by ../shared/platforms/two_hosts.sh.

That needs root. A test of them is marked with `across_hosts`, and takes the fixture `hosts`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "shared" / "platforms" / "two_hosts.sh"
across_hosts = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPT.exists(), reason="../shared/platforms is not there"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may make hosts"),
]


class Hosts:
    """h1 and h2. folder: for the keys and settings of ssh."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "HOSTS_DIR": str(folder)}

    def __call__(self, what):
        command = ["bash", SCRIPT, what]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=200, check=False)

    def start(self, host, *command, cwd, **environment):
        """A process of a host; what it says can be read as text."""
        named = ["unshare", "-u", "sh", "-c", f'hostname {host}; exec "$@"', "sh"]
        words = ["ip", "netns", "exec", host, *named, *map(str, command)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            words, env={**self.environment, **environment}, cwd=cwd, **pipes, start_new_session=True
        )

    def on_h2(self, *command):
        """Run a command among the mounts of h2's ssh server."""
        server = subprocess.run(
            ["ip", "netns", "pids", "h2"], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        subprocess.run(["nsenter", "-m", "-t", server, *map(str, command)], check=True)

    def running(self, host, module):
        """The processes of a host that run a module of Python's."""
        listed = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True).stdout
        return [int(number) for number in listed.split() if _runs(number, module)]


def _runs(number, module):
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False
    return os.fsencode(module) in words and words[0] == os.fsencode(sys.executable)


def until(happened):
    """Wait for something that happens soon; fails after a minute."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        os.sched_yield()
