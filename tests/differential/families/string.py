"""Strings."""

COMMANDS = """
    4 SET str value
    2 SET str value < [ NX | XX | ?ifeq IFEQ value | ?ifne IFNE value ] [ GET ] [ EX seconds | PX milliseconds | EXAT unixseconds | PXAT unixms | KEEPTTL ] >
    0.5 SET str value < [ EX seconds ] [ PX milliseconds ] [ KEEPTTL ] [ NX ] [ XX ] >
    0.5 SET any value
    1 SETEX str seconds value
    1 PSETEX str milliseconds value
    1 SETNX str value
    1 GETSET str value
    3 GET str
    1 GETDEL str
    2 GETEX str [ EX seconds | PX milliseconds | EXAT unixseconds | PXAT unixms | PERSIST ]
    2 GETRANGE str index index
    1 SUBSTR str index index
    1 STRLEN str
    2 MGET ( str )+
    2 MSET ( str value )+
    1 MSETNX ( str value )+
    1 MSETEX #( str value ) [ NX | XX ] [ EX seconds | PX milliseconds | EXAT unixseconds | PXAT unixms | KEEPTTL ]
    2 APPEND str value
    2 SETRANGE str index value
    1 LCS str str < [ LEN ] [ IDX ] [ MINMATCHLEN count ] [ WITHMATCHLEN ] >
    1 DELIFEQ str value
    1 DELEX str [ ( IFEQ | IFNE ) value ]
    0.5 DIGEST str
    2 INCR str
    1 DECR str
    2 INCRBY str delta
    1 DECRBY str delta
    2 INCRBYFLOAT str float
    1 OBJECT ENCODING str
"""
