"""A duel: the same commands to two servers, reply against reply.

```text
 commands ──► pipeline ──► ours    ──► bytes ─┐ equal? done
                      └──► theirs  ──► bytes ─┴─► frames ──► rules, judge ──► findings
```

Where the two may do different things rightly (SPOP), ours is brought to what theirs did, so that both go on from the
same state. Where they differ, the keys of the command are *tainted*: replies about them mean nothing until the pipeline
ends, and then they are deleted on both sides. One difference is thus one finding, not a thousand.

What must stay true: `play` is the only way to run commands, in the test itself and when a finding is replayed, and what
it returns as played brings emptied servers into the same state again.
"""

import re

from judge import PICKS, agree, picked
from pools import KEY_SET
from wire import Failure, Lost, Many, Null, frames, parse, request

OF_ALL_KEYS = {b"KEYS", b"SCAN", b"DBSIZE", b"RANDOMKEY"}

# Redis and Valkey refuse a damaged HyperLogLog after they have changed a part of it, Weir before.
HALF_DONE = b"-INVALIDOBJ"


class Finding:
    """A command whose replies differ: `at` is its place among the commands that were played."""

    def __init__(self, at, args, ours, theirs, protocol):
        self.at = at
        self.args = args
        self.ours = ours
        self.theirs = theirs
        self.protocol = protocol

    def signature(self):
        """What makes two findings alike: the command and the kinds of reply; of two errors their texts alone."""
        ours, theirs = _kind(self.ours), _kind(self.theirs)
        both_fail = isinstance(self.ours, Failure) and isinstance(self.theirs, Failure)
        name = self.args[0].upper()
        if name == b"OBJECT":
            ours, theirs = bytes(self.ours) if ours == "bytes" else ours, bytes(self.theirs) if theirs == "bytes" else theirs
        return (ours, theirs) if both_fail else (name, ours, theirs)


class Ended(Exception):
    """One of the servers ended or went silent. `commands`: what was under way."""

    def __init__(self, server, commands, why):
        super().__init__(f"{server.name}: {why}")
        self.server = server
        self.commands = commands


def _kind(value):
    if isinstance(value, Failure):
        # What an error quotes or counts makes no new kind.
        return re.sub(rb"'[^']*'|\"[^\"]*\"|-?[0-9.]+|(?<=member ).*(?= does not)", b"..", value[:200])
    if isinstance(value, Many):
        return value.kind
    return type(value).__name__


def keys_in(args):
    """Names in a command that can be keys. May name more than there are: a member can look like a key."""
    return KEY_SET.intersection(args[1:])


class Duel:
    def __init__(self, ours, theirs, rules):
        self.ours = ours
        self.theirs = theirs
        self.rules = rules
        self.compared = 0

    def play(self, commands, protocol, only_last=False):
        """Runs commands on both servers. Returns what differs, and the commands with the deletions in between that the
        differences made necessary. A command whose outcome is left to chance ends a pipeline, so that both servers can
        be made equal before the next one. `only_last`: nothing but the last command is judged, nothing is deleted."""
        found, played, begin = [], [], 0
        for at, args in enumerate(commands):
            if args[0].upper() == b"SPOP" or at == len(commands) - 1:
                part, begin = commands[begin : at + 1], at + 1
                ours, theirs = self._replies(part, protocol)
                if only_last:
                    if begin == len(commands):
                        found += self._compare(part, ours, theirs, len(part) - 1, protocol)[0]
                    elif ours:
                        self._undo_chance(part[-1], ours[-1], theirs[-1])
                    continue
                differing, tainted = self._compare(part, ours, theirs, 0, protocol)
                for finding in differing:
                    finding.at += len(played)
                found += differing
                played += part
                if ours and args[0].upper() == b"SPOP" and tainted.isdisjoint(args):
                    self._undo_chance(args, ours[-1], theirs[-1])
                if tainted or differing:
                    # Also names that are keys only because the command was spoilt.
                    apart = {arg for args in part if args[1:2] and not tainted.isdisjoint(args) for arg in args[1:]}
                    apart.update(*(finding.args[1:] for finding in differing))
                    played.append([b"DEL", *sorted(apart)])
                    for server in (self.ours, self.theirs):
                        server.call(*played[-1])
        return found, played

    def restart(self):
        """Both servers as new: with nothing in them, under the configuration that the caller sets next."""
        for server in (self.ours, self.theirs):
            if server.process.poll() is not None:
                server.start()
            server.call(b"FLUSHALL")

    def _replies(self, commands, protocol):
        """The frames of both servers' replies; two empty lists if all are equal."""
        payload = b"".join(map(request, commands))
        raw = []
        for act in (lambda connection: connection.send(payload), lambda connection: raw.append(connection.receive())):
            for server in (self.ours, self.theirs):
                try:
                    act(server.connection(protocol))
                except (Lost, OSError) as error:
                    # Replies that are still to come would be taken for those of other commands.
                    for one in (self.ours, self.theirs):
                        one.hang_up()
                    raise Ended(server, commands, str(error)) from None
        self.compared += len(commands)
        if raw[0] == raw[1] and HALF_DONE not in raw[0]:
            return [], []
        cut = []
        for server, data in zip((self.ours, self.theirs), raw):
            try:
                cut.append(frames(data))
            except (ValueError, IndexError):
                raise Ended(server, commands, "replies that are no RESP") from None
            if len(cut[-1]) != len(commands):
                raise Ended(server, commands, f"{len(cut[-1])} replies to {len(commands)} commands")
        return cut

    def _compare(self, commands, ours, theirs, begin, protocol):
        """What differs from `begin` on, and the keys that then hold different things."""
        found, tainted = [], set()
        if not ours:
            return found, tainted
        for at in range(begin, len(commands)):
            if ours[at] == theirs[at]:
                if ours[at].startswith(HALF_DONE):
                    tainted |= keys_in(commands[at])
                if tainted and not tainted.isdisjoint(commands[at]):
                    tainted |= keys_in(commands[at])
                continue
            args = commands[at]
            if tainted:
                if not tainted.isdisjoint(args):
                    tainted |= keys_in(args)
                    continue
                if args[0].upper() in OF_ALL_KEYS:
                    continue
            if agree(args, ours[at], theirs[at]) and self._chosen_well(commands, ours, at):
                continue
            a, b = parse(ours[at]), parse(theirs[at])
            rule = self.rules.match(args, a, b)
            if rule is None:
                found.append(Finding(at, args, a, b, protocol))
            if rule is None or rule.leaves_them_apart:
                tainted |= keys_in(args) | set(args[1:2])
        return found, tainted

    def _chosen_well(self, commands, ours, at):
        """Whether a random choice is one of what the command before it listed."""
        args = commands[at]
        lister = PICKS.get(args[0].upper())
        if lister is None or at == 0 or commands[at - 1][:2] != [lister, args[1]] or len(args) < 2:
            return True
        listed = parse(ours[at - 1])
        members = set(listed.items) if isinstance(listed, Many) else None
        return picked(args, parse(ours[at]), members)

    def _undo_chance(self, args, popped, wanted):
        """Makes our set what the peer's is after SPOP."""
        of = lambda value: set(value.items) if isinstance(value, Many) else set() if isinstance(value, (Null, Failure)) else {value}
        popped, wanted = of(parse(popped)), of(parse(wanted))
        if back := sorted(popped - wanted):
            self.ours.call(b"SADD", args[1], *back)
        if gone := sorted(wanted - popped):
            self.ours.call(b"SREM", args[1], *gone)
