"""HyperLogLogs, whose bytes must be those of the peer as well, for they are plain strings."""

COMMANDS = """
    6 PFADD hll ( hllelement )+
    2 PFADD hll ( hllelement hllelement hllelement hllelement hllelement hllelement hllelement hllelement )+
    1 PFADD hll
    3 PFCOUNT ( hll )+
    3 PFMERGE hll ( hll )+
    0.5 PFMERGE hll
    1 GET hll
    0.3 DEL hll
    0.3 SET hll value
    0.1 APPEND hll value
    0.3 STRLEN hll
"""
