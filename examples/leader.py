#!/usr/bin/env python3
"""An election: of all that run this program one leads, and another takes over when it ends, or is no longer heard of.

    python3 examples/leader.py [redis://localhost:6379] [shop] [/leader/reports] [10.0.0.1:80]

SIGTERM and SIGINT let it step down and end.
"""

import signal
import sys
import threading

import redis

from lock import Lease

TTL_MS = 1_000
BLOCK_MS = 1_000


def work(term):
    """What only the leader does. Whatever it changes elsewhere should refuse a smaller term than it has seen: see lock.py."""


def lead(r, store, name, address, stop):
    """Waits to be elected, and leads until it is to stop or its lease is lost."""
    lease = Lease(r, store, TTL_MS)
    try:
        elected = None
        while elected is None:
            if stop.is_set():
                return
            elected = r.execute_command("CFG.ELECT", "CAMPAIGN", store, name, address, "LEASE", lease.id, "BLOCK", BLOCK_MS)
        term = elected["token"]
        print(f"{address} leads, term {term}", flush=True)
        while lease.is_alive() and not stop.wait(0.1):
            work(term)
        print(f"{address} leads no longer", flush=True)
    finally:
        # What hangs on the lease goes with it: its candidacy, or the office.
        lease.give_up()


def main():
    arguments = dict(enumerate(sys.argv))
    r = redis.Redis.from_url(arguments.get(1, "redis://localhost:6379"), protocol=3, decode_responses=True)
    store, name, address = arguments.get(2, "shop"), arguments.get(3, "/leader/reports"), arguments.get(4, "10.0.0.1:80")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            lead(r, store, name, address, stop)
        except redis.RedisError as error:
            # No connection, or the lease was lost while it waited.
            print(f"{address} tries again: {error}", flush=True)
            stop.wait(0.2)


if __name__ == "__main__":
    main()
