"""The wire: requests as bytes, replies cut into frames, frames as values.

Two servers get the same pipeline and mostly answer the same bytes. So the bytes are compared first, frames are cut only
where the two texts differ, and values are made only of frames that differ: this is what makes a million commands a
matter of minutes in Python.

What must stay true: a frame is exactly the bytes of one reply, and `parse` keeps every distinction that RESP makes
(`$-1` is not `_`, an array is not a set), because a difference of type is a difference.
"""

import socket

END = b"\r\n"
REPLY_TIMEOUT_S = 60.0


class Lost(Exception):
    """The server closed the connection, or said nothing for too long."""


class Text(bytes):
    """A simple string."""


class Failure(bytes):
    """An error reply, its code word first."""


class Number(bytes):
    """A double, a big number or a boolean of RESP3: the kind and the text as sent."""


class Null:
    """One of the three nulls; which one is `form`."""

    def __init__(self, form):
        self.form = form

    def __eq__(self, other):
        return isinstance(other, Null) and other.form == self.form

    def __hash__(self):
        return hash(self.form)

    def __repr__(self):
        return "(nil)" if self.form != b"*-1" else "(nil array)"


class Many:
    """An aggregate: `kind` is `*`, `~`, `%` or `>`, and `items` the flat list of elements (of a map keys and values)."""

    def __init__(self, kind, items):
        self.kind = kind
        self.items = items

    def __eq__(self, other):
        return isinstance(other, Many) and (self.kind, self.items) == (other.kind, other.items)

    def pairs(self):
        return list(zip(self.items[::2], self.items[1::2]))


def request(args):
    """One command as RESP."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        parts.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(parts)


def frame_end(data, at):
    """Where the reply that begins at `at` ends."""
    kind = data[at]
    line_end = data.index(END, at)
    if kind in b"$=!":
        size = int(data[at + 1 : line_end])
        return line_end + 2 if size < 0 else line_end + 4 + size
    at, line = line_end + 2, data[at + 1 : line_end]
    if kind in b"*~>":
        for _ in range(int(line)):
            at = frame_end(data, at)
    elif kind in b"%|":
        for _ in range(2 * int(line) + (kind == 0x7C)):
            at = frame_end(data, at)
    return at


def frames(data):
    """The replies in `data`, each as its bytes."""
    at, found = 0, []
    while at < len(data):
        end = frame_end(data, at)
        found.append(data[at:end])
        at = end
    return found


def parse(frame):
    return _value(frame, 0)[0]


def _value(data, at):
    kind = data[at : at + 1]
    line_end = data.index(END, at)
    line = data[at + 1 : line_end]
    after = line_end + 2
    if kind == b"$" or kind == b"=":
        size = int(line)
        if size < 0:
            return Null(b"$-1"), after
        body = data[after : after + size]
        return (body if kind == b"$" else Text(b"=" + body)), after + size + 2
    if kind in (b"*", b"~", b">", b"%"):
        count = int(line)
        if count < 0:
            return Null(b"*-1"), after
        items = []
        for _ in range(count * (2 if kind == b"%" else 1)):
            item, after = _value(data, after)
            items.append(item)
        return Many(kind.decode(), items), after
    if kind == b":":
        return int(line), after
    if kind == b"+":
        return Text(line), after
    if kind == b"-":
        return Failure(line), after
    if kind == b"_":
        return Null(b"_"), after
    return Number(kind + line), after


def quoted(arg):
    """An argument as `redis-cli` takes it."""
    if arg and all(33 <= b < 127 and b not in b"\"'\\#" for b in arg):
        return arg.decode()
    shown = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in arg)
    return f'"{shown}"'


def line_of(args):
    return " ".join(quoted(arg) for arg in args)


def shown(value, indent=0):
    """A reply for people, one element a line."""
    pad = " " * indent
    if isinstance(value, Many):
        lines = [f"{pad}{value.kind}{len(value.items) // (2 if value.kind == '%' else 1)}"]
        lines += [shown(item, indent + 2) for item in value.items]
        return "\n".join(lines)
    if isinstance(value, (Text, Failure)):
        return pad + ("+" if isinstance(value, Text) else "-") + value.decode("latin1")
    if isinstance(value, Number):
        return pad + value.decode()
    if isinstance(value, bytes):
        return pad + '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in value) + '"'
    return pad + (f":{value}" if isinstance(value, int) else repr(value))


class Connection:
    """A connection that speaks one version of the protocol. Requests go out in pipelines; the sentinel behind the last
    one tells where its replies end, so that nothing needs to be understood while it arrives."""

    def __init__(self, path, protocol):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(REPLY_TIMEOUT_S)
        self.socket.connect(str(path))
        self.protocol = protocol
        self.turns = 0
        if protocol == 3:
            self.exchange([[b"HELLO", b"3"]])

    def send(self, payload):
        self.turns += 1
        mark = b"end of turn %d" % self.turns
        self.mark = b"$%d\r\n%b\r\n" % (len(mark), mark)
        try:
            self.socket.sendall(payload + b"*2\r\n$4\r\nECHO\r\n" + self.mark)
        except OSError as error:
            raise Lost(str(error)) from error

    def receive(self):
        """The replies to what was sent last, without the sentinel's."""
        received = bytearray()
        while not received.endswith(self.mark):
            try:
                part = self.socket.recv(1 << 18)
            except OSError as error:
                raise Lost(f"{error} after {len(received)} bytes of replies") from error
            if not part:
                raise Lost(f"connection closed after {len(received)} bytes of replies")
            received += part
        return bytes(received[: -len(self.mark)])

    def exchange(self, commands):
        """Replies to commands, as values."""
        self.send(b"".join(map(request, commands)))
        return [parse(frame) for frame in frames(self.receive())]

    def close(self):
        self.socket.close()
