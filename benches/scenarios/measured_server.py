"""A server under measurement, what the system knows of it, and connections to it.

Every scenario starts its servers through here, so that all of them are started alike: on a free port of the loopback
interface, without persistence, in a directory of their own that is removed afterwards. A server is any program that takes
Redis's command line, so peers are measured by the same code as Weir.

What must stay true: only the standard library, and no figure comes from the server itself where the system has it.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 20
CALL_SECONDS_MAX = 120
RECEIVE_BYTES = 1 << 18
FOREIGN_REST_SECONDS = 1.0


class Failed(Exception):
    """A scenario cannot go on; the text says why."""


class Server:
    """A running server; ends, and takes its directory with it, at the end of a `with`."""

    def __init__(self, name, command, core=None, options=(), directory=None):
        """`command` may hold options of its own; `core` is the only processor it may use; a `directory` is left as it is."""
        self.name = name
        self.port = free_port()
        self.is_lodger = directory is not None
        self.directory = directory or tempfile.mkdtemp(prefix="measured-")
        arguments = shlex.split(command) + ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        arguments += ["--appendonly", "no", "--dir", self.directory, *options]
        self.log = open(os.path.join(self.directory, "log"), "wb+")
        self.process = None
        try:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
            self.pid = self.process.pid
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self):
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with Connection(self.port) as connection:
                    if connection.call("PING") == b"PONG":
                        return
            except Failed as answer:
                # It is there, and reads its data.
                if "LOADING" in str(answer):
                    return
            except OSError:
                pass
            time.sleep(0.02)
        self.log.seek(0)
        raise Failed(f"{self.name} does not answer; its output:\n{self.log.read().decode(errors='replace')}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the process, by force if it does not end by itself."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        if not self.is_lodger:
            shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self):
        """A new connection."""
        return Connection(self.port)

    def processor_ns(self):
        """Processor time that all its threads have used, in nanoseconds, user's and system's together."""
        return time.clock_gettime_ns(process_clock(self.pid))

    def user_share(self):
        """Ticks of processor time (in user space, in all); coarser than `processor_ns`, but divided."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        user, system = int(fields[11]), int(fields[12])
        return user, user + system

    def rss_bytes(self):
        """Memory of the process that is in RAM."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) * 1024
        raise Failed(f"{self.name} has ended")


class Foreign:
    """A server of another kind in a folder of its own, with the face of a `Server`, started and ended by a script."""

    def __init__(self, name, script, words=(), files=None):
        """`script start WORDS DIRECTORY PORT` starts it; `files` are put into its folder before, by name."""
        self.name, self.script = name, script
        self.directory = tempfile.mkdtemp(prefix="measured-foreign-")
        for file, content in (files or {}).items():
            with open(os.path.join(self.directory, file), "w", encoding="utf-8") as to:
                to.write(content)
        for _ in range(5):
            self.port = free_port()
            done = run_script(script, "start", *words, self.directory, self.port)
            if done.returncode == 0:
                break
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise Failed(done.stderr.strip())
        with open(os.path.join(self.directory, "pid"), encoding="ascii") as pid:
            self.pid = int(pid.read())
        # Its start goes on a little after it listens.
        time.sleep(FOREIGN_REST_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run_script(self.script, "stop", self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)

    processor_ns = Server.processor_ns
    rss_bytes = Server.rss_bytes


def run_script(name, *words):
    """Runs one of the scripts beside this file."""
    return subprocess.run([os.path.join(HERE, name), *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True)


def build_load(package, program):
    """Builds a load generator of the workspace; its path."""
    if subprocess.run(["cargo", "build", "--release", "--package", package], cwd=ROOT).returncode != 0:
        raise Failed("the load does not build")
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", program)


def figures_of(command, seconds_max):
    """Runs a load generator; the figures that it prints as `NAME=VALUE`."""
    told = " ".join(command[1:])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds_max)
    except subprocess.TimeoutExpired:
        raise Failed(f"{told} takes more than {seconds_max} s") from None
    if done.returncode != 0:
        raise Failed(f"{told}: {done.stderr.strip()}")
    return {name: float(value) for name, _, value in (pair.partition("=") for pair in done.stdout.split())}


class Connection:
    """One connection, blocking. Reads replies of RESP2."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), CALL_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes it."""
        self.socket.close()

    def call(self, *arguments):
        """One command and its reply: bytes, a number, a list, or `None`. An error reply is raised."""
        self.socket.sendall(command_bytes(*arguments))
        return self._reply()

    def replies(self, count):
        """The next replies, which have been asked for already."""
        return [self._reply() for _ in range(count)]

    def pipeline(self, request, reply, count):
        """Sends `request`, which holds `count` commands, and expects `reply` to each."""
        self.socket.sendall(request)
        wanted = len(reply) * count
        parts = []
        while wanted > 0:
            part = self.socket.recv(min(wanted, RECEIVE_BYTES))
            if not part:
                raise Failed("the server has closed the connection")
            parts.append(part)
            wanted -= len(part)
        got = b"".join(parts)
        if got != reply * count:
            wrong = next(line for line in got.split(b"\r\n") if line + b"\r\n" != reply)
            raise Failed(f"the server answers {wrong[:200]!r} where {reply!r} was expected")

    def _reply(self):
        line = self._until_newline()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self._exactly(length + 2)[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self._reply() for _ in range(int(rest))]
        raise Failed(f"the server answers {line[:200].decode(errors='replace')}")

    def _more(self):
        part = self.socket.recv(RECEIVE_BYTES)
        if not part:
            raise Failed("the server has closed the connection")
        self._buffer += part

    def _until_newline(self):
        while b"\r\n" not in self._buffer:
            self._more()
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, length):
        while len(self._buffer) < length:
            self._more()
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken


def process_clock(pid):
    """The clock of a process's processor time, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def command_bytes(*arguments):
    """A command as it goes over the wire."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if not isinstance(argument, bytes):
            argument = str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)


def fill(connection, commands, pipeline=500):
    """Sends commands that are answered OK, so many at a time. Returns how many there were."""
    return fill_by(commands, pipeline, lambda request, count: connection.pipeline(request, b"+OK\r\n", count))


def fill_with_any(connection, commands, pipeline=500):
    """The same with commands whose replies may be anything but errors."""

    def send(request, count):
        connection.socket.sendall(request)
        connection.replies(count)

    return fill_by(commands, pipeline, send)


def fill_by(commands, pipeline, send):
    count = 0
    waiting = []
    for command in commands:
        waiting.append(command)
        if len(waiting) == pipeline:
            send(b"".join(waiting), pipeline)
            count += pipeline
            waiting = []
    if waiting:
        send(b"".join(waiting), len(waiting))
    return count + len(waiting)


def key_name(number):
    """The `number`th key, 16 bytes; the load generators of Redis and Valkey name theirs the same."""
    return b"key:%012d" % number


def figure(connection, section, name):
    """One number out of INFO."""
    for line in connection.call("INFO", section).split(b"\r\n"):
        if line.startswith(name.encode() + b":"):
            return int(line.split(b":")[1])
    raise Failed(f"INFO {section} shows no {name}")


def load_generator():
    """A load generator of Valkey's or Redis's: the one that $LOADGEN names, or one on the PATH."""
    wanted = os.environ.get("LOADGEN")
    for candidate in [wanted] if wanted else ["valkey-benchmark", "redis-benchmark"]:
        found = shutil.which(candidate)
        if found:
            return found
    raise Failed("no load generator: put valkey-benchmark or redis-benchmark on the PATH, or name one by $LOADGEN")


def free_port():
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def named_commands(arguments):
    """`NAME=COMMAND` arguments as pairs."""
    pairs = []
    for argument in arguments:
        name, separator, command = argument.partition("=")
        if not separator or not name or not command:
            raise Failed(f"'{argument}' is not NAME=BINARY")
        pairs.append((name, command))
    return pairs


def whole_numbers(text):
    """`1,16,64` as numbers."""
    return [int(part) for part in text.split(",")]


def at_share(ordered, share):
    """The value below which `share` of the ordered values are."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def print_table(title, header, rows):
    """Prints rows of text in columns."""
    print(f"\n{title}" if title else "")
    table = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for number, row in enumerate(table):
        cells = [cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    sys.stdout.flush()


def run(main):
    """Runs a scenario; what stops it is told in one line. Servers are ended however it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except (Failed, OSError) as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
