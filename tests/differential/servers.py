"""Servers under test: starting one in a folder of its own, and what it is.

A server is reached by a unix socket in its folder only, so that no port needs to be free. It may end by itself (that
is a finding); it is then started again with nothing in it.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import time

from wire import Connection, Lost

# SORT ALPHA goes by the locale.
PLAIN = {**os.environ, "LC_ALL": "C"}
START_DEADLINE_S = 120.0


class Server:
    """A program that speaks the protocol, running. `kind` is `weir`, `valkey` or `redis`, `version` a tuple."""

    def __init__(self, program, folder, settings=()):
        self.program = str(program)
        self.settings = settings
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "socket"
        self.process = None
        self.connections = {}
        self.start()
        info = self.call(b"INFO", b"server").decode("latin1")
        fields = dict(re.findall(r"^(\w+):(.*?)\r?$", info, re.MULTILINE))
        for kind in ("weir", "valkey", "redis"):
            if f"{kind}_version" in fields:
                self.kind, text = kind, fields[f"{kind}_version"]
                break
        self.version = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
        self.name = f"{self.kind} {text}"

    def start(self):
        self.stop()
        self.path.unlink(missing_ok=True)
        # A short tick lets a blocked client's timeout end on time, not at the next tenth of a second.
        text = f'port 0\nunixsocket {self.path}\nsave ""\nappendonly no\nhz 500\ndir {self.folder}\n'
        (self.folder / "conf").write_text(text + "".join(f"{line}\n" for line in self.settings))
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([self.program, self.folder / "conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=PLAIN)
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.connection(2)
                return
            except (OSError, Lost):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{self.program} did not start:\n{self.log_tail()}") from None
                time.sleep(0.02)

    def hang_up(self):
        """Closes the connections; new ones are made when they are needed."""
        for connection in self.connections.values():
            connection.close()
        self.connections = {}

    def stop(self):
        self.hang_up()
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log_tail(self, lines=25):
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-lines:])

    def connection(self, protocol):
        if protocol not in self.connections:
            self.connections[protocol] = Connection(self.path, protocol)
        return self.connections[protocol]

    def call(self, *args):
        return self.connection(2).exchange([list(args)])[0]

    def has_ended(self):
        """Whether the process is gone; waits a moment for one that is just going."""
        deadline = time.monotonic() + 1.0
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.process.poll() is not None

    def commands(self):
        """Names of all commands, in capitals."""
        return {row.items[0].decode().upper() for row in self.call(b"COMMAND").items}

    def has_commands(self, names):
        """Those of `names` that the server has."""
        replies = self.connection(2).exchange([[b"COMMAND", b"INFO", name.encode()] for name in names])
        return {name for name, reply in zip(names, replies) if getattr(reply.items[0], "items", None)}


@contextlib.contextmanager
def side_by_side(ours, theirs):
    """Two servers of two programs, each in a folder of its own that goes with them."""
    with tempfile.TemporaryDirectory(prefix="compared-") as folder, contextlib.ExitStack() as running:
        servers = []
        for name, program in (("ours", ours), ("theirs", theirs)):
            servers.append(Server(program, pathlib.Path(folder) / name))
            running.callback(servers[-1].stop)
        yield servers
