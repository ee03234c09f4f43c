#!/usr/bin/env python3
"""Runs the workers of examples/ and checks that they do what their page says.

    check_workers.py HOST PORT [--password PASSWORD] NAME=COMMAND ...

A command gets the address of the server and the name of a queue behind its own words. Prints one line a check and closes
with `N passed, N failed`. It uses queues whose names begin with `workers:`, which it deletes.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import time

import redis

WAIT_SECONDS_MAX = 120.0


def wait_until(condition, what):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, f"it does not come true: {what}"
        time.sleep(0.02)


def figure(r, queue, name):
    """A number of MQ.QUEUE INFO; 0 where there is no such queue yet."""
    try:
        return r.execute_command("MQ.QUEUE", "INFO", queue)[name]
    except redis.ResponseError as error:
        assert "NOQUEUE" in str(error), error
        return 0


def check_worker(r, url, name, command):
    queue = f"workers:{name}"
    words = [*shlex.split(command), url, queue]
    worker = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: worker.poll() is not None or r.exists(queue), "the worker declares its queue")
        assert worker.poll() is None, "the worker has ended: " + worker.stdout.read()
        for job in ("first", "fail: no paper", "second"):
            r.execute_command("MQ.PUSH", queue, job)
        # The one that fails is tried three times, 1 s and 2 s apart, and then is dead.
        wait_until(lambda: figure(r, f"{queue}:dead", "ready") == 1, "what fails again and again is a dead letter")
        wait_until(lambda: figure(r, queue, "messages") == 0, "its queue is empty")
        [dead] = r.execute_command("MQ.PEEK", f"{queue}:dead")
        assert dead["body"] == "fail: no paper", dead
        assert dead["deaths"][0]["reason"] == "delivery_limit", dead
        worker.send_signal(signal.SIGTERM)
        said = worker.communicate(timeout=WAIT_SECONDS_MAX)[0]
        assert worker.returncode == 0, f"it ends with {worker.returncode}: {said}"
        lines = said.splitlines()
        for line, times in (("done: first", 1), ("done: second", 1), ("failed: no paper", 3)):
            assert lines.count(line) == times, f"'{line}' is not there {times} times: {said}"
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
        r.delete(queue, f"{queue}:dead", f"{queue}:failed")


def main():
    parser = argparse.ArgumentParser(description="Checks the example workers.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--password")
    parser.add_argument("workers", nargs="*", metavar="NAME=COMMAND")
    options = parser.parse_intermixed_args()
    login = f":{options.password}@" if options.password else ""
    url = f"redis://{login}{options.host}:{options.port}"
    r = redis.Redis.from_url(url, protocol=3, decode_responses=True)
    passed = failed = 0
    for worker in options.workers:
        name, _, command = worker.partition("=")
        began = time.monotonic()
        try:
            check_worker(r, url, name, command)
        except Exception as error:
            failed += 1
            print(f"FAILED  worker in {name}: {error!r}", flush=True)
        else:
            passed += 1
            print(f"ok      worker in {name} ({time.monotonic() - began:.2f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
