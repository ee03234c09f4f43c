//! Who a connection is, which protocol it speaks and which database it uses.

use super::client::set_name;
use crate::command::args::{int, int_in};
use crate::command::error::Error;
use crate::command::reply::Resp;
use crate::command::spec::{Acl, Arg, ArgKind, DatabaseArgs, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::ServerFn;
use crate::server::client::{Client, ClientFlags};
use crate::server::gates::Armed;
use crate::server::{REDIS_VERSION, ServerCx};

const NOSCRIPT_LOADING_STALE_FAST_NO_AUTH_ALLOW_BUSY_SUBSCRIBED_OK: Flags = Flags::NOSCRIPT
    .union(Flags::LOADING)
    .union(Flags::STALE)
    .union(Flags::FAST)
    .union(Flags::NO_AUTH)
    .union(Flags::ALLOW_BUSY)
    .union(Flags::SUBSCRIBED_OK);
const ACL_FAST_CONNECTION: Acl = Acl::FAST.union(Acl::CONNECTION);

const PING_FLAGS: Flags = Flags::FAST.union(Flags::SUBSCRIBED_OK).union(Flags::TELLS_HEALTH);

/// Commands about the state of the connection itself.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new(
            "auth",
            -2,
            Flags::NOSCRIPT
                .union(Flags::LOADING)
                .union(Flags::STALE)
                .union(Flags::FAST)
                .union(Flags::NO_AUTH)
                .union(Flags::ALLOW_BUSY)
                .union(Flags::SENSITIVE),
            ACL_FAST_CONNECTION,
            Group::Connection,
            "1.0.0",
        )
        .doc(
            "O(N) where N is the number of passwords of the user.",
            "Logs the connection in with a password, or a user name and a password.",
        )
        .history(&[("6.0.0", "Takes a user name before the password.")])
        .args(&[
            Arg::new("username", ArgKind::String).since("6.0.0").optional(),
            Arg::new("password", ArgKind::String),
        ]),
        auth_command,
    ),
    Row::new(
        Spec::new(
            "echo",
            2,
            Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
            ACL_FAST_CONNECTION,
            Group::Connection,
            "1.0.0",
        )
        .doc("O(1)", "Returns the message that it was given.")
        .args(&[Arg::new("message", ArgKind::String)]),
        echo_command,
    ),
    Row::new(
        Spec::new(
            "hello",
            -1,
            Flags::NOSCRIPT
                .union(Flags::LOADING)
                .union(Flags::STALE)
                .union(Flags::FAST)
                .union(Flags::NO_AUTH)
                .union(Flags::ALLOW_BUSY),
            ACL_FAST_CONNECTION,
            Group::Connection,
            "6.0.0",
        )
        .doc("O(1)", "Chooses the protocol version, can log in and name the connection, and describes the server.")
        .history(&[
            ("6.2.0", "The protocol version may be left out, which changes nothing."),
            ("8.1.0", "The reply has `availability_zone` if that is configured."),
        ])
        .args(&[Arg::block(
            "arguments",
            &[
                Arg::new("protover", ArgKind::Integer),
                Arg::block("auth", &[Arg::new("username", ArgKind::String), Arg::new("password", ArgKind::String)])
                    .token("AUTH")
                    .optional(),
                Arg::new("clientname", ArgKind::String).token("SETNAME").optional(),
            ],
        )
        .optional()]),
        hello_command,
    ),
    Row::new(
        Spec::new("ping", -1, PING_FLAGS, ACL_FAST_CONNECTION, Group::Connection, "1.0.0")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc("O(1)", "Returns `PONG`, or the message that it was given.")
            .args(&[Arg::new("message", ArgKind::String).optional()]),
        ping_command,
    ),
    Row::new(
        Spec::new(
            "quit",
            -1,
            NOSCRIPT_LOADING_STALE_FAST_NO_AUTH_ALLOW_BUSY_SUBSCRIBED_OK.union(Flags::NOT_QUEUED),
            ACL_FAST_CONNECTION,
            Group::Connection,
            "1.0.0",
        )
        .doc("O(1)", "Closes the connection after its replies have been sent."),
        quit_command,
    ),
    Row::new(
        Spec::new(
            "reset",
            1,
            NOSCRIPT_LOADING_STALE_FAST_NO_AUTH_ALLOW_BUSY_SUBSCRIBED_OK.union(Flags::NOT_QUEUED),
            ACL_FAST_CONNECTION,
            Group::Connection,
            "6.2.0",
        )
        .doc("O(1)", "Puts the connection back into the state of a new one."),
        reset_command,
    ),
    Row::new(
        Spec::new(
            "select",
            2,
            Flags::LOADING.union(Flags::STALE).union(Flags::FAST).union(Flags::ALLOW_BUSY),
            ACL_FAST_CONNECTION,
            Group::Connection,
            "1.0.0",
        )
        .databases(DatabaseArgs::At(&[1]))
        .doc("O(1)", "Changes the database that the connection works on.")
        .args(&[Arg::new("index", ArgKind::Integer)]),
        select_command,
    ),
];

fn auth_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (user, password) = match cx.argc() {
        2 if !cx.server.users.default_has_password() => return Err(Error::NO_PASSWORD_SET),
        2 => (&b"default"[..], cx.arg(1)),
        3 => (cx.arg(1), cx.arg(2)),
        _ => return Err(Error::SYNTAX),
    };
    authenticate(cx, user, password)?;
    cx.reply.ok();
    Ok(())
}

/// Logs the client in, or says why not.
fn authenticate(cx: &mut ServerCx<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let Some(id) = cx.server.users.authenticate(user, password) else {
        cx.server.note_failed_login(cx.slot, cx.command, cx.argv, user);
        return Err(Error::WRONG_PASS);
    };
    cx.server.log_in(cx.slot, Some(id));
    Ok(())
}

fn echo_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.bulk(cx.argv.at(1));
    Ok(())
}

fn ping_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.argc() > 2 {
        return Err(Error::arity("ping"));
    }
    if cx.client().armed.contains(Armed::SUBSCRIBED) {
        // It looks like a message, which is all that such a client expects.
        cx.reply.array(2);
        cx.reply.text("pong");
        cx.reply.bulk(cx.arg(1));
        return Ok(());
    }
    match cx.argc() {
        1 => cx.reply.simple("PONG"),
        _ => cx.reply.bulk(cx.argv.at(1)),
    }
    Ok(())
}

fn quit_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.client().flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
    cx.reply.ok();
    Ok(())
}

fn select_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let index = usize::try_from(int_in(cx.arg(1), i32::MIN.into(), i32::MAX.into())?)
        .ok()
        .filter(|&i| i < cx.server.store.databases());
    cx.client().db = index.ok_or(Error::DB_OUT_OF_RANGE)?;
    cx.reply.ok();
    Ok(())
}

fn reset_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let slot = cx.slot;
    cx.server.clients.monitors.retain(|&m| m != slot);
    cx.server.end_transaction(slot);
    cx.server.end_subscriptions(slot);
    cx.server.stop_tracking(slot);
    cx.server.end_observing(slot);
    let id = cx.client().id.0;
    cx.server.registry.forget_labels(id);
    let client = cx.client();
    client.db = 0;
    client.resp = Resp::V2;
    client.name.clear();
    client.flags &= ClientFlags::UNIX_SOCKET | ClientFlags::LOCAL | ClientFlags::RUNNING | ClientFlags::PUSHED;
    client.armed = Armed::empty();
    cx.server.log_in(slot, cx.server.user_of_strangers());
    cx.reply.set_resp(Resp::V2);
    cx.reply.simple("RESET");
    Ok(())
}

fn hello_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(1);
    let mut resp = None;
    if let Some(version) = words.next() {
        resp = match int(version) {
            Err(_) => return Err(Error::fixed("ERR Protocol version is not an integer or out of range")),
            Ok(2) => Some(Resp::V2),
            Ok(3) => Some(Resp::V3),
            Ok(_) => return Err(Error::fixed("NOPROTO unsupported protocol version")),
        };
    }
    let (mut login, mut name) = (None, None);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"AUTH") && words.left() >= 2 {
            login = words.next().zip(words.next());
        } else if word.eq_ignore_ascii_case(b"SETNAME") && words.left() >= 1 {
            name = words.next();
            Client::check_name(name.unwrap_or_default())?;
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(Error::new(format!("ERR Syntax error in HELLO option '{word}'")));
        }
    }
    if let Some((user, password)) = login {
        authenticate(cx, user, password)?;
    }
    if !cx.client().is_authenticated() {
        return Err(Error::HELLO_WITHOUT_AUTH);
    }
    if let Some(name) = name {
        set_name(cx, name)?;
    }
    if let Some(resp) = resp {
        if resp == Resp::V2 {
            // What it observes could not be told any more.
            cx.server.end_observing(cx.slot);
        }
        cx.client().resp = resp;
        cx.reply.set_resp(resp);
        cx.server.subscriptions_changed(cx.slot);
    }
    let id = cx.client().id.0;
    let zone = &cx.server.config.availability_zone;
    let reply = &mut cx.reply;
    reply.map(7 + usize::from(!zone.is_empty()));
    reply.text("server");
    reply.text("redis");
    reply.text("version");
    reply.text(REDIS_VERSION);
    reply.text("proto");
    reply.int(if reply.is_resp3() { 3 } else { 2 });
    reply.text("id");
    reply.int(i64::try_from(id).unwrap_or(i64::MAX));
    reply.text("mode");
    reply.text("standalone");
    reply.text("role");
    reply.text("master");
    reply.text("modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.text("availability_zone");
        reply.text(zone);
    }
    Ok(())
}
