"""From a finding in the middle of thousands of commands to the few that show it.

First the commands that share no key with the finding go, then runs of what is left, each time on emptied servers, as
long as the last command still shows a difference (or still ends the server).
"""

import time

from duel import Ended, keys_in

BUDGET_S = 12.0


def related(commands):
    """Commands that touch what the last one touches, or what those touch."""
    keys, kept = keys_in(commands[-1]), [commands[-1]]
    if not keys:
        return commands
    for args in reversed(commands[:-1]):
        touched = keys_in(args)
        if not keys.isdisjoint(touched):
            keys = keys | touched
            kept.append(args)
    return kept[::-1]


class Shrinker:
    def __init__(self, duel, prepare, protocol):
        self.duel = duel
        self.prepare = prepare
        self.protocol = protocol
        self.ends = time.monotonic() + BUDGET_S

    def shows(self, commands):
        """The finding of the last command, an `Ended`, or None."""
        self.duel.restart()
        self.prepare()
        try:
            found, _ = self.duel.play(commands, self.protocol, only_last=True)
        except Ended as ended:
            return ended
        return found[0] if found else None

    def shrink(self, commands):
        """A short sequence that still shows it, and what it shows; the first may be all of them if it does not show
        it any more, and the second None."""
        shown = None
        close = related(commands)
        for candidate in (close, commands):
            shown = self.shows(candidate)
            if shown:
                commands = candidate
                break
        if not shown:
            return commands, None
        chunk = max(1, len(commands) // 2)
        while time.monotonic() < self.ends:
            at, smaller = 0, False
            while at < len(commands) - 1 and time.monotonic() < self.ends:
                candidate = commands[:at] + commands[min(at + chunk, len(commands) - 1) :]
                again = self.shows(candidate)
                if again:
                    commands, shown, smaller = candidate, again, True
                else:
                    at += chunk
            if chunk == 1 and not smaller:
                break
            chunk = max(1, chunk // 2)
        return commands, shown
