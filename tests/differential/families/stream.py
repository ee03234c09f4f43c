"""Streams and their consumer groups. Ids are given, never made from the clock."""

COMMANDS = """
    12 XADD stream newid ( field value )+
    3 XADD stream < [ NOMKSTREAM ] [ ( MAXLEN | MAXLEN = ) count | MINID [ = ] id | MAXLEN ~ count [ LIMIT count ] | MINID ~ id [ LIMIT count ] ] > newid ( field value )+
    0.5 XADD stream < [ NOMKSTREAM ] [ MAXLEN count LIMIT count ] > newid ( field value )+
    2 XTRIM stream ( MAXLEN [ = ] count | MINID [ = ] id | MAXLEN ~ count [ LIMIT count ] | MINID ~ id [ LIMIT count ] )
    3 XDEL stream ( id )+
    1 XLEN stream
    3 XRANGE stream rangeid rangeid [ COUNT count ]
    3 XREVRANGE stream rangeid rangeid [ COUNT count ]
    2 XREAD < [ COUNT count ] > STREAMS ( stream id | stream stream id id | stream ( $ | + | next | 0 ) )
    0.1 XREAD BLOCK blockms [ COUNT count ] STREAMS ( stream id | stream $ )
    1 XSETID stream id [ ENTRIESADDED count MAXDELETEDID id ]
    0.5 XSETID stream newid < [ ENTRIESADDED count ] [ MAXDELETEDID id ] >
    5 XGROUP CREATE stream group ( id | 0 | $ ) < [ MKSTREAM ] [ ENTRIESREAD signedcount ] >
    1 XGROUP SETID stream group ( id | 0 | $ ) [ ENTRIESREAD signedcount ]
    0.3 XGROUP DESTROY stream group
    1 XGROUP CREATECONSUMER stream group consumer
    0.5 XGROUP DELCONSUMER stream group consumer
    6 XREADGROUP GROUP group consumer < [ COUNT count ] [ NOACK ] > STREAMS stream next
    2 XREADGROUP GROUP group consumer < [ COUNT count ] [ NOACK ] > STREAMS ( stream id | stream 0 | stream stream next 0 | stream $ )
    0.1 XREADGROUP GROUP group consumer BLOCK blockms STREAMS stream next
    4 XACK stream group ( id )+
    2 XPENDING stream group
    3 XPENDING stream group [ IDLE idlems ] rangeid rangeid count [ consumer ]
    3 XCLAIM stream group consumer idlems ( id )+ < [ IDLE idlems ] [ RETRYCOUNT count ] [ FORCE ] [ JUSTID ] [ LASTID id ] >
    0.5 XCLAIM stream group consumer idlems ( id )+ < [ TIME pasttime ] [ RETRYCOUNT signedcount ] [ FORCE ] >
    3 XAUTOCLAIM stream group consumer idlems id < [ COUNT count ] [ JUSTID ] >
    2 XINFO STREAM stream [ FULL [ COUNT count ] ]
    1 XINFO GROUPS stream
    1 XINFO CONSUMERS stream group
    1 XDELEX stream [ KEEPREF | DELREF | ACKED ] IDS #( id )
    1 XACKDEL stream group [ KEEPREF | DELREF | ACKED ] IDS #( id )
    0.5 XNACK stream group ( SILENT | FAIL | FATAL ) IDS #( id )
    0.3 OBJECT ENCODING stream
    0.2 DEL stream
"""
