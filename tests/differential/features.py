"""What a peer knows besides its commands: options that came with some version of one of the two lines.

Commands need no row here: the peer is asked which it has.
"""

FEATURES = {
    # name: first version of Valkey, first version of Redis that has it (None: none yet)
    "ifeq": ((8, 1), (8, 4)),
    "ifne": (None, (8, 4)),
    "bitcount_start": ((8, 0), None),
    "polygon": ((9, 0), None),
    "novalues": ((8, 0), (7, 4)),
    "noscores": ((8, 0), None),
    "hsetex_key": ((9, 1), None),
    "bitop_diff": (None, (8, 2)),
    "references": (None, (8, 2)),
    "idmp": (None, (8, 6)),
    "claim": (None, (8, 4)),
    "aggregate_count": (None, (8, 8)),
}


def features_of(server):
    """Every feature's name, and whether the server has it."""
    first = {"valkey": 0, "redis": 1}
    known = {}
    for name, versions in FEATURES.items():
        since = versions[first[server.kind]] if server.kind in first else (0,)
        known[name] = since is not None and server.version >= since
    return known
