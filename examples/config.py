#!/usr/bin/env python3
"""A service whose configuration is in Weir: it loads it, watches it and follows every change without being started again.

    python3 examples/config.py [redis://localhost:6379] [shop] [/web/]

It goes on over lost connections, over history that has been compacted while it was away, and over a new epoch of the store.
SIGTERM and SIGINT end it.
"""

import json
import signal
import sys
import threading
import time

import redis

# The server says something so often, even if there is nothing to tell; who hears nothing for three times as long is alone.
PROGRESS_MS = 2_000
PAUSE_SECONDS = 0.2


class Config:
    """What stands below a prefix, as it was at a revision of an epoch."""

    def __init__(self, url, store, prefix, changed):
        self.client = redis.Redis.from_url(url, protocol=3, decode_responses=True)
        self.store, self.prefix, self.changed = store, prefix, changed
        self.values = {}
        # Up to where everything has been seen. None: nothing has, or it can no longer be told what came behind it.
        self.revision = self.epoch = None

    def follow(self, stop):
        """Keeps it as it is in the store, until it is to stop."""
        while not stop.is_set():
            connection = None
            try:
                connection = self.client.connection_pool.get_connection()
                self.watch(connection, stop)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                # The values go on to be used.
                print(f"no connection: {error}", flush=True)
            finally:
                if connection is not None:
                    # It may still be sent frames: nobody else is to have it.
                    connection.disconnect()
                    self.client.connection_pool.release(connection)
            stop.wait(PAUSE_SECONDS)

    def watch(self, connection, stop):
        """Watches over one connection, for as long as it lasts."""
        begin = ["CFG.WATCH", self.store, self.prefix, "PREFIX", "ID", "config", "PROGRESS", PROGRESS_MS]
        if self.revision is None:
            begin += ["SNAPSHOT"]
        else:
            begin += ["FROM", self.revision + 1, "EPOCH", self.epoch]
        connection.send_command(*begin)
        # What is there at first, while it is not complete.
        loaded = {} if self.revision is None else None
        heard = time.monotonic()
        while not stop.is_set():
            if not connection.can_read(timeout=0.2):
                if time.monotonic() - heard > 3 * PROGRESS_MS / 1000:
                    raise redis.TimeoutError("the server says nothing any more")
                continue
            heard = time.monotonic()
            try:
                told = connection.read_response(push_request=True)
            except redis.ResponseError as error:
                if str(error).startswith(("CFGCOMPACTED", "CFGEPOCH", "CFGFUTURE")):
                    # Somebody else's history, or one that is gone: all anew.
                    print(f"again from the beginning: {error}", flush=True)
                    self.revision = self.epoch = None
                    return
                raise
            if isinstance(told, dict):
                # The reply. Its epoch is the one that all revisions below belong to.
                self.epoch = told["epoch"]
                continue
            kind, _, *rest = told
            if kind == "cfg.event":
                revision, events = rest
                # A revision is taken as a whole: who reads meanwhile sees the state before it or after it.
                values = dict(self.values) if loaded is None else loaded
                for event, path, value, *_ in events:
                    if event == "put":
                        values[path] = value
                    else:
                        values.pop(path, None)
                if loaded is None:
                    self.values, self.revision = values, revision
                    self.changed(self)
            elif kind == "cfg.synced":
                [self.revision] = rest
                if loaded is not None:
                    self.values, loaded = loaded, None
                    self.changed(self)
            elif kind == "cfg.progress":
                [self.revision] = rest
            else:
                print(f"again from the beginning: {kind} {rest}", flush=True)
                self.revision = self.epoch = None
                return


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"
    store = sys.argv[2] if len(sys.argv) > 2 else "shop"
    prefix = sys.argv[3] if len(sys.argv) > 3 else "/web/"
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def changed(config):
        # Here a service would open another log file, change the size of a pool, or show another colour.
        print(f"revision {config.revision}: {json.dumps(config.values, sort_keys=True)}", flush=True)

    Config(url, store, prefix, changed).follow(stop)
    print("has stopped", flush=True)


if __name__ == "__main__":
    main()
