#!/usr/bin/env python3
"""A worker: takes jobs from a queue of Weir, does them, acknowledges them.

    python3 examples/worker.py [redis://localhost:6379] [jobs]

SIGTERM and SIGINT let it finish the job that it is at and give the others back.
"""

import os
import signal
import socket
import sys
import threading

import redis

LEASE_MS = 30_000
COUNT = 10
BLOCK_MS = 1_000


def handle(job):
    """What is to be done with a job. An error means that it has failed."""
    text = job.decode()
    if text.startswith("fail:"):
        raise RuntimeError(text[5:].strip())
    print(f"done: {text}", flush=True)


def declare(r, queue):
    """The queue, and the one for jobs that failed too often. Declaring what is there with the same options changes nothing."""
    r.execute_command("MQ.EXCHANGE", "DECLARE", f"{queue}:failed", "TYPE", "fanout")
    r.execute_command("MQ.QUEUE", "DECLARE", f"{queue}:dead")
    r.execute_command("MQ.BIND", f"{queue}:failed", "QUEUE", f"{queue}:dead", "")
    limits = ["DELIVERYLIMIT", 2, "RETRY", "failed", 1_000, 60_000, "LEASE", LEASE_MS]
    r.execute_command("MQ.QUEUE", "DECLARE", queue, "DLX", f"{queue}:failed", *limits)


class Lease:
    """Extends the lease of a message for as long as somebody works on it."""

    def __init__(self, r, queue, receipt):
        self.r, self.queue, self.receipt = r, queue, receipt
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.keep, daemon=True)

    def keep(self):
        while not self.over.wait(LEASE_MS / 3_000):
            self.r.execute_command("MQ.TOUCH", self.queue, "LEASE", LEASE_MS, "IDS", 1, self.receipt)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"
    queue = sys.argv[2] if len(sys.argv) > 2 else "jobs"
    name = f"{socket.gethostname()}:{os.getpid()}"
    r = redis.Redis.from_url(url)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    declare(r, queue)
    print(f"{name} works on {queue}", flush=True)
    while not stop.is_set():
        get = ["MQ.GET", "CONSUMER", name, "COUNT", COUNT, "BLOCK", BLOCK_MS, "LEASE", LEASE_MS, "COMPACT", "QUEUES", 1, queue]
        # With COMPACT a message is its queue, its receipt and its body.
        for _, receipt, job in r.execute_command(*get) or []:
            if stop.is_set():
                r.execute_command("MQ.NACK", queue, "SILENT", "IDS", 1, receipt)
                continue
            try:
                with Lease(r, queue, receipt):
                    handle(job)
            except Exception as error:
                print(f"failed: {error}", flush=True)
                r.execute_command("MQ.NACK", queue, "FAIL", "IDS", 1, receipt, "REASON", str(error))
            else:
                r.execute_command("MQ.ACK", queue, "IDS", 1, receipt)
    print(f"{name} has stopped", flush=True)


if __name__ == "__main__":
    main()
