#!/usr/bin/env python3
"""What happens when many keys expire in the same second, in several servers side by side.

    expiry.py weir=target/release/weir valkey=valkey-server

The server is filled with keys that all have the same deadline, and with others that have none. From a second before it on,
DBSIZE, `used_memory` and RSS are read every 20 ms until some seconds after all of them are gone, and meanwhile single GETs
ask for the others. Printed are the seconds after the deadline until half of the keys and all of them are gone, until
`used_memory` and RSS have come down to where they stay (within 2 % of what the keys took), how much of what the keys took that
is, and the times of the GETs.

`own` leaves out what server and probe waited for a processor; `ran` is the part of it in which the server was on one. The
server runs on core 0, everything else on core 1.
"""

import argparse
import os
import time
from measured_server import Failed, Server, command_bytes, figure, fill, key_name, named_commands, print_table, run
from reply_times import Probe, ReplyTimes, gets, single_requests

OTHERS = 100_000
LOOK_SECONDS = 0.02
# How long to look on when the last key has gone.
SETTLE_SECONDS = 4
# How much longer than expected the fill may take.
FILL_SLACK = 2.5
BACK_SHARE = 0.02


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--n", type=int, default=1_000_000, help="keys that expire")
    parser.add_argument("--patience", type=float, default=120, help="seconds after the deadline to wait at most")
    parser.add_argument("--timeline", action="store_true", help="print every change that was seen")
    parser.add_argument("--worst", type=int, default=0, help="show so many of the slowest replies")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    returns, replies, notes = [], [], []
    for name, command in named_commands(options.servers):
        with Server(name, command, core=0) as server, server.connect() as connection:
            measure(options, server, connection, returns, replies, notes)
    times = ["half gone", "all gone", "used_memory back", "of it", "RSS back", "of it"]
    print_table("Seconds after the deadline", ["server", "keys", *times, "MB before", "full", "after"], returns)
    print_table("Time of GETs of other keys, ms", ["server", "when", *ReplyTimes.HEADER], replies)
    if notes:
        print("\n" + "\n".join(notes))


def measure(options, server, connection, returns, replies, notes):
    others = range(options.n, options.n + OTHERS)
    began = time.monotonic()
    fill(connection, (command_bytes("SET", key_name(number), b"o" * 16) for number in others))
    used_before, rss_before = figure(connection, "memory", "used_memory"), server.rss_bytes()
    expected_seconds = (time.monotonic() - began) * options.n / OTHERS
    deadline = int(time.time() + 4 + expected_seconds * FILL_SLACK)
    fill(connection, (command_bytes("SET", key_name(n), b"v" * 16, "EXAT", deadline) for n in range(options.n)))
    if time.time() > deadline - 1.5:
        raise Failed(f"{server.name} was not filled before the keys expired")
    used_full, rss_full = figure(connection, "memory", "used_memory"), server.rss_bytes()
    probe = Probe(single_requests, server.port, server.pid, gets(others[:1000]))
    time.sleep(max(deadline - 1 - time.time(), 0))
    seen = []
    end = options.patience
    while not seen or seen[-1][0] < end:
        keys, used = connection.call("DBSIZE") - OTHERS, figure(connection, "memory", "used_memory")
        seen.append((time.time() - deadline, keys, used, server.rss_bytes()))
        if keys <= 0:
            end = min(end, seen[-1][0] + SETTLE_SECONDS)
        time.sleep(LOOK_SECONDS)
    times = probe.finish()
    deadline_ns = time.monotonic_ns() - int((time.time() - deadline) * 1e9)
    half, gone = first_time(seen, 1, options.n // 2), first_time(seen, 1, 0)
    used_last, rss_last = seen[-1][2:]
    used_back = first_time(seen, 2, used_last + (used_full - used_before) * BACK_SHARE)
    rss_back = first_time(seen, 3, rss_last + (rss_full - rss_before) * BACK_SHARE)
    returns.append(
        [
            server.name,
            options.n,
            *("never" if at is None else f"{at:.2f}" for at in (half, gone, used_back)),
            f"{(used_full - used_last) / (used_full - used_before):.0%}",
            f"{rss_back:.2f}",
            f"{(rss_full - rss_last) / (rss_full - rss_before):.0%}",
            sizes(rss_before, used_before),
            sizes(rss_full, used_full),
            sizes(rss_last, used_last),
        ]
    )
    gone_ns = deadline_ns + int(max(gone or end, used_back) * 1e9)
    replies.append([server.name, "before", *times.between(0, deadline_ns).cells()])
    replies.append([server.name, "until all is back", *times.between(deadline_ns, gone_ns).cells()])
    afterwards = times.between(gone_ns, gone_ns + SETTLE_SECONDS * 10**9)
    replies.append([server.name, f"{SETTLE_SECONDS} s after", *afterwards.cells()])
    if options.timeline:
        for before, now in zip(seen, seen[1:]):
            if before[1:] != now[1:]:
                at, keys, used, rss = now
                notes.append(f"{server.name} at {at:6.2f} s: {keys} keys, MB: {sizes(rss, used)}")
    notes += [f"{server.name} {line}" for line in times.worst(options.worst, deadline_ns)]


def sizes(rss, used):
    return f"{rss / 1e6:.0f} RSS, {used / 1e6:.0f} used"


def first_time(seen, column, limit):
    """When a column first was at or below `limit`, in seconds after the deadline; `None` if it never was."""
    return next((row[0] for row in seen if row[column] <= limit), None)


run(main)
