"""Keys of any type, their expiry, and SORT."""

COMMANDS = """
    3 DEL ( any )+
    1 UNLINK ( any )+
    1 EXISTS ( any )+
    1 TOUCH ( any )+
    2 TYPE any
    1 RENAME any any
    1 RENAMENX any any
    2 COPY any any [ REPLACE ]
    0.3 COPY any any DB ( 1 | 0 | 16 | 'a ) [ REPLACE ]
    0.3 MOVE any ( 1 | 0 | -1 | 16 | 'a )
    0.5 RANDOMKEY
    0.5 DBSIZE
    0.5 KEYS glob
    0.5 SCAN 0 < [ MATCH glob ] [ COUNT count ] [ TYPE ( 'string | 'list | 'set | 'zset | 'hash | 'stream | 'foo ) ] >
    0.5 SCAN 0 COUNT 100000
    2 EXPIRE any seconds [ NX | XX | GT | LT ]
    1 PEXPIRE any milliseconds [ NX | XX | GT | LT ]
    2 EXPIREAT any unixseconds [ NX | XX | GT | LT ]
    1 PEXPIREAT any unixms [ NX | XX | GT | LT ]
    0.2 EXPIRE any seconds ( NX | XX | GT | LT )+
    1 TTL any
    1 PTTL any
    1 EXPIRETIME any
    1 PEXPIRETIME any
    2 PERSIST any
    3 OBJECT ENCODING any
    0.3 OBJECT IDLETIME any
    0.2 OBJECT FREQ any
    2 SORT ( list | set | zset ) < [ LIMIT index index ] [ ASC | DESC ] [ ALPHA ] >
    2 SORT ( list | set | zset ) ALPHA
    2 SORT ( list | set | zset ) < [ BY ( h1->* | h*->a | s* | *1 | 'nosort | * | h*-> ) ] [ GET ( # | s* | h*->a | *->b | 'x | h1->* ) ] [ LIMIT index index ] [ ASC | DESC ] [ ALPHA ] [ STORE list ] >
    1 SORT_RO ( list | set | zset ) < [ BY ( s* | 'nosort ) ] ( GET # )+ [ LIMIT index index ] [ DESC ] [ ALPHA ] >
    0.5 SORT any
    0.5 SORT_RO any [ STORE list ]
"""
