#!/usr/bin/env python3
"""What Python programs do with a server besides keeping values: redis-py's locks and transactions, RQ's and Celery's jobs.

    check_queues.py HOST PORT [--password PASSWORD]

Prints one line a check and closes with `N passed, N failed`. It flushes databases 9 and 10 of the server it is given.
Against any server that speaks the protocol the result must be the same: a check that fails on Redis or Valkey is a wrong
check.
"""

import sys
import threading
import time

from check import OTHER_DATABASE, expect, expect_error, main, wait_until
from redis.exceptions import LockError, ResponseError, WatchError

CHECKS = []


def check(function):
    """Registers a check; its name is the function's."""
    CHECKS.append(function)
    return function


# --- Transactions ------------------------------------------------------------------------------------------------------


@check
def a_transaction_runs_whole(server):
    r = server.client()
    with r.pipeline(transaction=True) as pipe:
        pipe.set("a", 1).incr("a").lpush("a", "x").get("a")
        replies = pipe.execute(raise_on_error=False)
    expect(replies[:2] + replies[3:], [True, 2, b"2"])
    assert isinstance(replies[2], ResponseError), replies
    with r.pipeline(transaction=True) as pipe:
        pipe.set("a", 5).execute_command("NOSUCHCOMMAND")
        expect_error(ResponseError, "unknown command", pipe.execute)
    expect(r.get("a"), b"2")


@check
def counters_under_contention_lose_nothing(server):
    clients = [server.client() for _ in range(4)]
    clients[0].set("counter", 0)

    def add(r):
        def step(pipe):
            value = int(pipe.get("counter"))
            pipe.multi()
            pipe.set("counter", value + 1)

        for _ in range(50):
            r.transaction(step, "counter")

    threads = [threading.Thread(target=add, args=(r,)) for r in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(clients[0].get("counter"), b"200")


@check
def a_watched_key_that_changes_stops_the_transaction(server):
    r, other = server.client(), server.client()
    with r.pipeline() as pipe:
        pipe.watch("watched")
        other.set("watched", "changed")
        pipe.multi()
        pipe.set("watched", "mine")
        expect_error(WatchError, "Watched variable changed", pipe.execute)
    expect(r.get("watched"), b"changed")


# --- Locks and scripts -------------------------------------------------------------------------------------------------


@check
def a_lock_has_one_holder(server):
    r, other = server.client(), server.client()
    lock = r.lock("lock", timeout=100)
    assert lock.acquire(blocking=False)
    assert not other.lock("lock", timeout=100).acquire(blocking=False)
    assert lock.locked() and lock.owned()
    lock.extend(100)
    assert r.pttl("lock") > 100_000
    lock.reacquire()
    assert r.pttl("lock") <= 100_000
    lock.release()
    assert not lock.locked()
    expect_error(LockError, "already unlocked", lock.release)


@check
def a_lock_that_ran_out_is_not_released_by_its_old_holder(server):
    r, other = server.client(), server.client()
    lock = r.lock("short", timeout=0.05)
    lock.acquire()
    wait_until(lambda: not r.exists("short"))
    second = other.lock("short", timeout=100)
    assert second.acquire(blocking=False)
    expect_error(LockError, "no longer owned", lock.release)
    second.release()


@check
def who_waits_for_a_lock_gets_it(server):
    r, other = server.client(), server.client()
    got = []

    def wait():
        with other.lock("waited", timeout=100, sleep=0.01, blocking_timeout=60):
            got.append(time.monotonic())

    with r.lock("waited", timeout=100):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        expect(got, [])
    thread.join()
    expect(len(got), 1)


@check
def a_registered_script_is_sent_once_and_called_by_its_digest(server):
    r = server.client()
    r.script_flush()
    limiter = r.register_script(
        """
        local now, window, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
        local used = redis.call('ZCARD', KEYS[1])
        if used >= most then
            local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
            return {0, tonumber(first[2]) + window - now}
        end
        redis.call('ZADD', KEYS[1], now, ARGV[4])
        redis.call('PEXPIRE', KEYS[1], window)
        return {1, most - used - 1}
        """
    )
    results = [limiter(keys=["window"], args=[100_000 + n, 100_000, 3, f"call-{n}"]) for n in range(5)]
    expect(results, [[1, 2], [1, 1], [1, 0], [0, 99_997], [0, 99_996]])
    expect(limiter(keys=["window"], args=[200_001, 100_000, 3, "call-6"]), [1, 1])
    expect(r.script_exists(limiter.sha), [True])


# --- Job queues --------------------------------------------------------------------------------------------------------


@check
def rq_works_on_jobs(server):
    from rq import Queue, Retry, SimpleWorker
    from rq.job import Job

    r = server.client(OTHER_DATABASE)
    r.flushdb()
    queue = Queue("jobs", connection=r)
    jobs = [queue.enqueue("math.factorial", n) for n in range(20)]
    failing = queue.enqueue("math.sqrt", -1, retry=Retry(max=2))
    dependent = queue.enqueue("math.gcd", 12, 18, depends_on=jobs[3])
    worker = SimpleWorker([queue], connection=r)
    assert worker.work(burst=True, logging_level="CRITICAL")
    expect(Job.fetch(jobs[19].id, connection=r).return_value(), 121645100408832000)
    expect(dependent.return_value(), 6)
    expect(failing.get_status().value, "failed")
    expect(failing.id in queue.failed_job_registry, True)
    expect(queue.count, 0)
    r.flushdb()


def celery_application(server):
    """An application whose broker and results are the server."""
    import celery

    url = server.url(OTHER_DATABASE).split("?")[0]
    app = celery.Celery("checks", broker=url, backend=url)
    app.conf.update(task_default_queue="checks", worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)

    @app.task(name="add")
    def add(a, b):
        return a + b

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="stubborn", bind=True, max_retries=3)
    def stubborn(self):
        if self.request.retries < 2:
            raise self.retry(countdown=0.05)
        return self.request.retries

    return app, add, total, stubborn


@check
def celery_works_on_tasks(server):
    from celery import chord, group
    from celery.contrib.testing.worker import start_worker

    r = server.client(OTHER_DATABASE)
    r.flushdb()
    app, add, total, stubborn = celery_application(server)
    with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, shutdown_timeout=20, loglevel="CRITICAL"):
        expect(add.delay(2, 3).get(timeout=100), 5)
        expect(group(add.s(n, n) for n in range(20))().get(timeout=100), [2 * n for n in range(20)])
        expect(chord([add.s(n, 1) for n in range(10)])(total.s()).get(timeout=100), 55)
        expect((add.s(1, 2) | add.s(4)).delay().get(timeout=100), 7)
        expect(stubborn.delay().get(timeout=100), 2)
        began = time.monotonic()
        expect(add.apply_async((1, 1), countdown=1).get(timeout=100), 2)
        assert time.monotonic() - began >= 0.9
    app.close()
    r.flushdb()


if __name__ == "__main__":
    sys.exit(main(CHECKS, __file__))
