#!/usr/bin/env python3
"""What it costs to publish to 1, 100 and 10,000 subscribers, of several servers side by side.

    pubsub.py weir=target/release/weir valkey=valkey-server redis=redis-server

For each number of subscribers and each depth of the publisher's pipeline: `--rounds` rounds, in each of which every server
has its turn, and the median of its rounds. A round connects the subscribers, lets one client publish until about
`--deliveries` messages have been delivered, and takes the server's processor time for that, user's and system's together,
and the time until the last subscriber has the last message in the buffer of its socket. Subscribers read afterwards, so
that what they cost is not in the figures. What they have read is compared with what they should have.

`--patterns N` gives the server N subscriptions to patterns that no message matches, `--resp3` subscribers that speak RESP3.
The server has processor 0 for itself where there are several.
"""

import argparse
import array
import fcntl
import os
import resource
import select
import statistics
import termios
import time
from measured_server import Connection, Failed, Server, command_bytes, named_commands, print_table, run, whole_numbers

FILES_BESIDE = 200
CHANNEL = b"news:art"
# What a socket takes without being read: less than the default of receive buffers, and less than a subscriber may owe.
UNREAD_BYTES_MAX = 1 << 20
# The same in segments: the kernel counts what each needs for itself, and closes the window long before those bytes are there.
UNREAD_SEGMENTS_MAX = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--subscribers", type=whole_numbers, default=[1, 100, 10_000])
    parser.add_argument("--pipeline", type=whole_numbers, default=[1, 16], help="commands the publisher sends at once")
    parser.add_argument("--deliveries", type=int, default=200_000, help="messages delivered in a round, about")
    parser.add_argument("--size", type=int, default=16, help="bytes of a message")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patterns", type=int, default=0)
    parser.add_argument("--resp3", action="store_true")
    options = parser.parse_args()
    allow_open_files(max(options.subscribers) + FILES_BESIDE)
    servers = named_commands(options.servers)
    names = [name for name, _ in servers]
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    costs, rates = [], []
    for subscribers in options.subscribers:
        for pipeline in options.pipeline:
            measured = {name: [] for name in names}
            for _ in range(options.rounds):
                for name, command in servers:
                    measured[name].append(one_round(name, command, core, subscribers, pipeline, options))
            cost = [statistics.median(cost for cost, _ in measured[name]) for name in names]
            rate = [statistics.median(rate for _, rate in measured[name]) for name in names]
            compared = [f"{cost[0] / min(cost[1:]):.2f}"] if names[1:] else []
            costs.append([subscribers, pipeline, *(f"{each:,.0f}" for each in cost), *compared])
            compared = [f"{rate[0] / max(rate[1:]):.2f}"] if names[1:] else []
            rates.append([subscribers, pipeline, *(f"{each:,.0f}" for each in rate), *compared])
    header = ["subscribers", "pipeline", *names, *([f"{names[0]}/best other"] if names[1:] else [])]
    print_table("Processor time a delivery, ns", header, costs)
    print_table("Deliveries a second", header, rates)


def one_round(name, command, core, subscribers, pipeline, options):
    """Nanoseconds of processor time a delivery, and deliveries a second."""
    size = ["--maxclients", str(subscribers + 100)]
    with Server(name, command, core, size) as server, server.connect() as publisher:
        if options.patterns:
            with_patterns = server.connect()
            patterns = [f"other:{number}:*" for number in range(options.patterns)]
            with_patterns.socket.sendall(command_bytes("PSUBSCRIBE", *patterns))
            with_patterns.replies(options.patterns)
        readers = [subscriber(server, options.resp3) for _ in range(subscribers)]
        try:
            return publish(server, publisher, readers, pipeline, options)
        finally:
            for reader in readers:
                reader.close()


def subscriber(server, resp3):
    connection = Connection(server.port)
    request = (command_bytes("HELLO", 3) if resp3 else b"") + command_bytes("SUBSCRIBE", CHANNEL)
    connection.socket.sendall(request)
    answer, end = b"", b"$%d\r\n%b\r\n:1\r\n" % (len(CHANNEL), CHANNEL)
    while not answer.endswith(end):
        part = connection.socket.recv(1 << 16)
        if not part:
            raise Failed("the server refuses a subscriber")
        answer += part
    return connection


def publish(server, publisher, readers, pipeline, options):
    text = b"x" * options.size
    request = command_bytes("PUBLISH", CHANNEL, text) * pipeline
    reply = b":%d\r\n" % len(readers)
    frame = command_bytes("message", CHANNEL, text)
    unread_max = max(1, UNREAD_BYTES_MAX // len(frame))
    batches = max(1, options.deliveries // len(readers) // pipeline)
    spent_ns, spent_seconds, left = 0, 0.0, batches
    while left > 0:
        now = min(left, max(1, unread_max // pipeline), UNREAD_SEGMENTS_MAX)
        left -= now
        cost, began = server.processor_ns(), time.monotonic()
        for _ in range(now):
            publisher.pipeline(request, reply, pipeline)
        wait_for_all(readers, len(frame) * now * pipeline)
        spent_seconds += time.monotonic() - began
        spent_ns += server.processor_ns() - cost
        take_all(readers, len(frame) * now * pipeline, frame, options.resp3)
    deliveries = batches * pipeline * len(readers)
    return spent_ns / deliveries, deliveries / spent_seconds


def wait_for_all(readers, wanted):
    """Until every subscriber could read so much."""
    end = time.monotonic() + 60
    waiting = [reader.socket.fileno() for reader in readers]
    size = array.array("i", [0])
    while waiting:
        fcntl.ioctl(waiting[-1], termios.FIONREAD, size)
        if size[0] >= wanted:
            waiting.pop()
        elif time.monotonic() > end:
            raise Failed(f"{len(waiting)} subscribers did not get all messages")
        else:
            time.sleep(0.0005)


def take_all(readers, wanted, frame, resp3):
    """Reads what every subscriber must have got, and no more; looks at the first one's closely."""
    expected = (b">" + frame[1:] if resp3 else frame) * (wanted // len(frame))
    poller = select.epoll()
    missing = {}
    for reader in readers:
        reader.socket.setblocking(False)
        missing[reader.socket.fileno()] = [reader.socket, wanted]
        poller.register(reader.socket, select.EPOLLIN)
    first, got = readers[0].socket.fileno(), []
    while missing:
        events = poller.poll(30)
        if not events:
            raise Failed(f"{len(missing)} subscribers did not get all messages")
        for number, _ in events:
            entry = missing[number]
            part = entry[0].recv(1 << 20)
            if not part:
                raise Failed("the server has closed the connection of a subscriber")
            if number == first:
                got.append(part)
            entry[1] -= len(part)
            if entry[1] <= 0:
                if entry[1] < 0:
                    raise Failed("a subscriber got more than was published")
                poller.unregister(number)
                del missing[number]
    poller.close()
    if b"".join(got) != expected:
        raise Failed("a subscriber got something else than what was published")


def allow_open_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise Failed(f"{count} open files are not allowed here, only {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


if __name__ == "__main__":
    run(main)
