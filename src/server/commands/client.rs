//! CLIENT: naming, listing, holding back and ending connections.

use super::client_filter::{Filter, Kind};
use super::client_tracking::{
    client_caching_command, client_getredir_command, client_tracking_command, client_trackinginfo_command, redirection,
};
use crate::command::args::{int, is};
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::blocking::Unblock;
use crate::server::client::{Client, ClientFlags, ClientId, Slot};
use crate::server::message::Order;
use crate::server::pause::Held;
use crate::server::table::Command;
use crate::server::{Server, ServerCx, ServerFn};
use crate::tracking::Mode;
use std::fmt::Write;

const ADMIN_NOSCRIPT_LOADING_STALE: Flags = Flags::ADMIN.union(NOSCRIPT_LOADING_STALE);
const NOSCRIPT_LOADING_STALE: Flags =
    Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::KEEPS_CACHING);
const NOSCRIPT_LOADING_STALE_ALLOW_BUSY: Flags = NOSCRIPT_LOADING_STALE.union(Flags::ALLOW_BUSY);
const ACL_ADMIN_SLOW_DANGEROUS_CONNECTION: Acl =
    Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION);
const ACL_SLOW_CONNECTION: Acl = Acl::SLOW.union(Acl::CONNECTION);

/// `CLIENT` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::container(
    Spec::new("client", -2, Flags::empty(), Acl::SLOW, Group::Connection, "2.4.0")
        .doc("Depends on the subcommand.", "Groups the commands about connections."),
    &[
        Row::new(
            Spec::new("caching", 3, NOSCRIPT_LOADING_STALE_ALLOW_BUSY, ACL_SLOW_CONNECTION, Group::Connection, "6.0.0")
                .doc("O(1)", "Says whether tracking remembers the keys of the next command.")
                .args(&[Arg::one_of("mode", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])]),
            client_caching_command,
        ),
        Row::new(
            Spec::new("capa", -3, NOSCRIPT_LOADING_STALE_ALLOW_BUSY, ACL_SLOW_CONNECTION, Group::Connection, "8.0.0")
                .doc("O(1)", "Declares what the client is able to handle.")
                .args(&[Arg::new("capability", ArgKind::String).multiple()]),
            client_capa_command,
        ),
        Row::new(
            Spec::new("getname", 2, NOSCRIPT_LOADING_STALE_ALLOW_BUSY, ACL_SLOW_CONNECTION, Group::Connection, "2.6.9")
                .doc("O(1)", "Returns the name that the connection was given."),
            client_getname_command,
        ),
        Row::new(
            Spec::new(
                "getredir",
                2,
                NOSCRIPT_LOADING_STALE_ALLOW_BUSY,
                ACL_SLOW_CONNECTION,
                Group::Connection,
                "6.0.0",
            )
            .doc("O(1)", "Returns the id of the client that gets this connection's invalidation messages."),
            client_getredir_command,
        ),
        Row::new(
            Spec::new(
                "help",
                2,
                Flags::LOADING.union(Flags::STALE).union(Flags::KEEPS_CACHING),
                ACL_SLOW_CONNECTION,
                Group::Connection,
                "5.0.0",
            )
            .doc("O(1)", "Lists the subcommands of `CLIENT` and what they do."),
            client_help_command,
        ),
        Row::new(
            Spec::new("id", 2, NOSCRIPT_LOADING_STALE_ALLOW_BUSY, ACL_SLOW_CONNECTION, Group::Connection, "5.0.0")
                .doc("O(1)", "Returns the id of the connection, never used twice while the server runs."),
            client_id_command,
        ),
        Row::new(
            Spec::new("import-source", 3, NOSCRIPT_LOADING_STALE, ACL_SLOW_CONNECTION, Group::Connection, "8.1.0")
                .doc("O(1)", "Marks the connection as the source of an import, to which expired keys stay visible.")
                .args(&[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])]),
            client_import_source_command,
        ),
        Row::new(
            Spec::new("info", 2, NOSCRIPT_LOADING_STALE, ACL_SLOW_CONNECTION, Group::Connection, "6.2.0")
                .tips(&["nondeterministic_output"])
                .doc("O(1)", "Describes the connection in one line of fields."),
            client_info_command,
        ),
        Row::new(
            Spec::new(
                "kill",
                -3,
                ADMIN_NOSCRIPT_LOADING_STALE,
                ACL_ADMIN_SLOW_DANGEROUS_CONNECTION,
                Group::Connection,
                "2.4.0",
            )
            .doc(
                "O(N) where N is the number of connections.",
                "Closes one connection by its address, or all that match the given filters.",
            )
            .history(&[
                ("2.8.12", "Takes filters in place of an address."),
                ("2.8.12", "Gained the `ID` filter."),
                ("3.2.0", "Knows `master` as a `TYPE`."),
                ("5.0.0", "Knows `replica` as a `TYPE`, for which `slave` still stands."),
                ("6.2.0", "Gained the `LADDR` filter."),
                ("7.4.0", "Gained the `MAXAGE` filter."),
                ("8.0.0", "Knows `primary` as a `TYPE`, for which `master` still stands."),
                ("8.1.0", "`ID` takes more than one id."),
                ("9.0.0", "Gained the `NAME`, `IDLE`, `FLAGS`, `LIB-NAME`, `LIB-VER`, `DB`, `CAPA` and `IP` filters."),
                ("9.0.0", "Gained filters with `NOT-` in front, which leave out what matches."),
            ])
            .args(&[Arg::one_of(
                "filter",
                &[
                    Arg::new("old-format", ArgKind::String).display("ip:port").deprecated_since("2.8.12"),
                    Arg::one_of(
                        "new-format",
                        &[
                            Arg::new("client-id", ArgKind::Integer).token("ID").since("2.8.12").optional().multiple(),
                            Arg::one_of(
                                "client-type",
                                &[
                                    Arg::word("normal", "NORMAL"),
                                    Arg::word("master", "MASTER").since("3.2.0"),
                                    Arg::word("primary", "PRIMARY").since("8.0.0"),
                                    Arg::word("slave", "SLAVE"),
                                    Arg::word("replica", "REPLICA").since("5.0.0"),
                                    Arg::word("pubsub", "PUBSUB"),
                                ],
                            )
                            .token("TYPE")
                            .since("2.8.12")
                            .optional(),
                            Arg::new("username", ArgKind::String).token("USER").optional(),
                            Arg::new("addr", ArgKind::String).token("ADDR").display("ip:port").optional(),
                            Arg::new("laddr", ArgKind::String)
                                .token("LADDR")
                                .display("ip:port")
                                .since("6.2.0")
                                .optional(),
                            Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])
                                .token("SKIPME")
                                .optional(),
                            Arg::new("maxage", ArgKind::Integer).token("MAXAGE").since("7.4.0").optional(),
                            Arg::new("name", ArgKind::String).token("NAME").since("9.0.0").optional(),
                            Arg::new("idle", ArgKind::Integer).token("IDLE").since("9.0.0").optional(),
                            Arg::new("flags", ArgKind::String).token("FLAGS").since("9.0.0").optional(),
                            Arg::new("lib-name", ArgKind::String).token("LIB-NAME").since("9.0.0").optional(),
                            Arg::new("lib-ver", ArgKind::String).token("LIB-VER").since("9.0.0").optional(),
                            Arg::new("db", ArgKind::Integer).token("DB").since("9.0.0").optional(),
                            Arg::new("capa", ArgKind::String).token("CAPA").since("9.0.0").optional(),
                            Arg::new("ip", ArgKind::String).token("IP").since("9.0.0").optional(),
                            Arg::one_of(
                                "not-client-type",
                                &[
                                    Arg::word("normal", "NORMAL"),
                                    Arg::word("master", "MASTER"),
                                    Arg::word("primary", "PRIMARY"),
                                    Arg::word("slave", "SLAVE"),
                                    Arg::word("replica", "REPLICA"),
                                    Arg::word("pubsub", "PUBSUB"),
                                ],
                            )
                            .token("NOT-TYPE")
                            .since("9.0.0")
                            .optional(),
                            Arg::new("not-client-id", ArgKind::Integer)
                                .token("NOT-ID")
                                .since("9.0.0")
                                .optional()
                                .multiple(),
                            Arg::new("not-username", ArgKind::String).token("NOT-USER").since("9.0.0").optional(),
                            Arg::new("not-addr", ArgKind::String)
                                .token("NOT-ADDR")
                                .display("ip:port")
                                .since("9.0.0")
                                .optional(),
                            Arg::new("not-laddr", ArgKind::String)
                                .token("NOT-LADDR")
                                .display("ip:port")
                                .since("9.0.0")
                                .optional(),
                            Arg::new("not-name", ArgKind::String).token("NOT-NAME").since("9.0.0").optional(),
                            Arg::new("not-flags", ArgKind::String).token("NOT-FLAGS").since("9.0.0").optional(),
                            Arg::new("not-lib-name", ArgKind::String).token("NOT-LIB-NAME").since("9.0.0").optional(),
                            Arg::new("not-lib-ver", ArgKind::String).token("NOT-LIB-VER").since("9.0.0").optional(),
                            Arg::new("not-db", ArgKind::Integer).token("NOT-DB").since("9.0.0").optional(),
                            Arg::new("not-capa", ArgKind::String).token("NOT-CAPA").since("9.0.0").optional(),
                            Arg::new("not-ip", ArgKind::String).token("NOT-IP").since("9.0.0").optional(),
                        ],
                    )
                    .multiple(),
                ],
            )]),
            client_kill_command,
        ),
        Row::new(
            Spec::new(
                "list",
                -2,
                ADMIN_NOSCRIPT_LOADING_STALE,
                ACL_ADMIN_SLOW_DANGEROUS_CONNECTION,
                Group::Connection,
                "2.4.0",
            )
            .tips(&["nondeterministic_output"])
            .doc(
                "O(N) where N is the number of connections.",
                "Describes the connections, all or those that match the given filters, one a line.",
            )
            .history(&[
                ("2.8.12", "Gained the `id` field."),
                ("5.0.0", "Gained the `TYPE` filter."),
                ("6.0.0", "Gained the `user` field."),
                ("6.2.0", "Gained the `argv-mem`, `tot-mem`, `laddr` and `redir` fields, and the `ID` filter."),
                ("7.0.0", "Gained the `resp`, `multi-mem`, `rbs` and `rbp` fields."),
                ("7.0.3", "Gained the `ssub` field."),
                ("7.2.0", "Gained the `lib-name` and `lib-ver` fields."),
                ("7.4.0", "Gained the `watch` field."),
                ("8.0.0", "Gained the `io-thread` field."),
                ("8.0.0", "Knows `primary` as a `TYPE`, for which `master` still stands."),
                ("8.1.0", "Gained the `USER`, `ADDR`, `LADDR`, `SKIPME` and `MAXAGE` filters."),
                ("9.0.0", "Gained the `NAME`, `IDLE`, `FLAGS`, `LIB-NAME`, `LIB-VER`, `DB`, `CAPA` and `IP` filters."),
                ("9.0.0", "Gained filters with `NOT-` in front, which leave out what matches."),
            ])
            .args(&[
                Arg::one_of(
                    "client-type",
                    &[
                        Arg::word("normal", "NORMAL"),
                        Arg::word("master", "MASTER"),
                        Arg::word("replica", "REPLICA"),
                        Arg::word("pubsub", "PUBSUB"),
                    ],
                )
                .token("TYPE")
                .since("5.0.0")
                .optional(),
                Arg::new("client-id", ArgKind::Integer).token("ID").since("6.2.0").optional().multiple(),
                Arg::new("username", ArgKind::String).token("USER").since("8.1.0").optional(),
                Arg::new("addr", ArgKind::String).token("ADDR").display("ip:port").since("8.1.0").optional(),
                Arg::new("laddr", ArgKind::String).token("LADDR").display("ip:port").since("8.1.0").optional(),
                Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])
                    .token("SKIPME")
                    .since("8.1.0")
                    .optional(),
                Arg::new("maxage", ArgKind::Integer).token("MAXAGE").since("8.1.0").optional(),
                Arg::new("name", ArgKind::String).token("NAME").since("9.0.0").optional(),
                Arg::new("idle", ArgKind::Integer).token("IDLE").since("9.0.0").optional(),
                Arg::new("flags", ArgKind::String).token("FLAGS").since("9.0.0").optional(),
                Arg::new("lib-name", ArgKind::String).token("LIB-NAME").since("9.0.0").optional(),
                Arg::new("lib-ver", ArgKind::String).token("LIB-VER").since("9.0.0").optional(),
                Arg::new("db", ArgKind::Integer).token("DB").since("9.0.0").optional(),
                Arg::new("capa", ArgKind::String).token("CAPA").since("9.0.0").optional(),
                Arg::new("ip", ArgKind::String).token("IP").since("9.0.0").optional(),
                Arg::one_of(
                    "not-client-type",
                    &[
                        Arg::word("normal", "NORMAL"),
                        Arg::word("master", "MASTER"),
                        Arg::word("replica", "REPLICA"),
                        Arg::word("pubsub", "PUBSUB"),
                    ],
                )
                .token("NOT-TYPE")
                .since("9.0.0")
                .optional(),
                Arg::new("not-client-id", ArgKind::Integer).token("NOT-ID").since("9.0.0").optional().multiple(),
                Arg::new("not-username", ArgKind::String).token("NOT-USER").since("9.0.0").optional(),
                Arg::new("not-addr", ArgKind::String).token("NOT-ADDR").display("ip:port").since("9.0.0").optional(),
                Arg::new("not-laddr", ArgKind::String).token("NOT-LADDR").display("ip:port").since("9.0.0").optional(),
                Arg::new("not-name", ArgKind::String).token("NOT-NAME").since("9.0.0").optional(),
                Arg::new("not-flags", ArgKind::String).token("NOT-FLAGS").since("9.0.0").optional(),
                Arg::new("not-lib-name", ArgKind::String).token("NOT-LIB-NAME").since("9.0.0").optional(),
                Arg::new("not-lib-ver", ArgKind::String).token("NOT-LIB-VER").since("9.0.0").optional(),
                Arg::new("not-db", ArgKind::Integer).token("NOT-DB").since("9.0.0").optional(),
                Arg::new("not-capa", ArgKind::String).token("NOT-CAPA").since("9.0.0").optional(),
                Arg::new("not-ip", ArgKind::String).token("NOT-IP").since("9.0.0").optional(),
            ]),
            client_list_command,
        ),
        Row::new(
            Spec::new(
                "no-evict",
                3,
                Flags::ADMIN.union(NOSCRIPT_LOADING_STALE_ALLOW_BUSY),
                ACL_ADMIN_SLOW_DANGEROUS_CONNECTION,
                Group::Connection,
                "7.0.0",
            )
            .doc("O(1)", "Exempts the connection from client eviction, or ends the exemption.")
            .args(&[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])]),
            client_no_evict_command,
        ),
        Row::new(
            Spec::new(
                "no-touch",
                3,
                NOSCRIPT_LOADING_STALE_ALLOW_BUSY,
                ACL_SLOW_CONNECTION,
                Group::Connection,
                "7.2.0",
            )
            .doc("O(1)", "Keeps the connection's commands from counting as accesses of keys, or ends that.")
            .args(&[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])]),
            client_no_touch_command,
        ),
        Row::new(
            Spec::new(
                "pause",
                -3,
                ADMIN_NOSCRIPT_LOADING_STALE,
                ACL_ADMIN_SLOW_DANGEROUS_CONNECTION,
                Group::Connection,
                "3.0.0",
            )
            .doc("O(1)", "Holds back the commands of clients, or only those that write, for a time.")
            .history(&[("6.2.0", "Gained the mode argument, with `WRITE` to hold back only commands that write.")])
            .args(&[
                Arg::new("timeout", ArgKind::Integer),
                Arg::one_of("mode", &[Arg::word("write", "WRITE"), Arg::word("all", "ALL")]).since("6.2.0").optional(),
            ]),
            client_pause_command,
        ),
        Row::new(
            Spec::new(
                "reply",
                3,
                NOSCRIPT_LOADING_STALE_ALLOW_BUSY.union(Flags::NO_MULTI),
                ACL_SLOW_CONNECTION,
                Group::Connection,
                "3.2.0",
            )
            .doc("O(1)", "Turns replies to the connection off and on, or skips the next one.")
            .args(&[Arg::one_of(
                "action",
                &[Arg::word("on", "ON"), Arg::word("off", "OFF"), Arg::word("skip", "SKIP")],
            )]),
            client_reply_command,
        ),
        Row::new(
            Spec::new("setinfo", 4, NOSCRIPT_LOADING_STALE_ALLOW_BUSY, ACL_SLOW_CONNECTION, Group::Connection, "7.2.0")
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .doc("O(1)", "Sets the name or the version of the client library as others see it.")
                .args(&[Arg::one_of(
                    "attr",
                    &[
                        Arg::new("libname", ArgKind::String).token("LIB-NAME"),
                        Arg::new("libver", ArgKind::String).token("LIB-VER"),
                    ],
                )]),
            client_setinfo_command,
        ),
        Row::new(
            Spec::new("setname", 3, NOSCRIPT_LOADING_STALE_ALLOW_BUSY, ACL_SLOW_CONNECTION, Group::Connection, "2.6.9")
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                .doc("O(1)", "Names the connection.")
                .args(&[Arg::new("connection-name", ArgKind::String)]),
            client_setname_command,
        ),
        Row::new(
            Spec::new("tracking", -3, NOSCRIPT_LOADING_STALE, ACL_SLOW_CONNECTION, Group::Connection, "6.0.0")
                .doc(
                    "O(1), more with some options.",
                    "Turns messages about changes of keys that a client caches on or off.",
                )
                .args(&[
                    Arg::one_of("status", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]),
                    Arg::new("client-id", ArgKind::Integer).token("REDIRECT").optional(),
                    Arg::new("prefix", ArgKind::String).token("PREFIX").optional().multiple_token(),
                    Arg::word("bcast", "BCAST").optional(),
                    Arg::word("optin", "OPTIN").optional(),
                    Arg::word("optout", "OPTOUT").optional(),
                    Arg::word("noloop", "NOLOOP").optional(),
                ]),
            client_tracking_command,
        ),
        Row::new(
            Spec::new("trackinginfo", 2, NOSCRIPT_LOADING_STALE, ACL_SLOW_CONNECTION, Group::Connection, "6.2.0")
                .doc("O(1)", "Describes how tracking is set up for the connection."),
            client_trackinginfo_command,
        ),
        Row::new(
            Spec::new(
                "unblock",
                -3,
                ADMIN_NOSCRIPT_LOADING_STALE,
                ACL_ADMIN_SLOW_DANGEROUS_CONNECTION,
                Group::Connection,
                "5.0.0",
            )
            .doc(
                "O(log N) where N is the number of connections.",
                "Ends the wait of another client in a blocking command.",
            )
            .args(&[
                Arg::new("client-id", ArgKind::Integer),
                Arg::one_of("unblock-type", &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")]).optional(),
            ]),
            client_unblock_command,
        ),
        Row::new(
            Spec::new(
                "unpause",
                2,
                ADMIN_NOSCRIPT_LOADING_STALE,
                ACL_ADMIN_SLOW_DANGEROUS_CONNECTION,
                Group::Connection,
                "6.2.0",
            )
            .doc("O(N) where N is the number of paused clients.", "Ends a pause and lets the held back commands run."),
            client_unpause_command,
        ),
    ],
)];

const CLIENT_HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Say whether the keys of the next command are remembered; for tracking with",
    "    OPTIN (YES) or OPTOUT (NO).",
    "CAPA <option> [options...]",
    "    Declare what this client can handle. Options are:",
    "    * REDIRECT: it follows redirections to the primary.",
    "GETNAME",
    "    Show the name of this connection.",
    "GETREDIR",
    "    Show which client gets the invalidation messages: an id, 0 for this one, -1",
    "    without tracking.",
    "ID",
    "    Show the id of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Let this connection see and write keys past their expiry; needs import-mode.",
    "INFO",
    "    Show the line that CLIENT LIST has for this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close every connection that all options fit. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      The peer's address.",
    "    * CAPA <capa>",
    "      All of these capabilities, by letter.",
    "    * DB <id>",
    "      The selected database.",
    "    * FLAGS <flags>",
    "      All of these flags, by letter.",
    "    * ID <client-id> [<client-id>...]",
    "      One of these ids.",
    "    * IDLE <seconds>",
    "      Idle for at least so long.",
    "    * IP <ip>",
    "      The peer's address without the port.",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      The address at this end.",
    "    * LIB-NAME <lib-name>",
    "      The client library's name.",
    "    * LIB-VER <lib-version>",
    "      The client library's version.",
    "    * MAXAGE <seconds>",
    "      Open for at least so long.",
    "    * NAME <name>",
    "      The connection's name.",
    "    * SKIPME (YES|NO)",
    "      Whether this connection is spared; YES unless said otherwise.",
    "    * TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB)",
    "      The kind of client; MASTER and SLAVE are understood too.",
    "    * USER <username>",
    "      The user it is logged in as.",
    "    Put NOT- in front of an option to select what it does not fit; not of IDLE,",
    "    MAXAGE and SKIPME.",
    "LIST [options ...]",
    "    Show a line for every connection, or for those that all options fit. Options",
    "    are those of KILL; SKIPME is NO unless said otherwise.",
    "NO-EVICT (ON|OFF)",
    "    Keep this connection open when clients need too much memory.",
    "NO-TOUCH (ON|OFF)",
    "    Leave the access clocks of keys alone when this connection uses them.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold back commands for <timeout> milliseconds: those that write, or all, which",
    "    is the default.",
    "REPLY (ON|OFF|SKIP)",
    "    Send replies, send none, or leave out the next one.",
    "SETINFO <option> <value>",
    "    Describe the client library. Options are:",
    "    * LIB-NAME: its name.",
    "    * LIB-VER: its version.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Ask to be told when keys change that this client has read, or with BCAST all",
    "    that have one of the prefixes.",
    "TRACKINGINFO",
    "    Show how tracking is set up for this connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    End another client's wait, as if it had timed out or with an error.",
    "UNPAUSE",
    "    End a pause at once.",
    "HELP",
    "    Show these lines.",
];

/// Names and versions are shown in lists of words: they must be words themselves.
fn is_word(name: &[u8]) -> bool {
    // What follows a NUL is not shown, so it may be anything, as in Redis.
    name.iter().take_while(|&&b| b != 0).all(|b| (b'!'..=b'~').contains(b))
}

impl Client {
    /// Whether a name may be given to a client.
    pub(super) fn check_name(name: &[u8]) -> Result<(), Error> {
        if is_word(name) {
            return Ok(());
        }
        Err(Error::fixed("ERR Client names cannot contain spaces, newlines or special characters."))
    }
}

/// Names the client; an empty name takes it away.
pub(super) fn set_name(cx: &mut ServerCx<'_>, name: &[u8]) -> Result<(), Error> {
    Client::check_name(name)?;
    cx.client().name = name.to_vec();
    Ok(())
}

/// `ON` or `OFF`.
fn switch(word: &[u8]) -> Result<bool, Error> {
    match word {
        w if is(w, "ON") => Ok(true),
        w if is(w, "OFF") => Ok(false),
        _ => Err(Error::SYNTAX),
    }
}

fn client_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(CLIENT_HELP);
    Ok(())
}

fn client_id_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let id = cx.client().id.0;
    cx.reply.int(i64::try_from(id).unwrap_or(i64::MAX));
    Ok(())
}

fn client_getname_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.client().name.clone();
    if name.is_empty() {
        cx.reply.null();
    } else {
        cx.reply.bulk(&name);
    }
    Ok(())
}

fn client_setname_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    set_name(cx, cx.arg(2))?;
    cx.reply.ok();
    Ok(())
}

fn client_setinfo_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (option, value) = (cx.arg(2), cx.arg(3));
    let name = is(option, "LIB-NAME");
    if !name && !is(option, "LIB-VER") {
        let option = String::from_utf8_lossy(&option[..option.len().min(128)]);
        return Err(Error::new(format!("ERR Unrecognized option '{option}'")));
    }
    if !is_word(value) {
        let option = String::from_utf8_lossy(option);
        return Err(Error::new(format!("ERR {option} cannot contain spaces, newlines or special characters.")));
    }
    let client = cx.client();
    let field = if name { &mut client.lib_name } else { &mut client.lib_ver };
    *field = value.to_vec();
    cx.reply.ok();
    Ok(())
}

fn client_capa_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    // A capability that this server does not know is one that it will not use.
    if cx.words(2).any(|word| is(word, "redirect")) {
        cx.client().flags.insert(ClientFlags::CAPA_REDIRECT);
    }
    cx.reply.ok();
    Ok(())
}

fn client_import_source_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if !cx.server.config.import_mode && !is(cx.arg(2), "OFF") {
        return Err(Error::fixed("ERR Server is not in import mode"));
    }
    let on = switch(cx.arg(2))?;
    cx.client().flags.set(ClientFlags::IMPORT_SOURCE, on);
    cx.reply.ok();
    Ok(())
}

fn client_no_evict_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let on = switch(cx.arg(2))?;
    cx.client().flags.set(ClientFlags::NO_EVICT, on);
    cx.server.weigh(cx.slot);
    cx.reply.ok();
    Ok(())
}

fn client_no_touch_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let on = switch(cx.arg(2))?;
    cx.client().flags.set(ClientFlags::NO_TOUCH, on);
    cx.reply.ok();
    Ok(())
}

fn client_reply_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mode = cx.arg(2);
    let flags = &mut cx.client().flags;
    if is(mode, "ON") {
        flags.remove(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP | ClientFlags::REPLY_SKIP_NEXT);
        cx.reply.ok();
    } else if is(mode, "OFF") {
        flags.insert(ClientFlags::REPLY_OFF);
    } else if is(mode, "SKIP") {
        if !flags.contains(ClientFlags::REPLY_OFF) {
            flags.insert(ClientFlags::REPLY_SKIP_NEXT);
        }
    } else {
        return Err(Error::SYNTAX);
    }
    Ok(())
}

fn client_pause_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let held = match cx.argc() {
        3 => Held::All,
        _ if is(cx.arg(3), "WRITE") => Held::Writes,
        _ if is(cx.arg(3), "ALL") => Held::All,
        _ => return Err(Error::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout_ms = int(cx.arg(2)).map_err(|_| Error::TIMEOUT_NOT_INTEGER)?;
    if timeout_ms < 0 {
        return Err(Error::TIMEOUT_NEGATIVE);
    }
    let until_ms = cx.server.store.now_ms().checked_add(timeout_ms);
    cx.server.pause.begin(held, until_ms.ok_or(Error::fixed("ERR timeout is out of range"))?);
    cx.server.rearm();
    cx.reply.ok();
    Ok(())
}

fn client_unpause_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.pause.end();
    cx.server.rearm();
    cx.server.outbox.order(Order::Resume);
    cx.reply.ok();
    Ok(())
}

fn client_unblock_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let how = match cx.arg(3) {
        _ if cx.argc() < 4 => Unblock::Timeout,
        word if is(word, "TIMEOUT") => Unblock::Timeout,
        word if is(word, "ERROR") => Unblock::Error,
        _ => return Err(Error::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = u64::try_from(int(cx.arg(2))?).map(ClientId);
    let unblocked = id.is_ok_and(|id| cx.server.unblock(id, how));
    cx.reply.int(i64::from(unblocked));
    Ok(())
}

fn client_info_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut line = String::new();
    describe(cx, &mut line, cx.slot);
    cx.reply.verbatim(b"txt", line.as_bytes());
    Ok(())
}

fn client_list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let filter = Filter::parse(cx.words(2), cx.server, false)?;
    let mut found: Vec<_> = matching(cx, &filter);
    found.sort_unstable();
    let mut text = String::new();
    for id in found {
        if let Some(slot) = cx.server.clients.slot_of(id) {
            describe(cx, &mut text, slot);
        }
    }
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn matching(cx: &ServerCx<'_>, filter: &Filter<'_>) -> Vec<ClientId> {
    let server = &*cx.server;
    server.clients.iter().filter(|c| is_alive(c) && filter.fits(server, c, cx.slot)).map(|c| c.id).collect()
}

/// Whether a client is not on its way out already.
fn is_alive(client: &Client) -> bool {
    !client.flags.contains(ClientFlags::KILLED)
}

fn client_kill_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.argc() == 3 {
        let addr = cx.arg(2);
        let found = cx.server.clients.iter().find(|c| is_alive(c) && c.addr.as_bytes() == addr).map(|c| c.slot);
        let slot = found.ok_or(Error::fixed("ERR No such client"))?;
        cx.server.kill_client(slot, cx.slot);
        cx.reply.ok();
        return Ok(());
    }
    let filter = Filter::parse(cx.words(2), cx.server, true)?;
    let found = matching(cx, &filter);
    for &id in &found {
        if let Some(slot) = cx.server.clients.slot_of(id) {
            cx.server.kill_client(slot, cx.slot);
        }
    }
    cx.reply.count(found.len());
    Ok(())
}

/// One line of CLIENT LIST.
fn describe(cx: &ServerCx<'_>, line: &mut String, slot: Slot) {
    // The caller's command is not its last one yet, but it is the one that runs.
    let running = (slot == cx.slot).then(|| (cx.command, cx.argv.payload_bytes()));
    describe_to(cx.server, line, slot, running);
    line.push('\n');
}

fn describe_to(server: &Server, line: &mut String, slot: Slot, running: Option<(&'static Command, usize)>) {
    let Some(c) = server.clients.get(slot) else { return };
    let now_ms = server.store.now_ms();
    let (command, argv_bytes) = running.map_or((c.last_command, 0), |(command, bytes)| (Some(command), bytes));
    let (io, tx) = (&c.io, c.tx.as_deref());
    let subscribed = server.subscriptions(c);
    let total = server.client_bytes(c) + argv_bytes;
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={} multi={} watch={} \
         qbuf={} qbuf-free=0 argv-mem={argv_bytes} multi-mem={} rbs={} rbp={} obl=0 oll={} omem={} tot-mem={total} \
         events={} cmd={} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={} io-thread=0",
        c.id.0,
        c.addr,
        c.laddr,
        c.fd,
        String::from_utf8_lossy(&c.name),
        (now_ms - c.created_ms) / 1000,
        (now_ms - c.active_ms) / 1000,
        server.flag_letters(c),
        if c.flags.contains(ClientFlags::CAPA_REDIRECT) { "r" } else { "" },
        c.db,
        subscribed.channels,
        subscribed.patterns,
        subscribed.shards,
        tx.and_then(|tx| tx.queued()).map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX)),
        tx.map_or(0, |tx| tx.watched()),
        io.query_bytes,
        c.queued_bytes(),
        c.reply_peak.buffer_bytes(now_ms, server.reply_peaks),
        c.reply_peak.bytes(now_ms, server.reply_peaks),
        io.output_chunks,
        io.output_bytes,
        if io.output_bytes > 0 { "rw" } else { "r" },
        command.map_or("NULL", |command| command.full_name),
        String::from_utf8_lossy(server.users.get(server.user_of(slot)).name()),
        redirection(c),
        if c.resp == crate::command::reply::Resp::V3 { 3 } else { 2 },
        String::from_utf8_lossy(&c.lib_name),
        String::from_utf8_lossy(&c.lib_ver),
        io.net_in,
        io.net_out,
        c.commands,
    );
}

impl Client {
    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        if self.flags.contains(ClientFlags::SUBSCRIBER) { Kind::PubSub } else { Kind::Normal }
    }
}

impl Server {
    /// Ends a connection; the caller's own after its reply.
    pub(in crate::server) fn kill_client(&mut self, slot: Slot, caller: Slot) {
        if slot != caller {
            self.end_client(slot);
        } else if let Some(client) = self.clients.get_mut(slot) {
            client.flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
        }
    }

    /// A client as CLIENT LIST shows it. `running`: the command that it has called, if any, and the bytes of its arguments.
    pub(in crate::server) fn describe_client(&self, slot: Slot, running: Option<(&'static Command, usize)>) -> String {
        let mut line = String::new();
        describe_to(self, &mut line, slot, running);
        line
    }

    /// The letters of CLIENT LIST's `flags`.
    pub(super) fn flag_letters(&self, client: &Client) -> String {
        let has = |flags: ClientFlags| client.flags.intersects(flags);
        let letters = [
            (has(ClientFlags::MONITOR), 'O'),
            (has(ClientFlags::SUBSCRIBER), 'P'),
            (client.in_transaction(), 'x'),
            (has(ClientFlags::PAUSED | ClientFlags::BLOCKED), 'b'),
            (has(ClientFlags::TRACKING), 't'),
            (client.tracker.as_ref().is_some_and(|t| t.mode.contains(Mode::BROKEN_REDIRECT)), 'R'),
            (client.tracker.as_ref().is_some_and(|t| t.mode.contains(Mode::BCAST)), 'B'),
            (self.watched_has_changed(client.slot), 'd'),
            (has(ClientFlags::CLOSE_AFTER_REPLY), 'c'),
            (has(ClientFlags::UNIX_SOCKET), 'U'),
            (has(ClientFlags::READONLY), 'r'),
            (has(ClientFlags::NO_EVICT), 'e'),
            (has(ClientFlags::NO_TOUCH), 'T'),
            (has(ClientFlags::IMPORT_SOURCE), 'I'),
        ];
        let letters: String = letters.into_iter().filter_map(|(shown, letter)| shown.then_some(letter)).collect();
        if letters.is_empty() { "N".to_owned() } else { letters }
    }
}
