"""Bits of strings."""

COMMANDS = """
    2 SET str text
    4 SETBIT str bitoffset bit
    2 GETBIT str bitoffset
    3 BITCOUNT str [ index index [ BYTE | BIT ] ]
    0.5 BITCOUNT str [ ?bitcount_start index ]
    4 BITPOS str bit [ index [ index [ BYTE | BIT ] ] ]
    4 BITOP ( AND | OR | XOR ) str ( str )+
    1 BITOP NOT str str
    0.3 BITOP ( NOT str ( str )+ | FOO str str )
    1 BITOP ( ?bitop_diff DIFF | ?bitop_diff DIFF1 | ?bitop_diff ANDOR | ?bitop_diff ONE | OR ) str ( str )+
    5 BITFIELD str ( GET bittype fieldoffset | SET bittype fieldoffset int | INCRBY bittype fieldoffset int | OVERFLOW ( WRAP | SAT | FAIL ) INCRBY bittype fieldoffset int )+
    0.3 BITFIELD str [ OVERFLOW ( WRAP | SAT | FAIL | FOO ) ]
    1 BITFIELD_RO str ( GET bittype fieldoffset )+
    0.3 BITFIELD_RO str ( GET bittype fieldoffset | SET bittype fieldoffset int )+
    1 GET str
    0.5 DEL str
    0.5 OBJECT ENCODING str
"""
