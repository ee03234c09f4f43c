"""Has each server run what the other has put into its append-only file: random commands to one alone, as both know them, and
sometimes a rewrite in the middle; then the other is started with a copy of the file. Both must hold the same data.

    python3 tests/differential/feed.py --ours PATH --peer PATH [--commands N] [--files N] [--seed S]
"""

import argparse
import contextlib
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

import families
from features import features_of
from grammar import harmless, read_family, spoil
from payloads import READS_OURS, contents, plain
from servers import Server
from wire import Failure

SETTINGS = ("appendonly yes", "aof-use-rdb-preamble no", "enable-debug-command yes", "appendfsync no")
# A key or field with a shorter time to live might be gone before it is compared.
SHORT_MS = 300_000
PIPELINE = 50
SPOILT = 0.02
DATABASES = 16
REWRITE_DEADLINE_S = 120.0


class Commands:
    """Random commands that both servers know."""

    def __init__(self, ours, theirs):
        features = features_of(theirs)
        rows = [row for name in families.NAMES for row in read_family(families.text_of(name), features)]
        names = sorted({name for _, name, _ in rows})
        known = ours.has_commands(names) & theirs.has_commands(names)
        self.rows = [row for row in rows if row[1] in known]
        self.weights = [weight for weight, _, _ in self.rows]
        self.has_field_times = {"HPTTL", "HPERSIST"} <= ours.has_commands(["HPTTL", "HPERSIST"]) & theirs.has_commands(["HPTTL", "HPERSIST"])

    def draw(self, rng, count, for_ours):
        """Commands for ours, or for a peer: then not those of which servers make different things, which are ranges of names where
        scores differ, and scores in other bases."""
        commands = []
        while len(commands) < count:
            args = []
            rng.choices(self.rows, self.weights)[0][2](rng, args)
            if rng.random() < SPOILT:
                args = spoil(rng, args)
            words = {bytes(word).upper() for word in args}
            disputed = words & {b"ZREMRANGEBYLEX", b"BYLEX"} or any(b"0X" in word[:3] for word in words)
            if harmless(args) and (for_ours or not disputed):
                commands.append(args)
        return commands


def keep(server, has_field_times):
    """Takes deadlines away that would come before the comparison."""
    for index in range(DATABASES):
        server.call(b"SELECT", b"%d" % index)
        for key in map(bytes, plain(server.call(b"KEYS", b"*"))):
            if 0 <= server.call(b"PTTL", key) < SHORT_MS:
                server.call(b"PERSIST", key)
            if has_field_times and bytes(server.call(b"TYPE", key)) == b"hash":
                for field in map(bytes, plain(server.call(b"HKEYS", key))):
                    left = plain(server.call(b"HPTTL", key, b"FIELDS", b"1", field))
                    if 0 <= left[0] < SHORT_MS:
                        server.call(b"HPERSIST", key, b"FIELDS", b"1", field)


def everything(server, has_field_times):
    found = {}
    for index in range(DATABASES):
        server.call(b"SELECT", b"%d" % index)
        for key in map(bytes, plain(server.call(b"KEYS", b"*"))):
            kind, *parts = contents(server, key, has_field_times)
            if kind == b"stream":
                # What is left to read is worked out in other ways where entries are missing.
                parts = [re.sub(r", b'lag', [^]]*", "", part) for part in parts[0]]
            found[index, key] = (server.call(b"PTTL", key) > 0, kind, parts)
    server.call(b"SELECT", b"0")
    return found


def rewrite(server, reader, rng):
    """Has a server write its file anew, in either form if the reader knows both."""
    reads_snapshots = reader.kind == "weir" or reader.version >= READS_OURS[reader.kind]
    preamble = b"yes" if reads_snapshots and rng.random() < 0.5 else b"no"
    server.call(b"CONFIG", b"SET", b"aof-use-rdb-preamble", preamble)
    if server.kind == "weir":
        # Deadlines of fields are written as one of the two reads them.
        server.call(b"CONFIG", b"SET", b"rdb-dialect", reader.kind.encode())
    server.call(b"BGREWRITEAOF")
    deadline = time.monotonic() + REWRITE_DEADLINE_S
    while b"aof_rewrite_in_progress:0" not in server.call(b"INFO", b"persistence"):
        if time.monotonic() > deadline:
            raise SystemExit(f"{server.name} does not come to the end of a rewrite:\n{server.log_tail()}")
        time.sleep(0.01)


def wait_until_loaded(server):
    while isinstance(server.call(b"DBSIZE"), Failure):
        time.sleep(0.01)


def carry(ours, theirs, commands, options, seed, found):
    """One file that the first server writes and the second one runs. Gives how many keys were compared."""
    rng = random.Random(seed)
    has_field_times = commands.has_field_times
    ours.call(b"FLUSHALL")
    rounds = options.commands // PIPELINE
    rewritten_at = rng.randrange(2 * rounds)
    for number in range(rounds):
        ours.connection(2).exchange(commands.draw(rng, PIPELINE, ours.kind == "weir"))
        if rng.random() < 0.02:
            time.sleep(0.02)
        if number == rewritten_at:
            rewrite(ours, theirs, rng)
    keep(ours, has_field_times)
    before = everything(ours, has_field_times)
    with contextlib.suppress(Exception):
        ours.call(b"SHUTDOWN", b"NOSAVE")
    ours.has_ended()
    if ours.kind != "weir":
        # What peers write is not always what they did: what they make of it themselves is what counts.
        ours.start()
        wait_until_loaded(ours)
        before = everything(ours, has_field_times)
        ours.stop()
    theirs.stop()
    shutil.rmtree(theirs.folder / "appendonlydir", ignore_errors=True)
    shutil.copytree(ours.folder / "appendonlydir", theirs.folder / "appendonlydir")
    shutil.rmtree(ours.folder / "appendonlydir")
    ours.start()
    try:
        theirs.start()
    except SystemExit as error:
        found.append(f"{theirs.name} does not run the file: {error}")
        shutil.rmtree(theirs.folder / "appendonlydir")
        theirs.start()
        return 0
    wait_until_loaded(theirs)
    after = everything(theirs, has_field_times)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            found.append(f"{key} from {ours.name} with seed {seed}:\n    {str(before.get(key))[:600]}\n    {str(after.get(key))[:600]}")
    return len(before)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the server to check")
    parser.add_argument("--peer", required=True, help="the server to exchange files with")
    parser.add_argument("--commands", type=int, default=4000, help="commands for each file (default %(default)s)")
    parser.add_argument("--files", type=int, default=5, help="each way (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found, keys = [], 0
    with tempfile.TemporaryDirectory(prefix="feed-") as folder, contextlib.ExitStack() as running:
        servers = []
        for name, program in (("ours", options.ours), ("theirs", options.peer)):
            servers.append(Server(program, pathlib.Path(folder) / name, SETTINGS))
            running.callback(servers[-1].stop)
        commands = Commands(*servers)
        for number in range(options.files):
            keys += carry(*servers, commands, options, options.seed + number, found)
            keys += carry(*reversed(servers), commands, options, options.seed + number, found)
        name = servers[1].name
    for text in found[:20]:
        print(f"--- {text}")
    print(
        f"append-only files: {options.files} each way of {options.commands} commands, from and to {name}, {keys} keys; {len(found)} findings "
        f"(seed {options.seed})"
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
