"""Lists. What may wait gets so short a timeout that it hardly does."""

COMMANDS = """
    5 RPUSH list ( element )+
    5 LPUSH list ( element )+
    1 RPUSHX list ( element )+
    1 LPUSHX list ( element )+
    3 LPOP list [ count ]
    3 RPOP list [ count ]
    2 LINSERT list ( BEFORE | AFTER ) element element
    2 LSET list index element
    3 LREM list signedcount element
    1 LTRIM list index index
    1 LTRIM list ( 0 | 1 | 2 ) ( -1 | -2 | 100 )
    1 LLEN list
    3 LINDEX list index
    3 LRANGE list index index
    3 LPOS list element < [ RANK signedcount ] [ COUNT count ] [ MAXLEN count ] >
    2 LMOVE list list ( LEFT | RIGHT ) ( LEFT | RIGHT )
    1 RPOPLPUSH list list
    2 LMPOP #( list ) ( LEFT | RIGHT ) [ COUNT count ]
    0.1 BLPOP ( list )+ timeout
    0.1 BRPOP ( list )+ timeout
    0.1 BLMPOP timeout #( list ) ( LEFT | RIGHT ) [ COUNT count ]
    0.1 BLMOVE list list ( LEFT | RIGHT ) ( LEFT | RIGHT ) timeout
    0.1 BRPOPLPUSH list list timeout
    1 OBJECT ENCODING list
    0.3 DEL list
"""
