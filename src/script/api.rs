//! What scripts find in the table `redis`, which is also called `server`.
//!
//! `redis.call` is on the hot path of every script: it copies the arguments into a batch, asks the server, and makes a value
//! of the reply. Nothing else allocates.

use super::engine::{Ask, Kind, Link};
use super::lua::{self, Function, State, Type};
use super::value;
use crate::command::reply::Resp;
use sha1::{Digest, Sha1};
use std::ffi::c_int;

/// Bytes of a message that a script may put into the log at once.
const LOG_TEXT_MAX: usize = 1024;

const NO_ARGUMENTS: &[u8] = b"Please specify at least one argument for this redis lib call";
const BAD_ARGUMENTS: &[u8] = b"Lua redis lib command arguments must be strings or integers";

/// Versions that scripts are told.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// The version of Redis that this is compatible with, as `major.minor.patch`.
    pub redis: &'static str,
    /// The same of Valkey.
    pub valkey: &'static str,
}

/// What `redis.REDIS_VERSION` and its like say.
pub const VERSIONS: Versions = Versions { redis: "8.0.6", valkey: "9.1.2" };

/// A version as one number, a byte for each part.
fn version_number(version: &str) -> f64 {
    let number = version.split('.').fold(0u32, |sum, part| sum << 8 | part.parse::<u32>().unwrap_or(0));
    f64::from(number)
}

/// Puts the table into the globals, twice.
pub(super) fn register(l: State, link: Link, kind: Kind) {
    l.push_table(0, 32);
    let table = l.top();
    let function = |name: &str, function: Function| {
        l.push_address(link.address());
        l.push_function(function, 1);
        l.set_raw_field(table, name);
    };
    function("call", call);
    function("pcall", pcall);
    function("error_reply", error_reply);
    function("status_reply", status_reply);
    function("sha1hex", sha1hex);
    function("setresp", setresp);
    function("set_repl", set_repl);
    function("acl_check_cmd", acl_check_cmd);
    if kind == Kind::Scripts {
        function("replicate_commands", replicate_commands);
        function("breakpoint", breakpoint);
        function("debug", debug);
    }
    add_log(l, link, table);
    let number = |name: &str, value: f64| {
        l.push_number(value);
        l.set_raw_field(table, name);
    };
    number("REPL_NONE", 0.0);
    number("REPL_AOF", 1.0);
    number("REPL_SLAVE", 2.0);
    number("REPL_REPLICA", 2.0);
    number("REPL_ALL", 3.0);
    add_versions(l, table);
    for name in ["redis", "server"] {
        l.push_value(table);
        l.set_raw_field(lua::GLOBALS, name);
    }
    l.set_top(table - 1);
}

/// Gives a table the function that writes into the log, and its levels.
pub(super) fn add_log(l: State, link: Link, table: c_int) {
    l.push_address(link.address());
    l.push_function(log, 1);
    l.set_raw_field(table, "log");
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].into_iter().enumerate() {
        l.push_number(level as f64);
        l.set_raw_field(table, name);
    }
}

/// Gives a table the versions that scripts ask for.
pub(super) fn add_versions(l: State, table: c_int) {
    let text = |name: &str, value: &str| {
        l.push_string(value.as_bytes());
        l.set_raw_field(table, name);
    };
    text("REDIS_VERSION", VERSIONS.redis);
    text("VALKEY_VERSION", VERSIONS.valkey);
    text("SERVER_NAME", "valkey");
    for (name, version) in [("REDIS_VERSION_NUM", VERSIONS.redis), ("VALKEY_VERSION_NUM", VERSIONS.valkey)] {
        l.push_number(version_number(version));
        l.set_raw_field(table, name);
    }
}

extern "C-unwind" fn call(l: State) -> c_int {
    if command(l, Link::own(l)) {
        l.raise();
    }
    1
}

extern "C-unwind" fn pcall(l: State) -> c_int {
    command(l, Link::own(l));
    1
}

/// Executes the arguments as a command and pushes its reply. Says whether that is an error.
#[inline]
fn command(l: State, link: Link) -> bool {
    if let Err(error) = take_arguments(l, link) {
        value::push_error(l, error, false);
        return true;
    }
    let resp = link.with(|shared| shared.resp);
    link.ask(l, Ask::Call(resp));
    l.set_top(0);
    value::push_answer(l, link)
}

/// Copies the arguments into the engine's batch.
#[inline]
fn take_arguments(l: State, link: Link) -> Result<(), &'static [u8]> {
    let count = l.top();
    if count == 0 {
        return Err(NO_ARGUMENTS);
    }
    for at in 1..=count {
        match l.kind(at) {
            Type::String => {}
            Type::Number => {
                l.push_number_text(l.number(at));
                l.replace(at);
            }
            _ => return Err(BAD_ARGUMENTS),
        }
    }
    link.with(|shared| {
        shared.batch.clear();
        // All of them are strings, so that looking at them raises nothing.
        shared.batch.push_command((1..=count).map(|at| l.bytes(at))).map_err(|_| BAD_ARGUMENTS)
    })
}

extern "C-unwind" fn error_reply(l: State) -> c_int {
    if l.top() != 1 || l.kind(1) != Type::String {
        value::push_error(l, b"wrong number or type of arguments", false);
        return 1;
    }
    let text = l.bytes(1);
    if text.starts_with(b"-") {
        value::push_error(l, text, false);
        return 1;
    }
    let mut coded = lua::Buffer::new();
    coded.begin(l);
    coded.add(b"-");
    coded.add(text);
    coded.finish();
    value::push_error(l, l.bytes(-1), false);
    1
}

extern "C-unwind" fn status_reply(l: State) -> c_int {
    if l.top() != 1 || l.kind(1) != Type::String {
        value::push_error(l, b"wrong number or type of arguments", false);
        return 1;
    }
    l.push_table(0, 1);
    l.push_value(1);
    l.set_raw_field(-2, "ok");
    1
}

extern "C-unwind" fn sha1hex(l: State) -> c_int {
    if l.top() != 1 {
        return fail(l, b"wrong number of arguments");
    }
    let hex = sha1_hex(l.bytes(1));
    l.push_string(&hex);
    1
}

/// The SHA-1 of bytes, as 40 hexadecimal digits.
pub fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Sha1::digest(bytes)) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    hex
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Raises an error without a place.
fn fail(l: State, text: &[u8]) -> c_int {
    value::push_error(l, text, false);
    l.raise()
}

extern "C-unwind" fn log(l: State) -> c_int {
    let count = l.top();
    if count < 2 {
        return fail(l, b"redis.log() requires two arguments or more.");
    }
    if !l.is_number(1) {
        return fail(l, b"First argument must be a number (log level).");
    }
    let level = l.number(1);
    if !(0.0..=3.0).contains(&level) {
        return fail(l, b"Invalid log level.");
    }
    let (mut text, mut len) = ([0u8; LOG_TEXT_MAX], 0);
    for at in 2..=count {
        // A number becomes a string here, which may raise an error: nothing has to be dropped.
        let word = l.bytes(at);
        for part in [if at > 2 { b" ".as_slice() } else { b"" }, word] {
            for (to, from) in text.iter_mut().skip(len).zip(part) {
                *to = *from;
                len += 1;
            }
        }
    }
    write_log(level as u8, text.get(..len).unwrap_or_default());
    0
}

fn write_log(level: u8, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match level {
        0 => tracing::trace!("{text}"),
        1 => tracing::debug!("{text}"),
        2 => tracing::info!("{text}"),
        _ => tracing::warn!("{text}"),
    }
}

extern "C-unwind" fn setresp(l: State) -> c_int {
    if l.top() != 1 {
        return fail(l, b"redis.setresp() requires one argument.");
    }
    let resp = match l.number(1).trunc() {
        2.0 => Resp::V2,
        3.0 => Resp::V3,
        _ => return fail(l, b"RESP version must be 2 or 3."),
    };
    Link::own(l).with(|shared| shared.resp = resp);
    0
}

/// Which of a script's changes go where: all of them go everywhere here.
extern "C-unwind" fn set_repl(l: State) -> c_int {
    if l.top() != 1 {
        return fail(l, b"redis.set_repl() requires one argument.");
    }
    if !(0.0..4.0).contains(&l.number(1)) {
        return fail(l, b"Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    }
    0
}

/// Once changed how scripts are replicated; they always are by what they do now.
extern "C-unwind" fn replicate_commands(l: State) -> c_int {
    l.push_bool(true);
    1
}

/// Where a debugger would stop: nobody is listening.
extern "C-unwind" fn breakpoint(l: State) -> c_int {
    l.push_bool(false);
    1
}

/// What a debugger would show.
extern "C-unwind" fn debug(_: State) -> c_int {
    0
}

extern "C-unwind" fn acl_check_cmd(l: State) -> c_int {
    let link = Link::own(l);
    if let Err(error) = take_arguments(l, link) {
        return fail(l, error);
    }
    link.ask(l, Ask::MayCall);
    l.set_top(0);
    if value::push_answer(l, link) {
        l.raise();
    }
    let may = l.number(1) != 0.0;
    l.push_bool(may);
    1
}
