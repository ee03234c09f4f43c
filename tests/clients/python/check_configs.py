#!/usr/bin/env python3
"""Runs what examples/ has for the registry and checks that it does what its page says: services that follow their configuration,
a lock, an election.

    check_configs.py HOST PORT [--password PASSWORD] --examples FOLDER NAME=COMMAND ...

A command is a service; it gets the address of the server, the name of a store and a prefix behind its own words. Prints one line
a check and closes with `N passed, N failed`. It uses stores whose names begin with `configs:`, which it deletes.
"""

import argparse
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import redis

WAIT_SECONDS_MAX = 120.0


class Program:
    """A running example, and what it says."""

    def __init__(self, words):
        self.words = words
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines, self.said = queue.Queue(), []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_for(self, pattern):
        """The next line that looks so; the match. Lines in between are skipped."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            try:
                line = self.lines.get(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"'{pattern}' does not come; so far: {self.said[-5:]}") from None
            assert line is not None, f"it has ended without {pattern!r}: {self.said[-3:]}"
            self.said.append(line)
            match = re.search(pattern, line)
            if match:
                return match

    def stop(self):
        """Asks it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS_MAX)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def check_service(r, url, name, command):
    """Loads, follows, and goes on over a lost connection, over compaction while it was away, and over a new epoch."""
    store = f"configs:{name}"
    call = r.execute_command
    other_clients = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    call("CFG.PUT", store, "/web/colour", "green")
    call("CFG.PUT", store, "/elsewhere", "1")
    with Program([*shlex.split(command), url, store, "/web/"]) as service:
        service.wait_for('"/web/colour": "green"}$')
        call("CFG.PUT", store, "/web/colour", "blue")
        service.wait_for('"/web/colour": "blue"}$')
        # Several changes that belong together come together.
        call("CFG.TXN", store, "IF", 0, "THEN", 2, "PUT", "/web/colour", "red", "PUT", "/web/size", "10")
        service.wait_for('{"/web/colour": "red", "/web/size": "10"}$')
        call("CFG.DEL", store, "/web/size")
        service.wait_for('{"/web/colour": "red"}$')
        # What changes while it is away it is told when it is back.
        with r.pipeline(transaction=True) as lost:
            lost.execute_command(*other_clients)
            lost.execute_command("CFG.PUT", store, "/web/colour", "black")
            lost.execute()
        service.wait_for('{"/web/colour": "black"}$')
        # Unless that has been forgotten: then it loads all anew.
        with r.pipeline(transaction=True) as lost:
            lost.execute_command(*other_clients)
            lost.execute_command("CFG.DEL", store, "/web/colour")
            lost.execute()
        revision = call("CFG.PUT", store, "/web/title", "shop")
        call("CFG.COMPACT", store, revision)
        service.wait_for('{"/web/title": "shop"}$')
        # The same name, and another store.
        with r.pipeline(transaction=True) as lost:
            lost.execute_command(*other_clients)
            lost.delete(store)
            lost.execute_command("CFG.PUT", store, "/web/title", "another")
            lost.execute()
        service.wait_for('{"/web/title": "another"}$')
        call("DEL", store)
        call("CFG.PUT", store, "/web/title", "the third")
        service.wait_for('{"/web/title": "the third"}$')
        assert service.stop() == 0, service.said
        service.wait_for("^has stopped$")
    call("DEL", store)


def check_lock(r, url, examples):
    """One has it, another waits; who was absent for longer than his lease is refused."""
    store, name = "configs:lock", "/locks/check"
    words = [sys.executable, os.path.join(examples, "lock.py"), url, store, name]
    with Program([*words, "ada", "3"]) as absent:
        first = int(absent.wait_for(r"^ada has the lock, token (\d+)$").group(1))
        # Until the other has written, however long that takes.
        absent.process.send_signal(signal.SIGSTOP)
        with Program([*words, "bob"]) as waiting:
            second = int(waiting.wait_for(r"^bob has the lock, token (\d+)$").group(1))
            assert second > first, (first, second)
            waiting.wait_for("^bob has written$")
            assert waiting.process.wait(WAIT_SECONDS_MAX) == 0, waiting.said
        absent.process.send_signal(signal.SIGCONT)
        absent.wait_for("^ada comes too late")
        assert absent.process.wait(WAIT_SECONDS_MAX) == 0, absent.said
    assert r.hget(f"{name}:result", "by") == "bob"
    r.delete(store, f"{name}:result")


def check_election(r, url, examples):
    """The second leads when the first steps down, and the third when the second is no longer heard of."""
    store = "configs:election"
    words = [sys.executable, os.path.join(examples, "leader.py"), url, store, "/leader"]
    terms = []
    with Program([*words, "one"]) as one:
        terms.append(int(one.wait_for(r"^one leads, term (\d+)$").group(1)))
        with Program([*words, "two"]) as two:
            assert r.execute_command("CFG.ELECT", "LEADER", store, "/leader")["value"] == "one"
            assert one.stop() == 0, one.said
            one.wait_for("^one leads no longer$")
            terms.append(int(two.wait_for(r"^two leads, term (\d+)$").group(1)))
            with Program([*words, "three"]) as three:
                two.process.kill()
                terms.append(int(three.wait_for(r"^three leads, term (\d+)$").group(1)))
                assert r.execute_command("CFG.ELECT", "LEADER", store, "/leader")["value"] == "three"
                assert three.stop() == 0, three.said
    assert terms == sorted(set(terms)), terms
    assert r.execute_command("CFG.ELECT", "LEADER", store, "/leader") is None
    r.delete(store)


def main():
    parser = argparse.ArgumentParser(description="Checks the registry's examples.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--password")
    parser.add_argument("--examples", required=True)
    parser.add_argument("services", nargs="*", metavar="NAME=COMMAND")
    options = parser.parse_intermixed_args()
    login = f":{options.password}@" if options.password else ""
    url = f"redis://{login}{options.host}:{options.port}"
    r = redis.Redis.from_url(url, protocol=3, decode_responses=True)
    checks = []
    for service in options.services:
        name, _, command = service.partition("=")
        checks.append((f"configuration in {name}", lambda name=name, command=command: check_service(r, url, name, command)))
    checks.append(("lock", lambda: check_lock(r, url, options.examples)))
    checks.append(("election", lambda: check_election(r, url, options.examples)))
    passed = failed = 0
    for name, check in checks:
        began = time.monotonic()
        try:
            check()
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error!r}", flush=True)
        else:
            passed += 1
            print(f"ok      {name} ({time.monotonic() - began:.2f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
