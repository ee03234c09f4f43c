"""Times of single requests, taken by a process of its own, each with what of it was waiting for a processor.

A reply can be late because the server was busy or because the machine did something else meanwhile. The kernel tells which, by
two counts that the probe reads before and after each request:

- how long the server's main thread and the probe were ready to run and did not (`/proc/PID/schedstat`, second number). What is
  left of a request's time without that is its `own` time.
- how long the server was on a processor (the clock of its process). `ran` is that, and never more than the own time: a reply that
  is late while the server hardly ran was late because something did not wake up in time, which virtual machines are prone to.

What a hypervisor takes away from a thread that runs is counted nowhere, and is in `ran`. A probe that only looks at the clock
(`clock_gaps`) shows how much to expect.
"""

import array
import multiprocessing
import os
import random
import select
import signal
import time
from measured_server import CALL_SECONDS_MAX, Connection, Failed, at_share, command_bytes, key_name, process_clock

SLOW_NS = 5_000_000
# Between requests, so that the probe leaves its processor to the load most of the time.
PAUSE_SECONDS = 0.0002


class ReplyTimes:
    """Times of requests in nanoseconds, in the order they were made."""

    HEADER = (
        *("requests", "p50", "p99.9", "p99.99", "max", "over 5 ms"),
        *("own max", "over 5 ms", "ran max", "over 5 ms"),
    )

    def __init__(self, began_ns, took_ns, waited_ns, server_ns):
        """`server_ns`: processor time of the server; empty where there is no server."""
        self.began_ns, self.took_ns, self.waited_ns, self.server_ns = began_ns, took_ns, waited_ns, server_ns

    def between(self, from_ns, to_ns):
        """Those that began in a span of `time.monotonic_ns`."""
        chosen = [i for i, began in enumerate(self.began_ns) if from_ns <= began < to_ns]
        columns = (self.began_ns, self.took_ns, self.waited_ns, self.server_ns)
        return ReplyTimes(*([column[i] for i in chosen] for column in columns))

    def cells(self):
        """One row for `HEADER`, milliseconds."""
        if not self.took_ns:
            return ["0", *["-"] * (len(self.HEADER) - 1)]
        took = sorted(self.took_ns)
        row = [len(took), *(milliseconds(at_share(took, share)) for share in (0.5, 0.999, 0.9999))]
        for times in (took, self._own_ns(), self._ran_ns()):
            row += [milliseconds(max(times)), sum(time_ns > SLOW_NS for time_ns in times)] if times else ["-", "-"]
        return row

    def worst(self, count, origin_ns):
        """Lines about the slowest, those in which the server ran longest first; times are counted from `origin_ns`."""
        rows = sorted(zip(self._ran_ns(), self._own_ns(), self.took_ns, self.began_ns), reverse=True)
        return [
            f"at {(began - origin_ns) / 1e9:.3f} s: {milliseconds(took)} ms, own {milliseconds(own)}, ran {milliseconds(ran)}"
            for ran, own, took, began in rows[:count]
        ]

    def _own_ns(self):
        return [max(took - waited, 0) for took, waited in zip(self.took_ns, self.waited_ns)]

    def _ran_ns(self):
        return [min(own, ran) for own, ran in zip(self._own_ns(), self.server_ns)]


class Probe:
    """A process that measures until it is told to end. Starts at once."""

    def __init__(self, measure, *arguments):
        """`measure(stop, ready, *arguments)` is one of the functions below."""
        context = multiprocessing.get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._stop, stop = context.Pipe(duplex=False)[::-1]
        self._process = context.Process(target=_in_process, args=(measure, sender, stop, arguments), daemon=True)
        self._process.start()
        if self._result() != "ready":
            raise Failed("the probe did not start")

    def finish(self):
        """Ends it; what it has measured."""
        self._stop.send(None)
        times = ReplyTimes(*self._result())
        self._process.join()
        return times

    def _result(self):
        if not self._receiver.poll(CALL_SECONDS_MAX):
            raise Failed("the probe does not answer")
        try:
            result = self._receiver.recv()
        except EOFError:
            raise Failed("the probe has ended early") from None
        if isinstance(result, Failed):
            raise result
        return result


def _in_process(measure, sender, stop, arguments):
    # The handler of the parent would end its servers from here.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        # Ahead of the load on the same processor, where the system allows it.
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass
    try:
        sender.send(measure(stop, lambda: sender.send("ready"), *arguments))
    except (OSError, Failed) as error:
        sender.send(Failed(f"the probe: {error}"))


def single_requests(stop, ready, port, server_pid, requests):
    """Sends one of `requests` (complete commands), chosen by chance, waits for its reply, and so on."""
    times = tuple(array.array("q") for _ in range(4))
    began, took, waited, ran = times
    server_clock = process_clock(server_pid)
    server_runs, probe_runs = (os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in (server_pid, os.getpid()))

    def processor_waits():
        return sum(int(os.pread(runs, 100, 0).split()[1]) for runs in (server_runs, probe_runs))

    with Connection(port) as connection:
        send, receive = connection.socket.sendall, connection.socket.recv
        stopped = select.poll()
        stopped.register(stop.fileno(), select.POLLIN)
        ready()
        while not stopped.poll(0):
            request = random.choice(requests)
            waits, runs = processor_waits(), time.clock_gettime_ns(server_clock)
            start = time.monotonic_ns()
            send(request)
            if not receive(65536):
                raise Failed("the server has closed the connection")
            end = time.monotonic_ns()
            ran.append(time.clock_gettime_ns(server_clock) - runs)
            began.append(start)
            took.append(end - start)
            waited.append(processor_waits() - waits)
            time.sleep(PAUSE_SECONDS)
    return times


def clock_gaps(stop, ready):
    """Looks at the clock without end: a gap between two looks is time in which this processor did something else."""
    times = tuple(array.array("q") for _ in range(4))
    began, took, waited, _ = times
    runs = os.open("/proc/self/schedstat", os.O_RDONLY)
    stopped = select.poll()
    stopped.register(stop.fileno(), select.POLLIN)
    ready()
    while not stopped.poll(0):
        waits = int(os.pread(runs, 100, 0).split()[1])
        first = last = time.monotonic_ns()
        longest = 0
        # About as long as a request is under way.
        while last - first < 50_000:
            now = time.monotonic_ns()
            longest = max(longest, now - last)
            last = now
        began.append(first)
        took.append(longest)
        waited.append(int(os.pread(runs, 100, 0).split()[1]) - waits)
    return times


def gets(numbers):
    """Requests for `single_requests`: GETs of these keys."""
    return [command_bytes("GET", key_name(number)) for number in numbers]


def milliseconds(time_ns):
    """For a table."""
    return f"{time_ns / 1e6:.2f}"
