#!/usr/bin/env python3
"""Random commands to Weir and to a peer (Valkey or Redis), reply against reply. README.md is the guide.

    differential.py --ours PATH --peer PATH [--commands N] [--seed S] [--resp 2|3|both] [--families a,b]
                    [--segment N] [--findings N]

The run is made of *segments*: some thousand commands of a few families from a seed of their own, on emptied servers,
under limits of small encodings that the segment draws. Every so many commands the whole keyspaces are compared. A
finding is replayed and shortened until only the commands are left that it needs. `--segment N` runs one again.

What must stay true: a segment depends on the seed, its number, the options and the peer's version only.
"""

import argparse
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import families
import rules
from duel import Duel, Ended
from features import features_of
from grammar import harmless, read_family, spoil
from pools import ALL_KEYS
from servers import Server
from shrink import Shrinker
from wire import line_of, shown

SEGMENT_COMMANDS = 4000
PIPELINE_MAX = 400
LOOK_EVERY = 1000
SPOILT = 0.06

# Limits of small encodings: as they are by default, so small that everything grows out of them, and in between.
LAYOUTS = {
    "default limits": {},
    "small limits": {
        "hash-max-listpack-entries": "6",
        "hash-max-listpack-value": "16",
        "set-max-intset-entries": "6",
        "set-max-listpack-entries": "6",
        "set-max-listpack-value": "16",
        "zset-max-listpack-entries": "6",
        "zset-max-listpack-value": "16",
        "list-max-listpack-size": "4",
        "stream-node-max-entries": "5",
        "hll-sparse-max-bytes": "100",
    },
    "middling limits": {
        "hash-max-listpack-entries": "20",
        "set-max-intset-entries": "20",
        "set-max-listpack-entries": "12",
        "zset-max-listpack-entries": "20",
        "list-max-listpack-size": "-1",
        "stream-node-max-entries": "20",
        "hll-sparse-max-bytes": "600",
    },
}
LIMITS = list(LAYOUTS["small limits"])

# How a value of each type is read to be compared.
READS = {
    b"string": [[b"GET", None]],
    b"list": [[b"LRANGE", None, b"0", b"-1"]],
    b"set": [[b"SMEMBERS", None]],
    b"zset": [[b"ZRANGE", None, b"0", b"-1", b"WITHSCORES"]],
    b"hash": [[b"HGETALL", None]],
    b"stream": [[b"XRANGE", None, b"-", b"+"], [b"XINFO", b"STREAM", None, b"FULL", b"COUNT", b"0"]],
}


class Run:
    def __init__(self, options, ours, theirs):
        self.options = options
        self.ours = ours
        self.theirs = theirs
        self.rules = rules.Rules(theirs)
        self.duel = Duel(ours, theirs, self.rules)
        self.seen = {}
        self.began = time.monotonic()
        features = features_of(theirs)
        known = {name: read_family(families.text_of(name), features) for name in families.NAMES}
        wanted = sorted({name for rows in known.values() for _, name, _ in rows})
        self.missing = {server.name: set(wanted) - server.has_commands(wanted) for server in (ours, theirs)}
        absent = set().union(*self.missing.values())
        self.families = {name: [row for row in rows if row[1] not in absent] for name, rows in known.items() if name in options.families}
        self.families = {name: rows for name, rows in self.families.items() if rows}
        self.absent = {name.encode() for name in absent}
        self.field_times = b"HPEXPIRETIME" not in self.absent and "HPEXPIRETIME" in wanted

    def draw(self, rng, rows, weights, count):
        commands = []
        while len(commands) < count:
            _, _, emit = rng.choices(rows, weights)[0]
            args = []
            emit(rng, args)
            if rng.random() < SPOILT:
                args = spoil(rng, args)
            if not harmless(args):
                continue
            lister = {b"SRANDMEMBER": [b"SMEMBERS"], b"HRANDFIELD": [b"HKEYS"], b"ZRANDMEMBER": [b"ZRANGE", b"0", b"-1"]}.get(args[0])
            if lister and len(args) > 1 and lister[0] not in self.absent:
                commands.append([lister[0], args[1], *lister[1:]])
            commands.append(args)
            if args[0].upper() in (b"SORT", b"SORT_RO") and args[1:]:
                # The peers turn a small sorted set into a large one to sort it, Weir leaves it as it is.
                commands.append([b"DEL", args[1]])
        return commands

    def segment(self, number):
        rng = random.Random(f"{self.options.seed}/{number}")
        protocol = rng.choice(self.options.protocols)
        layout = rng.choice(list(LAYOUTS))
        names = list(self.families)
        if rng.random() < 0.75:
            names = rng.sample(names, min(len(names), rng.choice((1, 1, 2, 3))))
        rows = [row for name in names for row in self.families[name]]
        weights = [weight for weight, _, _ in rows]

        def prepare():
            for server in (self.ours, self.theirs):
                for name, default in self.defaults[server.name].items():
                    server.call(b"CONFIG", b"SET", name.encode(), LAYOUTS[layout].get(name, default).encode())

        self.duel.restart()
        prepare()
        log, found = [], []

        def play(commands):
            try:
                differing, played = self.duel.play(commands, protocol)
            except Ended:
                log.extend(commands)
                raise
            for finding in differing:
                finding.at += len(log)
            found.extend(differing)
            log.extend(played)

        try:
            since = 0
            while len(log) < SEGMENT_COMMANDS:
                count = 1 + int(rng.random() * PIPELINE_MAX)
                play(self.draw(rng, rows, weights, count))
                since += count
                if since >= LOOK_EVERY:
                    since = 0
                    self.look(play)
            self.look(play)
        except Ended as ended:
            self.report_end(number, protocol, layout, prepare, log, ended)
        for finding in found:
            self.report(number, protocol, layout, prepare, log[: finding.at + 1], finding)

    def look(self, play):
        """Compares everything there is, by ordinary commands."""
        play([command for key in ALL_KEYS for command in ([b"TYPE", key], [b"OBJECT", b"ENCODING", key], [b"PTTL", key])])
        peer = self.theirs.connection(2)
        types = dict(zip(ALL_KEYS, peer.exchange([[b"TYPE", key] for key in ALL_KEYS])))
        reads = []
        for key, kind in types.items():
            reads += [[key if arg is None else arg for arg in read] for read in READS.get(bytes(kind), [])]
            if kind == b"hash" and self.field_times:
                fields = sorted(peer.exchange([[b"HKEYS", key]])[0].items)
                reads.append([b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(fields), *fields])
        reads = [read for read in reads if read[0] not in self.absent]
        if reads:
            play(reads)

    # --- findings ------------------------------------------------------------------------------------------------

    def is_new(self, signature):
        self.seen[signature] = self.seen.get(signature, 0) + 1
        return self.seen[signature] == 1 and len(self.seen) <= self.options.findings

    def report(self, number, protocol, layout, prepare, commands, finding):
        if not self.is_new(finding.signature()):
            return
        shortest, again = Shrinker(self.duel, prepare, protocol).shrink(commands)
        print(f"\n--- difference {len(self.seen)}: segment {number}, RESP{protocol}, {layout}")
        if again is None:
            print(f"(does not show when its {len(commands)} commands are played again; as it was met:)")
            shortest, again = [finding.args], finding
        self.show(shortest, again)

    def report_end(self, number, protocol, layout, prepare, log, ended):
        if not self.is_new((ended.server.name, str(ended)[:80])):
            return
        print(f"\n--- difference {len(self.seen)}: segment {number}, RESP{protocol}, {layout}: {ended}")
        if ended.server.has_ended():
            print(ended.server.log_tail())
        # Which of the commands under way did it: the shortest beginning that still does.
        shrinker = Shrinker(self.duel, prepare, protocol)
        low, high = max(1, len(log) - len(ended.commands)), len(log)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if isinstance(shrinker.shows(log[:middle]), Ended) else (middle + 1, high)
        shortest, again = shrinker.shrink(log[:low])
        if isinstance(again, Ended):
            self.show(shortest, again)
        else:
            print("(does not show again; the last commands were:)")
            print("\n".join("    " + line_of(args) for args in ended.commands[-10:]))

    def show(self, commands, finding):
        print("\n".join("    " + line_of(args) for args in commands[-60:]))
        if isinstance(finding, Ended):
            print(f"  {finding}")
            return
        print(f"  {self.ours.name}:\n{shown(finding.ours, 4)[:3000]}")
        print(f"  {self.theirs.name}:\n{shown(finding.theirs, 4)[:3000]}", flush=True)

    # --- the whole -----------------------------------------------------------------------------------------------

    def run(self):
        self.defaults = {}
        for server in (self.ours, self.theirs):
            told = server.call(b"CONFIG", b"GET", *[name.encode() for name in LIMITS]).items
            self.defaults[server.name] = {name.decode(): value.decode() for name, value in zip(told[::2], told[1::2])}
        for name, missing in self.missing.items():
            if missing:
                print(f"{name} lacks {' '.join(sorted(missing))}")
        number, told = self.options.segment or 0, time.monotonic()
        while self.duel.compared < self.options.commands and len(self.seen) < self.options.findings:
            self.segment(number)
            if self.options.segment is not None:
                break
            number += 1
            if time.monotonic() - told > 15:
                told = time.monotonic()
                print(f"... {self.duel.compared} commands, segment {number}, {len(self.seen)} kinds of difference", flush=True)
        seconds = time.monotonic() - self.began
        fired = sum(rule.fired for rule in self.rules.rules)
        print(f"\n{self.ours.name} against {self.theirs.name}: {self.duel.compared} commands in {seconds:.0f} s, seed {self.options.seed}")
        print(f"{fired} known differences by {len(self.rules.rules)} rules, {len(self.seen)} kinds of unknown ones, {sum(self.seen.values())} in all")
        if self.duel.compared >= 500_000 and set(self.options.families) == set(families.NAMES):
            for rule in self.rules.idle():
                print(f"never fired: {rule.row}")
        return 1 if self.seen else 0


def options_of(argv):
    parser = argparse.ArgumentParser(description="Random commands to Weir and to a peer, reply against reply.")
    parser.add_argument("--ours", required=True, help="the server to test")
    parser.add_argument("--peer", required=True, help="the server to compare with: valkey-server or redis-server")
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--resp", choices=("2", "3", "both"), default="both")
    parser.add_argument("--families", default=",".join(families.NAMES))
    parser.add_argument("--segment", type=int, help="run only this segment")
    parser.add_argument("--findings", type=int, default=25, help="stop after so many kinds of difference")
    options = parser.parse_args(argv)
    options.protocols = {"2": [2], "3": [3], "both": [2, 3]}[options.resp]
    options.families = options.families.split(",")
    for name in options.families:
        if name not in families.NAMES:
            parser.error(f"no family {name!r}; there are {', '.join(families.NAMES)}")
    return options


def main():
    options = options_of(sys.argv[1:])
    # So that an end from outside ends the servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if absent := rules.check():
        raise SystemExit("rules.py names rows that docs/compatibility.md does not have:\n" + "\n".join(absent))
    with tempfile.TemporaryDirectory(prefix="differential-") as folder:
        servers = []
        try:
            for name, program in (("ours", options.ours), ("theirs", options.peer)):
                servers.append(Server(program, pathlib.Path(folder) / name))
            return Run(options, *servers).run()
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    sys.exit(main())
