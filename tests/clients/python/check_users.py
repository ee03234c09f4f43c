#!/usr/bin/env python3
"""Users and permissions with redis-py: what it reads out of ACL's replies, and which exceptions refusals become.

    check_users.py HOST PORT [--password PASSWORD]

Prints one line a check and closes with `N passed, N failed`. It makes and removes users whose names begin with `check-`, and
flushes database 9 of the server it is given. Against any server that speaks the protocol the result must be the same: a check
that fails on Redis or Valkey is a wrong check.
"""

import sys

import redis
from check import DATABASE, expect, main
from redis.backoff import NoBackoff
from redis.retry import Retry

CHECKS = []
JOE = "check-joe"


def check(function):
    """Registers a check; its name is the function's. Its users are removed, whatever comes of it."""

    def with_cleaning(server):
        try:
            function(server)
        finally:
            r = server.client()
            names = [name for name in text(r.acl_users()) if name.startswith("check-")]
            if names:
                r.acl_deluser(*names)

    with_cleaning.__name__ = function.__name__
    CHECKS.append(with_cleaning)
    return function


def text(value):
    """What redis-py gives as bytes by one protocol and as text by the other, as text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [text(one) for one in value]
    if isinstance(value, dict):
        return {text(key): text(one) for key, one in value.items()}
    return value


def words(value):
    """A list of rules, which one protocol gives as such and the other in one string."""
    return value.split() if isinstance(value, str) else value


def speaking_as(server, username, password, **options):
    """A client that logs in as a user, and tries once."""
    at = {"host": server.host, "port": server.port, "db": DATABASE, "protocol": server.protocol or 2}
    r = redis.Redis(username=username, password=password, retry=Retry(NoBackoff(), 0), **at, **options)
    server.clients.append(r)
    return r


def refused(exception, call, *arguments):
    """Expects a call to raise an exception."""
    try:
        got = call(*arguments)
    except exception:
        return
    raise AssertionError(f"{got!r} where {exception} was expected")


@check
def a_user_is_made_read_and_removed(server):
    r = server.client()
    expect(
        r.acl_setuser(
            JOE,
            enabled=True,
            passwords=["+one", "+two"],
            keys=["a*", "b"],
            channels=["c"],
            commands=["+get", "+@hash", "-hset"],
            selectors=[("+set", "~d")],
        ),
        True,
    )
    got = text(r.acl_getuser(JOE))
    expect([flag for flag in got["flags"] if flag in ("on", "off", "nopass")], ["on"])
    expect((len(got["passwords"]), words(got["keys"]), words(got["channels"])), (2, ["~a*", "~b"], ["&c"]))
    expect((got["commands"], got["categories"]), (["+get", "-hset"], ["-@all", "+@hash"]))
    expect([r.acl_deluser(JOE), r.acl_getuser(JOE)], [1, None])


@check
def refusals_become_exceptions_of_their_own(server):
    r = server.client()
    r.acl_setuser(JOE, enabled=True, passwords=["+pw"], keys=["a"], commands=["+get", "+set", "+select", "+client"])
    joe = speaking_as(server, JOE, "pw")
    expect(joe.set("a", "1"), True)
    refused(redis.exceptions.NoPermissionError, joe.get, "b")
    refused(redis.exceptions.NoPermissionError, joe.delete, "a")
    refused(redis.exceptions.AuthenticationError, speaking_as(server, JOE, "wrong").ping)
    refused(redis.exceptions.AuthenticationError, speaking_as(server, "check-nobody", "pw").ping)


@check
def a_pipeline_tells_which_of_its_calls_was_refused(server):
    r = server.client()
    commands = ["+get", "+set", "+multi", "+exec", "+select", "+client"]
    r.acl_setuser(JOE, enabled=True, nopass=True, keys=["a"], commands=commands)
    joe = speaking_as(server, JOE, "any")
    pipe = joe.pipeline(transaction=False)
    got = pipe.set("a", "1").get("b").get("a").execute(raise_on_error=False)
    expect([got[0], type(got[1]), got[2]], [True, redis.exceptions.NoPermissionError, b"1"])
    pipe = joe.pipeline(transaction=True)
    refused(redis.exceptions.NoPermissionError, pipe.set("a", "2").get("b").execute)
    expect(joe.get("a"), b"1")


@check
def refusals_are_logged(server):
    r = server.client()
    r.acl_setuser(JOE, enabled=True, nopass=True, keys=["a"], commands=["+get", "+select", "+client"])
    r.acl_log_reset()
    joe = speaking_as(server, JOE, "any")
    refused(redis.exceptions.NoPermissionError, joe.get, "check-b")
    refused(redis.exceptions.NoPermissionError, joe.delete, "a")
    first, second = text(r.acl_log(2))
    expect([first["reason"], first["object"], first["username"]], ["command", "del", JOE])
    expect([second["reason"], second["object"], second["context"], second["count"]], ["key", "check-b", "toplevel", 1])
    client = second["client-info"]
    expect(client["user"] if isinstance(client, dict) else JOE if f" user={JOE} " in client else client, JOE)


@check
def a_dry_run_says_what_would_happen(server):
    r = server.client()
    r.acl_setuser(JOE, keys=["a"], commands=["+get"])
    expect(text(r.acl_dryrun(JOE, "get", "a")), "OK")
    expect(text(r.acl_dryrun(JOE, "get", "b")), "User check-joe has no permissions to access the 'b' key")


@check
def who_is_removed_is_disconnected(server):
    r = server.client()
    r.acl_setuser(JOE, enabled=True, nopass=True, commands=["+@all"])
    joe = speaking_as(server, JOE, "any", single_connection_client=True)
    expect(text(joe.acl_whoami()), JOE)
    expect(r.acl_deluser(JOE), 1)
    refused((redis.exceptions.ConnectionError, redis.exceptions.AuthenticationError), joe.acl_whoami)


if __name__ == "__main__":
    sys.exit(main(CHECKS, __file__))
