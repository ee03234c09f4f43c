#!/usr/bin/env python3
"""A lock that machines share, with a token that makes it safe: who was away for too long can do no harm.

    python3 examples/lock.py [redis://localhost:6379] [shop] [/locks/report] [ada] [seconds of absence]

It takes the lock, is absent for a while if told so, as a program is that waits for a slow disk, and then writes its name to the
hash `<lock>:result`. That takes it only if nobody with a newer token has been there.
"""

import sys
import threading
import time

import redis

TTL_MS = 1_000

# What the lock protects looks at the token itself. A database would do it with a column and a condition.
WRITE = """
if tonumber(redis.call('HGET', KEYS[1], 'token') or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'by', ARGV[2])
return 1
"""


class Lease:
    """A lease that a thread keeps alive until it is given up, or lost."""

    def __init__(self, r, store, ttl_ms):
        self.r, self.store, self.ttl_seconds = r, store, ttl_ms / 1000
        # On the safe side: the server counts from later on.
        self.until = time.monotonic() + self.ttl_seconds
        self.id = r.execute_command("CFG.LEASE", "GRANT", store, ttl_ms)["id"]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.keep, daemon=True)
        self.thread.start()

    def keep(self):
        while not self.over.wait(self.ttl_seconds / 3):
            asked = time.monotonic()
            try:
                self.r.execute_command("CFG.LEASE", "KEEPALIVE", self.store, self.id)
                self.until = asked + self.ttl_seconds
            except redis.ResponseError:
                # It has ended.
                self.until = 0
                return
            except redis.RedisError:
                # Perhaps the next one comes through in time.
                pass

    def is_alive(self):
        """Whether it lasts for certain: nobody else has what hangs on it."""
        return time.monotonic() < self.until

    def stop_keeping(self):
        self.over.set()
        self.thread.join()

    def give_up(self):
        """Ends it, with everything that hangs on it."""
        self.stop_keeping()
        try:
            self.r.execute_command("CFG.LEASE", "REVOKE", self.store, self.id)
        except redis.ResponseError:
            # It has ended by itself.
            pass


class Lock:
    """Waits for its turn, and has the lock for as long as the `with` lasts and its lease does."""

    def __init__(self, r, store, name, ttl_ms=TTL_MS):
        self.r, self.store, self.name, self.ttl_ms = r, store, name, ttl_ms

    def __enter__(self):
        self.lease = Lease(self.r, self.store, self.ttl_ms)
        held = self.r.execute_command("CFG.LOCK", self.store, self.name, "LEASE", self.lease.id, "BLOCK", 0)
        self.token = held["token"]
        return self

    def __exit__(self, *_):
        # The lock goes with the lease, to the next who waits.
        self.lease.give_up()


def main():
    arguments = dict(enumerate(sys.argv))
    r = redis.Redis.from_url(arguments.get(1, "redis://localhost:6379"), protocol=3, decode_responses=True)
    store, name, who = arguments.get(2, "shop"), arguments.get(3, "/locks/report"), arguments.get(4, "ada")
    absent_seconds = float(arguments.get(5, 0))
    with Lock(r, store, name) as lock:
        print(f"{who} has the lock, token {lock.token}", flush=True)
        if absent_seconds > 0:
            lock.lease.stop_keeping()
            time.sleep(absent_seconds)
        if r.eval(WRITE, 1, f"{name}:result", lock.token, who):
            print(f"{who} has written", flush=True)
        else:
            print(f"{who} comes too late: somebody with a newer token has written", flush=True)


if __name__ == "__main__":
    main()
