//! Every error text that goes over the wire, to the letter of Redis's: clients match on them.
//!
//! The first word is the code that clients and `INFO errorstats` see. Texts with a client's bytes in them go through
//! [`Error::new`], which leaves printing them safely to the reply writer (line ends become spaces).

use std::borrow::Cow;
use std::fmt;

/// An error reply without its leading `-` and line end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    text: Cow<'static, [u8]>,
    counted: bool,
}

impl Error {
    /// One of the fixed texts below.
    pub const fn fixed(text: &'static str) -> Error {
        Error { text: Cow::Borrowed(text.as_bytes()), counted: false }
    }

    /// A text made for the occasion; it begins with its code.
    pub fn new(text: impl Into<String>) -> Error {
        Error::of_bytes(text.into().into_bytes())
    }

    /// A text with a client's bytes in it, as they were sent, but for what they would be cut at as a C string.
    fn quoting(parts: &[&[u8]]) -> Error {
        Error::of_bytes(parts.concat())
    }

    /// The text that a script made; it begins with its code.
    pub fn of_bytes(text: Vec<u8>) -> Error {
        Error { text: Cow::Owned(text), counted: false }
    }

    /// The same, which statistics have counted already: that of a command that a script has called.
    pub fn counted(self) -> Error {
        Error { counted: true, ..self }
    }

    /// Whether statistics have counted it already.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// There is no queue at a key.
    pub fn mq_no_queue(name: &[u8]) -> Error {
        Error::quoting(&[b"NOQUEUE no queue '", clip(name, TEXT_MAX), b"'"])
    }

    /// There is no exchange at a key.
    pub fn mq_no_exchange(name: &[u8]) -> Error {
        Error::quoting(&[b"NOEXCHANGE no exchange '", clip(name, TEXT_MAX), b"'"])
    }

    /// An exchange that only other exchanges may lead to.
    pub fn mq_internal(name: &[u8]) -> Error {
        Error::quoting(&[b"NOPERM exchange '", clip(name, TEXT_MAX), b"' is internal"])
    }

    /// A queue that does not take a message.
    pub fn mq_rejected(why: &str, queue: &[u8]) -> Error {
        Error::quoting(&[b"REJECTED ", why.as_bytes(), b" ", clip(queue, TEXT_MAX)])
    }

    /// A queue that takes nothing, or gives nothing, at the moment.
    pub fn mq_paused(queue: &[u8]) -> Error {
        Error::quoting(&[b"PAUSED queue '", clip(queue, TEXT_MAX), b"' is paused"])
    }

    /// A queue that belongs to another connection.
    pub fn mq_locked(queue: &[u8]) -> Error {
        Error::quoting(&[b"LOCKED queue '", clip(queue, TEXT_MAX), b"' is exclusive to another connection"])
    }

    /// A queue that somebody consumes alone, or that is to be consumed alone and is not.
    pub fn mq_consumed_alone(queue: &[u8]) -> Error {
        Error::quoting(&[b"LOCKED queue '", clip(queue, TEXT_MAX), b"' is in exclusive use"])
    }

    /// A client's second consumer with the same tag.
    pub fn mq_tag_in_use(tag: &[u8]) -> Error {
        Error::quoting(&[b"PRECONDITION consumer tag '", clip(tag, TEXT_MAX), b"' is in use"])
    }

    /// Something is there already, and is not what is declared.
    pub fn mq_inequivalent(argument: &str) -> Error {
        Error::new(format!("PRECONDITION inequivalent arg '{argument}'"))
    }

    /// What is no path, and why.
    pub fn cfg_path(why: &str) -> Error {
        Error::new(format!("CFGPATH {why}"))
    }

    /// More than there may be of something.
    pub fn cfg_limit(what: &str) -> Error {
        Error::new(format!("CFGLIMIT {what}"))
    }

    /// A path is not as the writer thought: the revision of its last change, 0 if there is none.
    pub fn cfg_cas(modified: u64) -> Error {
        Error::new(format!("CFGCAS {modified}"))
    }

    /// What has happened up to this revision is not known any more.
    pub fn cfg_compacted(revision: u64) -> Error {
        Error::new(format!("CFGCOMPACTED {revision}"))
    }

    /// A revision beyond the last one, which is this.
    pub fn cfg_future(revision: u64) -> Error {
        Error::new(format!("CFGFUTURE {revision}"))
    }

    /// Revisions are counted in another epoch, which is this.
    pub fn cfg_epoch(epoch: u64) -> Error {
        Error::new(format!("CFGEPOCH {epoch}"))
    }

    /// Something is wrong with a lease.
    pub fn cfg_lease(what: &str) -> Error {
        Error::new(format!("CFGLEASE {what}"))
    }

    /// Something is wrong with a lock or an election.
    pub fn cfg_lock(what: &str) -> Error {
        Error::new(format!("CFGLOCK {what}"))
    }

    /// Labels that cannot be.
    pub fn cfg_labels(what: &str) -> Error {
        Error::new(format!("CFGLABELS {what}"))
    }

    /// Something is wrong with a release.
    pub fn cfg_release(what: &str) -> Error {
        Error::new(format!("CFGRELEASE {what}"))
    }

    /// A text is not in the format that it is said to be in.
    pub fn cfg_format(what: &str) -> Error {
        Error::new(format!("CFGFORMAT {what}"))
    }

    /// A condition of a command does not hold.
    pub fn mq_precondition(why: &str) -> Error {
        Error::new(format!("PRECONDITION {why}"))
    }

    /// A change that the append-only file could not be told of; `why` is what the system says.
    pub fn append_only_fails(why: &str) -> Error {
        Error::new(format!("MISCONF Errors writing to the AOF file: {why}"))
    }

    /// A command of a script that its user may not run.
    pub fn script_denied(why: &str) -> Error {
        Error::new(format!("ERR ACL failure in script: {why}"))
    }

    /// A script that is no Lua.
    pub fn script_does_not_compile(why: &[u8]) -> Error {
        Error::of_bytes([b"ERR Error compiling script (new function): ", why].concat())
    }

    /// A script ended without a value, and without an error that says where.
    pub fn script_failed(name: &str, why: &str) -> Error {
        Error::new(format!("ERR Error running script {name}, {why}"))
    }

    /// The whole text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Wrong number of arguments for a command or, with its container, a subcommand (`config|get`).
    pub fn arity(full_name: &str) -> Error {
        Error::new(format!("ERR wrong number of arguments for '{full_name}' command"))
    }

    /// No such command; shows the beginning of the arguments as Redis does (128 bytes of each, 128 in all).
    pub fn unknown_command<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> Error {
        let mut shown = Vec::new();
        for arg in args {
            let Some(room) = 128usize.checked_sub(shown.len()).filter(|&room| room > 0) else { break };
            shown.extend([b"'", clip(arg, room), b"' "].concat());
        }
        Error::quoting(&[b"ERR unknown command '", clip(name, 128), b"', with args beginning with: ", &shown])
    }

    /// No such subcommand of `container`.
    pub fn unknown_subcommand(sub: &[u8], container: &str) -> Error {
        let container = container.to_ascii_uppercase();
        Error::quoting(&[b"ERR unknown subcommand '", clip(sub, 128), b"'. Try ", container.as_bytes(), b" HELP."])
    }

    /// EXEC that was itself refused, for `reason`.
    pub fn exec_abort(reason: &Error) -> Error {
        let reason = reason.text().strip_prefix(b"ERR ").unwrap_or(reason.text());
        Error::quoting(&[b"EXECABORT Transaction discarded because of: ", reason])
    }

    /// A relative or absolute time that does not fit.
    pub fn invalid_expire(command: &str) -> Error {
        Error::new(format!("ERR invalid expire time in '{command}' command"))
    }

    /// An option that EXPIRE does not know.
    pub fn unsupported_option(option: &[u8]) -> Error {
        Error::quoting(&[b"ERR Unsupported option ", clip(option, TEXT_MAX)])
    }

    /// A type of values that there is not.
    pub fn unknown_type(name: &[u8]) -> Error {
        Error::quoting(&[b"ERR unknown type name '", clip(name, TEXT_MAX), b"'"])
    }

    /// A number outside `min..=max`.
    pub fn not_in_range(min: i64, max: i64) -> Error {
        Error::new(format!("ERR value is out of range, value must between {min} and {max}"))
    }

    /// An operation of BITOP that needs more strings than it was given.
    pub fn bitop_sources(operation: &str) -> Error {
        Error::new(format!("ERR BITOP {operation} must be called with at least two source keys."))
    }

    /// A position off the map.
    pub fn invalid_position(longitude: f64, latitude: f64) -> Error {
        Error::new(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"))
    }

    /// A member that a search shall begin at and that is not there.
    pub fn no_such_member(member: &[u8]) -> Error {
        Error::quoting(&[b"ERR member ", clip(member, TEXT_MAX), b" does not exist"])
    }

    /// A search without a place to begin at, or with two; `name` is the command as it was called.
    pub fn geo_from(name: &[u8]) -> Error {
        let what = b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
        Error::quoting(&[what, clip(name, 128)])
    }

    /// A search without a shape, or with two.
    pub fn geo_by(name: &[u8]) -> Error {
        let what = b"ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for ";
        Error::quoting(&[what, clip(name, 128)])
    }

    /// A search whose result is stored and that asks for more of it than names.
    pub fn geo_store(what: &str) -> Error {
        Error::new(format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"))
    }

    /// A subcommand that PFDEBUG does not know.
    pub fn unknown_pfdebug(sub: &[u8]) -> Error {
        Error::quoting(&[b"ERR Unknown PFDEBUG subcommand '", clip(sub, TEXT_MAX), b"'"])
    }

    /// ZUNION and its kind with a number of keys below one.
    pub fn no_input_key(command: &str) -> Error {
        Error::new(format!("ERR at least 1 input key is needed for '{command}' command"))
    }

    /// A call that the user may not make; `why` says what of it.
    pub fn no_permission(why: &str) -> Error {
        Error::new(format!("NOPERM {why}"))
    }

    /// A command that was allowed when it was queued and is not any more when EXEC comes to it.
    pub fn rules_changed(reason: &str) -> Error {
        Error::new(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
             is no longer allowed for the following reason: {reason}"
        ))
    }

    /// A rule of ACL SETUSER that is refused.
    pub fn acl_rule(rule: &[u8], why: &str) -> Error {
        let rule = clip(rule, TEXT_MAX);
        Error::quoting(&[b"ERR Error in ACL SETUSER modifier '", rule, b"': ", why.as_bytes()])
    }

    /// A selector of ACL SETUSER that is not closed.
    pub fn acl_parenthesis(start: &[u8]) -> Error {
        let start = clip(start, TEXT_MAX);
        Error::quoting(&[b"ERR Unmatched parenthesis in acl selector starting at '", start, b"'."])
    }

    /// A category that ACL CAT does not know.
    pub fn unknown_category(name: &[u8]) -> Error {
        Error::quoting(&[b"ERR Unknown category '", clip(name, TEXT_MAX), b"'"])
    }

    /// ACL DRYRUN for nobody.
    pub fn user_not_found(name: &[u8]) -> Error {
        Error::quoting(&[b"ERR User '", clip(name, TEXT_MAX), b"' not found"])
    }

    /// ACL DRYRUN of nothing.
    pub fn command_not_found(name: &[u8]) -> Error {
        Error::quoting(&[b"ERR Command '", clip(name, TEXT_MAX), b"' not found"])
    }

    /// A filter of CLIENT LIST and CLIENT KILL that names nobody.
    pub fn no_such_user(name: &[u8]) -> Error {
        Error::quoting(&[b"ERR No such user '", clip(name, TEXT_MAX), b"'"])
    }

    /// A command that must be enabled in the configuration.
    pub fn protected_command(name: &str) -> Error {
        let (upper, lower) = (name.to_ascii_uppercase(), name.to_ascii_lowercase());
        Error::new(format!(
            "ERR {upper} command not allowed. If the enable-{lower}-command option is set to \"local\", you can run it \
             from a local connection, otherwise you need to set this option in the configuration file, and then \
             restart the server."
        ))
    }

    /// A command of a client that subscribes to something and cannot tell replies from messages.
    pub fn only_while_not_subscribed(full_name: &str) -> Error {
        Error::new(format!(
            "ERR Can't execute '{full_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context"
        ))
    }

    /// Arguments that no form of a subcommand has.
    pub fn subcommand_syntax(sub: &[u8], container: &str) -> Error {
        let container = container.to_ascii_uppercase();
        let what = b"ERR unknown subcommand or wrong number of arguments for '";
        Error::quoting(&[what, clip(sub, 128), b"'. Try ", container.as_bytes(), b" HELP."])
    }

    /// An option that FUNCTION LOAD does not know.
    pub fn unknown_load_option(option: &[u8]) -> Error {
        Error::quoting(&[b"ERR Unknown option given: ", clip(option, TEXT_MAX)])
    }

    /// An argument that FUNCTION LIST does not know.
    pub fn unknown_list_argument(argument: &[u8]) -> Error {
        Error::quoting(&[b"ERR Unknown argument ", clip(argument, TEXT_MAX)])
    }

    /// A word in the first line of a library that it does not have.
    pub fn library_metadata(word: &[u8]) -> Error {
        Error::quoting(&[b"ERR Invalid metadata value given: ", clip(word, TEXT_MAX)])
    }

    /// A library in a language that there is not.
    pub fn no_such_engine(name: &[u8]) -> Error {
        Error::quoting(&[b"ERR Engine '", clip(name, TEXT_MAX), b"' not found"])
    }

    /// FUNCTION LOAD of a library that is loaded.
    pub fn library_exists(name: &str) -> Error {
        Error::new(format!("ERR Library '{name}' already exists"))
    }

    /// The same of FUNCTION RESTORE.
    pub fn restored_library_exists(name: &str) -> Error {
        Error::new(format!("ERR Library {name} already exists"))
    }

    /// A function whose name another library has taken.
    pub fn function_exists(name: &str) -> Error {
        Error::new(format!("ERR Function {name} already exists"))
    }

    /// A library that does not compile.
    pub fn library_not_compiled(why: &[u8]) -> Error {
        Error::quoting(&[b"ERR Error compiling function: ", clip(why, TEXT_MAX)])
    }

    /// A library that failed while it was loaded.
    pub fn library_not_loaded(why: &[u8]) -> Error {
        Error::quoting(&[b"ERR Error registering functions: ", clip(why, TEXT_MAX)])
    }

    /// An effect that this server does not write.
    pub const MQ_EFFECT: Error = Error::fixed("ERR invalid effect on a queue");
    /// What stands where an id of a message belongs.
    pub const MQ_INVALID_ID: Error = Error::fixed("ERR invalid message ID");
    /// A message that must go somewhere, and would go nowhere.
    pub const MQ_UNROUTABLE: Error = Error::fixed("UNROUTABLE no queue for this message");
    /// A queue or an exchange that others know by its name.
    pub const MQ_NAME_IN_USE: Error =
        Error::fixed("PRECONDITION a queue or exchange that is bound or consumed keeps its name");
    /// A pattern of times that is none.
    pub const MQ_CRON: Error = Error::fixed("ERR invalid cron expression");
    /// A time zone that there is not.
    pub const MQ_ZONE: Error = Error::fixed("ERR unknown time zone");
    /// A schedule that there is not.
    pub const MQ_NO_SCHEDULE: Error = Error::fixed("ERR no such schedule");
    /// A routing key that the user may not use.
    pub const MQ_RKEY_DENIED: Error = Error::fixed("NOPERM No permissions to publish with this routing key");
    /// A number below zero.
    pub const MQ_NEGATIVE: Error = Error::fixed("ERR value is out of range, must be positive");
    /// A number that must not be zero.
    pub const MQ_ZERO: Error = Error::fixed("ERR value is out of range, must be above zero");
    /// A time beyond what a message or a queue may have.
    pub const MQ_TOO_LONG: Error = Error::fixed("ERR time is out of range, at most a hundred years");
    /// More of something than one command may name.
    pub const MQ_TOO_MANY: Error = Error::fixed("ERR too many items for one command");
    /// A routing key that is too long.
    pub const MQ_RKEY_TOO_LONG: Error = Error::fixed("ERR routing key is longer than 255 bytes");
    /// A priority that there is not.
    pub const MQ_PRIORITY: Error = Error::fixed("ERR priority is out of range, must be between 0 and 255");
    /// A number of failed deliveries that there is not.
    pub const MQ_DELIVERY_LIMIT: Error = Error::fixed("ERR delivery limit must be -1 or a number of deliveries");
    /// Bounds of a delay that are none.
    pub const MQ_RETRY: Error = Error::fixed("ERR the least retry delay is above the greatest");
    /// A type of exchange that there is not.
    pub const MQ_EXCHANGE_TYPE: Error =
        Error::fixed("ERR exchange type must be direct, fanout, topic, headers, hash, modhash or random");
    /// A confirmation that nobody can give.
    pub const MQ_NO_REPLICAS: Error = Error::fixed("ERR CONFIRM REPLICAS: this server has no replicas");
    /// A confirmation that no file can give.
    pub const MQ_NO_FILE: Error = Error::fixed("ERR CONFIRM FSYNC needs the append-only file: set appendonly yes");
    /// Bodies of messages that are too much together.
    pub const MQ_OUT_OF_MEMORY: Error =
        Error::fixed("OOM command not allowed: messages take more than 'mq-maxmemory'.");
    /// The body of a message is on disk and cannot be read.
    pub const MQ_UNREADABLE: Error =
        Error::fixed("MQUNREADABLE the body of a message was moved to disk and cannot be read: see the log.");
    /// A command that needs pushes, of a client of RESP2.
    pub const MQ_NO_PROTO: Error = Error::fixed("NOPROTO pushed messages need RESP3: HELLO 3");

    /// A request of the registry that is to push, of a client of RESP2.
    pub const CFG_NO_PROTO: Error = Error::fixed("NOPROTO pushed events need RESP3: HELLO 3, or use CFG.POLL");
    /// CFG.WATCH: a name that the connection has in use.
    pub const CFG_ID_IN_USE: Error = Error::fixed("CFGWATCH id is in use on this connection");
    /// CFG.UNWATCH, CFG.PROGRESS: a name that the connection does not have.
    pub const CFG_NO_ID: Error = Error::fixed("CFGWATCH no such id on this connection");
    /// CFG.WATCH: a name that is too short or too long.
    pub const CFG_ID: Error = Error::fixed("CFGWATCH an id has 1 to 64 bytes");
    /// More is observed than one connection may.
    pub const CFG_TOO_MANY_OBSERVERS: Error = Error::fixed("CFGLIMIT too many watches on this connection");
    /// CFG.POLL: no more than that.
    pub const CFG_TOO_MANY_POLLED: Error = Error::fixed("CFGLIMIT one poll names at most 1024 paths");
    /// CFG.POLL: no longer than that.
    pub const CFG_BLOCK_TOO_LONG: Error = Error::fixed("CFGLIMIT BLOCK is at most 600000 ms");
    /// A lease that there is not, or not any more.
    pub const CFG_NO_LEASE: Error = Error::fixed("CFGLEASE no such lease");
    /// A store that there is not.
    pub const CFG_NO_STORE: Error = Error::fixed("CFGSTORE no such store");
    /// A store that promises what no file can keep.
    pub const CFG_NO_FILE: Error =
        Error::fixed("CFGNODURABLE a durable store needs the append-only file: set appendonly yes");
    /// A record of changes of a store that this server has not written.
    pub const CFG_EFFECT: Error = Error::fixed("ERR this change does not fit the store");
    /// A path that one command changes twice.
    pub const CFG_TWICE: Error = Error::fixed("ERR duplicate path in one transaction");
    /// More of something than one command may name.
    pub const CFG_TOO_MANY: Error = Error::fixed("CFGLIMIT too many operations in one transaction");
    /// A value that is too long for its store.
    pub const CFG_VALUE_TOO_LONG: Error = Error::fixed("CFGLIMIT value is longer than the store allows");

    /// A connection from elsewhere to a server that nobody has secured.
    pub const PROTECTED_MODE: Error = Error::fixed(
        "DENIED Weir is in protected mode: no password is set for the default user, so connections are accepted from \
         this machine only. To accept others, set a password with the 'requirepass' directive or ACL SETUSER, or, if \
         the network is one you trust, turn this off with 'CONFIG SET protected-mode no' from this machine or \
         '--protected-mode no' at the start.",
    );
    /// Wrong type of value at a key.
    pub const WRONG_TYPE: Error = Error::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Options that do not go together or are not known.
    pub const SYNTAX: Error = Error::fixed("ERR syntax error");
    /// The snapshot file is being written.
    pub const SAVE_IN_PROGRESS: Error = Error::fixed("ERR Background save already in progress");
    /// A snapshot is being written for something else.
    pub const OTHER_SNAPSHOT_IN_PROGRESS: Error = Error::fixed(
        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
    );
    /// A file of commands has one that is about the server or a connection.
    pub const NOT_REPEATED: Error = Error::fixed("ERR This command changes no data and is not run from a file");
    /// WAITAOF: there is no file, or not any more.
    pub const WAITAOF_WITHOUT_FILE: Error =
        Error::fixed("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    /// SAVE and DEBUG RELOAD: the log says why.
    pub const NOT_SAVED: Error = Error::fixed("ERR");
    /// RESTORE: there is such a key.
    pub const BUSYKEY: Error = Error::fixed("BUSYKEY Target key name already exists.");
    /// RESTORE: the time to live.
    pub const INVALID_TTL: Error = Error::fixed("ERR Invalid TTL value, must be >= 0");
    /// RESTORE: the time since the last use.
    pub const INVALID_IDLETIME: Error = Error::fixed("ERR Invalid IDLETIME value, must be >= 0");
    /// RESTORE: the frequency of use.
    pub const INVALID_FREQ: Error = Error::fixed("ERR Invalid FREQ value, must be >= 0 and <= 255");
    /// RESTORE: what is around the value.
    pub const BAD_PAYLOAD: Error = Error::fixed("ERR DUMP payload version or checksum are wrong");
    /// RESTORE: the value.
    pub const BAD_DATA_FORMAT: Error = Error::fixed("ERR Bad data format");
    /// An argument or a stored value is no 64-bit integer.
    pub const NOT_INTEGER: Error = Error::fixed("ERR value is not an integer or out of range");
    /// An argument or a stored value is no number.
    pub const NOT_FLOAT: Error = Error::fixed("ERR value is not a valid float");
    /// A number that must not be negative.
    pub const OUT_OF_RANGE: Error = Error::fixed("ERR value is out of range");
    /// A number that must be greater than zero.
    pub const NOT_POSITIVE: Error = Error::fixed("ERR value is out of range, must be positive");
    /// INCR and its kind.
    pub const OVERFLOW: Error = Error::fixed("ERR increment or decrement would overflow");
    /// DECRBY by the smallest integer.
    pub const DECREMENT_OVERFLOW: Error = Error::fixed("ERR decrement would overflow");
    /// INCRBYFLOAT.
    pub const NAN_OR_INFINITY: Error = Error::fixed("ERR increment would produce NaN or Infinity");
    /// A string would become longer than `proto-max-bulk-len`.
    pub const STRING_TOO_LONG: Error = Error::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// SETRANGE.
    pub const OFFSET_OUT_OF_RANGE: Error = Error::fixed("ERR offset is out of range");
    /// SETBIT and GETBIT.
    pub const BIT_OFFSET: Error = Error::fixed("ERR bit offset is not an integer or out of range");
    /// SETBIT.
    pub const BIT_VALUE: Error = Error::fixed("ERR bit is not an integer or out of range");
    /// BITPOS.
    pub const BIT_ARGUMENT: Error = Error::fixed("ERR The bit argument must be 1 or 0.");
    /// BITOP.
    pub const BITOP_NOT_SOURCES: Error = Error::fixed("ERR BITOP NOT must be called with a single source key.");
    /// BITFIELD.
    pub const BITFIELD_TYPE: Error = Error::fixed(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    );
    /// See above.
    pub const BITFIELD_OVERFLOW: Error = Error::fixed("ERR Invalid OVERFLOW type specified");
    /// BITFIELD_RO.
    pub const BITFIELD_RO_ONLY_GET: Error = Error::fixed("ERR BITFIELD_RO only supports the GET subcommand");
    /// A length of the geo commands in an unknown unit.
    pub const GEO_UNIT: Error = Error::fixed("ERR unsupported unit provided. please use M, KM, FT, MI");
    /// GEOSEARCH and its relatives.
    pub const GEO_RADIUS: Error = Error::fixed("ERR need numeric radius");
    /// See above.
    pub const GEO_RADIUS_NEGATIVE: Error = Error::fixed("ERR radius cannot be negative");
    /// See above.
    pub const GEO_WIDTH: Error = Error::fixed("ERR need numeric width");
    /// See above.
    pub const GEO_HEIGHT: Error = Error::fixed("ERR need numeric height");
    /// See above.
    pub const GEO_BOX_NEGATIVE: Error = Error::fixed("ERR height or width cannot be negative");
    /// See above.
    pub const GEO_VERTICES: Error = Error::fixed("ERR invalid number of vertices");
    /// See above.
    pub const GEO_VERTICES_FEW: Error = Error::fixed("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices");
    /// See above.
    pub const GEO_COUNT: Error = Error::fixed("ERR COUNT must be > 0");
    /// See above.
    pub const GEO_ANY: Error = Error::fixed("ERR the ANY argument requires COUNT argument");
    /// The string at a key is no HyperLogLog.
    pub const NOT_HLL: Error = Error::fixed("WRONGTYPE Key is not a valid HyperLogLog string value.");
    /// Its header is one of a HyperLogLog, its registers are not.
    pub const HLL_CORRUPTED: Error = Error::fixed("INVALIDOBJ Corrupted HLL object detected");
    /// PFDEBUG.
    pub const PFDEBUG_NO_KEY: Error = Error::fixed("ERR The specified key does not exist");
    /// See above.
    pub const PFDEBUG_NOT_SPARSE: Error = Error::fixed("ERR HLL encoding is not sparse");
    /// See above.
    pub const PFDEBUG_SIMD: Error = Error::fixed("ERR Argument must be ON or OFF");
    /// A key that must be there is not.
    pub const NO_SUCH_KEY: Error = Error::fixed("ERR no such key");
    /// SELECT and others.
    pub const DB_OUT_OF_RANGE: Error = Error::fixed("ERR DB index is out of range");
    /// SCAN.
    pub const INVALID_CURSOR: Error = Error::fixed("ERR invalid cursor");
    /// MOVE and COPY.
    pub const SAME_OBJECT: Error = Error::fixed("ERR source and destination objects are the same");
    /// EXPIRE and its kind.
    pub const EXPIRE_NX_WITH_OTHERS: Error =
        Error::fixed("ERR NX and XX, GT or LT options at the same time are not compatible");
    /// See above.
    pub const EXPIRE_GT_WITH_LT: Error = Error::fixed("ERR GT and LT options at the same time are not compatible");
    /// SCAN with an option of HSCAN.
    pub const NOVALUES_NOT_HSCAN: Error = Error::fixed("ERR NOVALUES option can only be used in HSCAN");
    /// SCAN with an option of ZSCAN.
    pub const NOSCORES_NOT_ZSCAN: Error = Error::fixed("ERR NOSCORES option can only be used in ZSCAN");
    /// OBJECT FREQ.
    pub const FREQUENCY_NOT_TRACKED: Error = Error::fixed(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    );
    /// OBJECT IDLETIME.
    pub const IDLE_TIME_NOT_TRACKED: Error = Error::fixed(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
         policies at runtime LRU and LFU data will take some time to adjust.",
    );
    /// HINCRBY of a field that is no integer.
    pub const HASH_VALUE_NOT_INTEGER: Error = Error::fixed("ERR hash value is not an integer");
    /// HINCRBYFLOAT of a field that is no number.
    pub const HASH_VALUE_NOT_FLOAT: Error = Error::fixed("ERR hash value is not a float");
    /// HINCRBYFLOAT by an infinity.
    pub const VALUE_NAN_OR_INFINITY: Error = Error::fixed("ERR value is NaN or Infinity");
    /// The number behind FIELDS.
    pub const NUMFIELDS: Error =
        Error::fixed("ERR numfields should be greater than 0 and match the provided number of fields");
    /// SWAPDB.
    pub const INVALID_FIRST_DB: Error = Error::fixed("ERR invalid first DB index");
    /// See above.
    pub const INVALID_SECOND_DB: Error = Error::fixed("ERR invalid second DB index");
    /// MSETEX.
    pub const INVALID_NUMKEYS: Error = Error::fixed("ERR invalid numkeys value or out of range");
    /// DEBUG LISTPACK.
    pub const NOT_LISTPACK: Error = Error::fixed("ERR Not a listpack encoded object.");
    /// DEBUG QUICKLIST.
    pub const NOT_QUICKLIST: Error = Error::fixed("ERR Not a quicklist encoded object.");
    /// LSET.
    pub const INDEX_OUT_OF_RANGE: Error = Error::fixed("ERR index out of range");
    /// LMPOP and its like.
    pub const COUNT_NOT_POSITIVE: Error = Error::fixed("ERR count should be greater than 0");
    /// LPOS.
    pub const RANK_ZERO: Error = Error::fixed(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
         from the end of the list",
    );
    /// See above.
    pub const COUNT_NEGATIVE: Error = Error::fixed("ERR COUNT can't be negative");
    /// See above.
    pub const MAXLEN_NEGATIVE: Error = Error::fixed("ERR MAXLEN can't be negative");
    /// A digest of another length.
    pub const NOT_DIGEST: Error = Error::fixed("ERR must be exactly 16 hexadecimal characters");
    /// DELEX.
    pub const INVALID_CONDITION: Error = Error::fixed("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    /// See above.
    pub const CONDITION_NEEDS_STRING: Error =
        Error::fixed("ERR Key should be of string type if conditions are specified");
    /// LCS.
    pub const LCS_NEEDS_STRINGS: Error = Error::fixed("ERR The specified keys must contain string values");
    /// See above.
    pub const LCS_LEN_AND_IDX: Error =
        Error::fixed("ERR If you want both the length and indexes, please just use IDX.");
    /// INCREX.
    pub const ENX_NEEDS_EXPIRY: Error = Error::fixed("ERR ENX flag requires an expiration");
    /// See above.
    pub const INCREMENT_NOT_INTEGER: Error = Error::fixed("ERR Increment is not an integer or out of range");
    /// See above.
    pub const INCREMENT_NOT_FLOAT: Error = Error::fixed("ERR Increment is not a valid float");
    /// See above.
    pub const INCREMENT_INFINITE: Error = Error::fixed("ERR BYFLOAT increment cannot be Infinity");
    /// See above.
    pub const LBOUND_NOT_INTEGER: Error = Error::fixed("ERR LBOUND is not an integer or out of range");
    /// See above.
    pub const LBOUND_NOT_FLOAT: Error = Error::fixed("ERR LBOUND is not a valid float");
    /// See above.
    pub const UBOUND_NOT_INTEGER: Error = Error::fixed("ERR UBOUND is not an integer or out of range");
    /// See above.
    pub const UBOUND_NOT_FLOAT: Error = Error::fixed("ERR UBOUND is not a valid float");
    /// See above.
    pub const BOUNDS_CROSSED: Error = Error::fixed("ERR LBOUND can't be greater than UBOUND");
    /// See above.
    pub const VALUE_INFINITE: Error = Error::fixed("ERR value cannot be Infinity");
    /// See above.
    pub const APPLIED_OVERFLOW: Error = Error::fixed("ERR applied increment would overflow");
    /// See above.
    pub const APPLIED_INFINITE: Error = Error::fixed("ERR applied increment would be Infinity");
    /// SINTERCARD.
    pub const NUMKEYS_NOT_POSITIVE: Error = Error::fixed("ERR numkeys should be greater than 0");
    /// See above.
    pub const NUMKEYS_TOO_LARGE: Error = Error::fixed("ERR Number of keys can't be greater than number of args");
    /// See above.
    pub const LIMIT_NEGATIVE: Error = Error::fixed("ERR LIMIT can't be negative");
    /// SORT.
    pub const SORT_NO_SCORES: Error = Error::fixed("ERR One or more scores can't be converted into double");
    /// ZADD.
    pub const ZADD_NX_WITH_XX: Error = Error::fixed("ERR XX and NX options at the same time are not compatible");
    /// See above.
    pub const ZADD_GT_LT_NX: Error = Error::fixed("ERR GT, LT, and/or NX options at the same time are not compatible");
    /// See above.
    pub const ZADD_INCR_PAIRS: Error = Error::fixed("ERR INCR option supports a single increment-element pair");
    /// ZINCRBY and ZADD INCR.
    pub const SCORE_NOT_A_NUMBER: Error = Error::fixed("ERR resulting score is not a number (NaN)");
    /// ZRANGEBYSCORE and its kind.
    pub const NOT_SCORE_RANGE: Error = Error::fixed("ERR min or max is not a float");
    /// ZRANGEBYLEX and its kind.
    pub const NOT_LEX_RANGE: Error = Error::fixed("ERR min or max not valid string range item");
    /// ZRANGE.
    pub const LIMIT_NEEDS_BY: Error =
        Error::fixed("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    /// See above.
    pub const WITHSCORES_WITH_BYLEX: Error =
        Error::fixed("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    /// ZUNION and its kind.
    pub const WEIGHT_NOT_FLOAT: Error = Error::fixed("ERR weight value is not a float");
    /// HOTKEYS START while a session runs.
    pub const HOTKEYS_RUNNING: Error = Error::fixed("ERR hotkey tracking session already in progress");
    /// HOTKEYS RESET while a session runs.
    pub const HOTKEYS_STILL_RUNNING: Error =
        Error::fixed("ERR hotkey tracking session in progress, stop tracking first");
    /// HOTKEYS START, as all that follow.
    pub const HOTKEYS_METRICS_REQUIRED: Error = Error::fixed("ERR METRICS parameter is required");
    /// See above.
    pub const HOTKEYS_METRICS_COUNT: Error = Error::fixed("ERR METRICS count must be > 0 and <= 2");
    /// See above.
    pub const HOTKEYS_METRICS_MISMATCH: Error =
        Error::fixed("ERR METRICS count does not match number of metric types provided");
    /// See above.
    pub const HOTKEYS_NO_METRICS: Error = Error::fixed("ERR METRICS no valid metrics passed. Supported: CPU|NET");
    /// See above.
    pub const HOTKEYS_CPU_TWICE: Error = Error::fixed("ERR METRICS CPU defined more than once!");
    /// See above.
    pub const HOTKEYS_NET_TWICE: Error = Error::fixed("ERR METRICS NET defined more than once!");
    /// See above.
    pub const HOTKEYS_COUNT: Error = Error::fixed("ERR COUNT must be between 1 and 64");
    /// See above.
    pub const HOTKEYS_DURATION: Error = Error::fixed("ERR DURATION must be between 1 and 1000000");
    /// See above.
    pub const HOTKEYS_SAMPLE: Error = Error::fixed("ERR SAMPLE ratio must be positive");
    /// See above.
    pub const HOTKEYS_SLOTS: Error = Error::fixed("ERR SLOTS parameter cannot be used in non-cluster mode");
    /// A command before AUTH.
    pub const NO_AUTH: Error = Error::fixed("NOAUTH Authentication required.");
    /// AUTH failed.
    pub const WRONG_PASS: Error = Error::fixed("WRONGPASS invalid username-password pair or user is disabled.");
    /// AUTH with a password where none is set.
    pub const NO_PASSWORD_SET: Error = Error::fixed(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?",
    );
    /// HELLO before AUTH and without it.
    pub const HELLO_WITHOUT_AUTH: Error = Error::fixed(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
         <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    /// MULTI inside MULTI.
    pub const NESTED_MULTI: Error = Error::fixed("ERR MULTI calls can not be nested");
    /// WATCH inside MULTI.
    pub const WATCH_IN_MULTI: Error = Error::fixed("ERR WATCH inside MULTI is not allowed");
    /// DISCARD outside MULTI.
    pub const DISCARD_WITHOUT_MULTI: Error = Error::fixed("ERR DISCARD without MULTI");
    /// EXEC outside MULTI.
    pub const EXEC_WITHOUT_MULTI: Error = Error::fixed("ERR EXEC without MULTI");
    /// EXEC of a transaction of which a command was refused.
    pub const EXEC_ABORT: Error = Error::fixed("EXECABORT Transaction discarded because of previous errors.");
    /// MONITOR in a transaction or a script.
    pub const MONITOR_DENIED: Error = Error::fixed("ERR MONITOR isn't allowed for DENY BLOCKING client");
    /// A command with keys, of a client in MONITOR: the peers count that as a replica.
    pub const NO_KEYS_IN_MONITOR: Error = Error::fixed("ERR Replica can't interact with the keyspace");
    /// What only makes sense in a cluster.
    pub const NO_CLUSTER: Error = Error::fixed("ERR This instance has cluster support disabled");
    /// SSUBSCRIBE in a transaction.
    pub const SSUBSCRIBE_DENIED: Error = Error::fixed("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    /// A command that cannot be queued.
    pub const NOT_IN_MULTI: Error = Error::fixed("ERR Command not allowed inside a transaction");
    /// A write that needs memory above `maxmemory`.
    pub const OOM: Error = Error::fixed("OOM command not allowed when used memory > 'maxmemory'.");
    /// SORT of a user who may not read every key.
    pub const SORT_BY_DENIED: Error = Error::fixed("ERR BY option of SORT denied due to insufficient ACL permissions.");
    /// See above.
    pub const SORT_GET_DENIED: Error =
        Error::fixed("ERR GET option of SORT denied due to insufficient ACL permissions.");
    /// BLPOP and similar timeouts.
    pub const TIMEOUT_NOT_FLOAT: Error = Error::fixed("ERR timeout is not a float or out of range");
    /// See above.
    pub const TIMEOUT_OUT_OF_RANGE: Error = Error::fixed("ERR timeout is out of range");
    /// CLIENT UNBLOCK .. ERROR, to the client that waited.
    pub const UNBLOCKED: Error = Error::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    /// CLIENT PAUSE and similar timeouts.
    pub const TIMEOUT_NOT_INTEGER: Error = Error::fixed("ERR timeout is not an integer or out of range");
    /// See above.
    pub const TIMEOUT_NEGATIVE: Error = Error::fixed("ERR timeout is negative");

    // Scripts

    /// A command that there is not, from a script.
    pub const SCRIPT_UNKNOWN_COMMAND: Error = Error::fixed("ERR Unknown Redis command called from script");
    /// A command with too few or too many arguments, from a script.
    pub const SCRIPT_ARITY: Error = Error::fixed("ERR Wrong number of args calling Redis command from script");
    /// A command that scripts may not call.
    pub const SCRIPT_NOT_ALLOWED: Error = Error::fixed("ERR This Redis command is not allowed from script");
    /// A command that writes, from a script that may only read.
    pub const SCRIPT_READ_ONLY: Error = Error::fixed("ERR Write commands are not allowed from read-only scripts.");
    /// `redis.acl_check_cmd` with a command that there is not.
    pub const SCRIPT_ACL_CHECK: Error = Error::fixed("ERR Invalid command passed to redis.acl_check_cmd()");
    /// EVALSHA of a script that is not kept.
    pub const NO_SCRIPT: Error = Error::fixed("NOSCRIPT No matching script. Please use EVAL.");
    /// A script that has not declared that it may run while memory is short.
    pub const SCRIPT_OOM: Error =
        Error::fixed("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
    /// EVAL with fewer than no keys.
    pub const KEYS_NEGATIVE: Error = Error::fixed("ERR Number of keys can't be negative");
    /// SCRIPT KILL while no script runs.
    pub const SCRIPT_NOT_BUSY: Error = Error::fixed("NOTBUSY No scripts in execution right now.");
    /// SCRIPT KILL of a script that has written.
    pub const SCRIPT_UNKILLABLE: Error = Error::fixed(
        "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script \
         termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
    );
    /// Any command while a script runs for long.
    pub const BUSY_SCRIPT: Error =
        Error::fixed("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
    /// Any command while a function runs for long.
    pub const BUSY_FUNCTION: Error =
        Error::fixed("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.");
    /// SCRIPT FLUSH with a word it does not know.
    pub const SCRIPT_FLUSH_MODE: Error = Error::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    /// SCRIPT DEBUG with a word it does not know.
    pub const SCRIPT_DEBUG_MODE: Error = Error::fixed("ERR Use SCRIPT DEBUG YES/SYNC/NO");
    /// SCRIPT DEBUG YES.
    pub const SCRIPT_DEBUG_ABSENT: Error =
        Error::fixed("ERR SCRIPT DEBUG is not supported: this server has no debugger for scripts");
    /// A value of a script that is nested too deeply.
    pub const SCRIPT_STACK_LIMIT: Error = Error::fixed("ERR reached lua stack limit");

    /// Nearly every change while snapshots fail.
    pub const MISCONF_SNAPSHOT: Error = Error::fixed(
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
         modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
         snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
         error.",
    );

    // MIGRATE

    /// Nobody was reached.
    pub const MIGRATE_CONNECT: Error = Error::fixed("IOERR error or timeout connecting to the client");
    /// The target takes nothing.
    pub const MIGRATE_WRITE: Error = Error::fixed("IOERR error or timeout writing to target instance");
    /// The target says nothing.
    pub const MIGRATE_READ: Error = Error::fixed("IOERR error or timeout reading to target instance");
    /// A key and KEYS.
    pub const MIGRATE_KEY_AND_KEYS: Error =
        Error::fixed("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");

    // Loading

    /// Nearly every command while data are being read.
    pub const LOADING: Error = Error::fixed("LOADING Redis is loading the dataset in memory");

    // Functions

    /// A library without its first line.
    pub const LIBRARY_WITHOUT_METADATA: Error = Error::fixed("ERR Missing library metadata");
    /// A library whose first line cannot be read.
    pub const LIBRARY_METADATA_INVALID: Error = Error::fixed("ERR Invalid library metadata");
    /// See above.
    pub const LIBRARY_NAME_TWICE: Error =
        Error::fixed("ERR Invalid metadata value, name argument was given multiple times");
    /// See above.
    pub const LIBRARY_NAME_MISSING: Error = Error::fixed("ERR Library name was not given");
    /// See above.
    pub const LIBRARY_NAME_INVALID: Error = Error::fixed(
        "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
    );
    /// A library without a function.
    pub const LIBRARY_EMPTY: Error = Error::fixed("ERR No functions registered");
    /// FUNCTION DELETE.
    pub const NO_SUCH_LIBRARY: Error = Error::fixed("ERR Library not found");
    /// FCALL.
    pub const NO_SUCH_FUNCTION: Error = Error::fixed("ERR Function not found");
    /// See above.
    pub const FUNCTION_NUMKEYS: Error = Error::fixed("ERR Bad number of keys provided");
    /// FCALL_RO, and EVAL_RO of a script with flags.
    pub const SCRIPT_WRITES: Error = Error::fixed("ERR Can not execute a script with write flag using *_ro command.");
    /// FUNCTION LIST LIBRARYNAME without a name.
    pub const LIBRARY_PATTERN_MISSING: Error = Error::fixed("ERR library name argument was not given");
    /// FUNCTION FLUSH.
    pub const FUNCTION_FLUSH_OPTION: Error = Error::fixed("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    /// FUNCTION RESTORE.
    pub const RESTORE_POLICY: Error =
        Error::fixed("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
    /// What DUMP and its like have made, but not whole or not for this server.
    pub const DUMP_PAYLOAD: Error = Error::fixed("ERR DUMP payload version or checksum are wrong");
    /// FUNCTION RESTORE of something else than libraries.
    pub const DUMP_NOT_FUNCTION: Error = Error::fixed("ERR given type is not a function");
    /// FUNCTION RESTORE of a form that only previews of Redis 7 made.
    pub const DUMP_FUNCTION_PREVIEW: Error = Error::fixed("ERR Pre-GA function format not supported");
    /// FUNCTION RESTORE of a library that is cut off.
    pub const DUMP_LIBRARY: Error = Error::fixed("ERR Failed loading library payload");

    // Streams

    /// What is no id of a stream's entry.
    pub const STREAM_ID: Error = Error::fixed("ERR Invalid stream ID specified as stream command argument");
    /// A range that begins behind the last id there is.
    pub const STREAM_RANGE_START: Error = Error::fixed("ERR invalid start ID for the interval");
    /// A range that ends before the first id there is.
    pub const STREAM_RANGE_END: Error = Error::fixed("ERR invalid end ID for the interval");
    /// XADD with id 0-0.
    pub const STREAM_ID_ZERO: Error = Error::fixed("ERR The ID specified in XADD must be greater than 0-0");
    /// XADD with an id that is not above all before.
    pub const STREAM_ID_NOT_ABOVE: Error =
        Error::fixed("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    /// XADD where the last id there is was given.
    pub const STREAM_EXHAUSTED: Error =
        Error::fixed("ERR The stream has exhausted the last possible ID, unable to add more items");
    /// Trimming to less than nothing.
    pub const STREAM_MAXLEN_NEGATIVE: Error = Error::fixed("ERR The MAXLEN argument must be >= 0.");
    /// Trimming of less than nothing.
    pub const STREAM_LIMIT_NEGATIVE: Error = Error::fixed("ERR The LIMIT argument must be >= 0.");
    /// Trimming in two ways, or twice in one.
    pub const STREAM_MAXLEN_AND_MINID: Error =
        Error::fixed("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
    /// LIMIT without MAXLEN or MINID.
    pub const STREAM_LIMIT_WITHOUT_STRATEGY: Error =
        Error::fixed("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
    /// XTRIM without MAXLEN or MINID.
    pub const STREAM_TRIM_WITHOUT_STRATEGY: Error =
        Error::fixed("ERR syntax error, XTRIM must be called with a trimming strategy");
    /// LIMIT without `~`.
    pub const STREAM_LIMIT_WITHOUT_APPROXIMATE: Error =
        Error::fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");
    /// XADD with IDMP or IDMPAUTO twice.
    pub const IDMP_TWICE: Error = Error::fixed("ERR IDMP/IDMPAUTO specified multiple times");
    /// XADD IDMP with an id of its own.
    pub const IDMP_WITH_ID: Error = Error::fixed("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs");
    /// XADD IDMP without a producer.
    pub const IDMP_NO_PRODUCER: Error = Error::fixed("ERR IDMP requires a non-empty producer ID");
    /// XADD IDMP without a message.
    pub const IDMP_NO_MESSAGE: Error = Error::fixed("ERR IDMP requires a non-empty idempotent ID");
    /// XADD IDMPAUTO without a producer.
    pub const IDMPAUTO_NO_PRODUCER: Error = Error::fixed("ERR IDMPAUTO requires a non-empty producer ID");
    /// XCFGSET that sets nothing.
    pub const XCFGSET_NOTHING: Error = Error::fixed("ERR At least one parameter must be specified");
    /// XCFGSET out of range.
    pub const IDMP_DURATION_RANGE: Error = Error::fixed("ERR IDMP-DURATION must be between 1 and 86400 seconds");
    /// See above.
    pub const IDMP_MAXSIZE_RANGE: Error = Error::fixed("ERR IDMP-MAXSIZE must be between 1 and 10000 entries");
    /// XIDMPRECORD of an entry that is not there.
    pub const IDMP_NO_ENTRY: Error = Error::fixed("ERR the stream ID does not exist in the stream");
    /// XIDMPRECORD of a message that stands for another entry.
    pub const IDMP_OTHER_ENTRY: Error = Error::fixed("ERR the producer and idempotent ID belong to another stream ID");
    /// XSETID below what was deleted.
    pub const XSETID_BELOW_DELETED: Error =
        Error::fixed("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
    /// See above.
    pub const XSETID_BELOW_GIVEN_DELETED: Error =
        Error::fixed("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
    /// XSETID below the last entry.
    pub const XSETID_BELOW_TOP: Error =
        Error::fixed("ERR The ID specified in XSETID is smaller than the target stream top item");
    /// XSETID with fewer entries added than there are.
    pub const XSETID_FEWER_ADDED: Error =
        Error::fixed("ERR The entries_added specified in XSETID is smaller than the target stream length");
    /// See above.
    pub const XSETID_ADDED_NEGATIVE: Error = Error::fixed("ERR entries_added must be positive");
    /// XDELEX and XACKDEL with a count of ids that is none.
    pub const NUMIDS: Error = Error::fixed("ERR Number of IDs must be a positive integer");
    /// XDELEX and XACKDEL with fewer ids than counted.
    pub const NUMIDS_MISMATCH: Error = Error::fixed("ERR The `numids` parameter must match the number of arguments");
    /// XREAD with what only XREADGROUP knows.
    pub const XREAD_GROUP: Error =
        Error::fixed("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
    /// See above.
    pub const XREAD_NOACK: Error =
        Error::fixed("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
    /// See above.
    pub const XREAD_CLAIM: Error =
        Error::fixed("ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.");
    /// See above.
    pub const XREAD_UNDELIVERED: Error = Error::fixed(
        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
    );
    /// XREADGROUP without a group.
    pub const XREADGROUP_NO_GROUP: Error = Error::fixed("ERR Missing GROUP option for XREADGROUP");
    /// XREADGROUP CLAIM.
    pub const MIN_IDLE_NOT_INTEGER: Error = Error::fixed("ERR min-idle-time is not an integer");
    /// See above.
    pub const MIN_IDLE_NEGATIVE: Error = Error::fixed("ERR min-idle-time must be a positive integer");
    /// XGROUP where there is no stream.
    pub const XGROUP_NO_KEY: Error = Error::fixed(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    );
    /// XGROUP CREATE of a group that is there.
    pub const GROUP_EXISTS: Error = Error::fixed("BUSYGROUP Consumer Group name already exists");
    /// XGROUP with a count of entries read that is none.
    pub const ENTRIESREAD_RANGE: Error = Error::fixed("ERR value for ENTRIESREAD must be positive or -1");
    /// XAUTOCLAIM of less than one entry, or too many.
    pub const XAUTOCLAIM_COUNT: Error = Error::fixed("ERR COUNT must be > 0");
    /// XNACK in no way that there is.
    pub const XNACK_MODE: Error = Error::fixed("ERR mode must be SILENT, FAIL, or FATAL");
    /// XNACK without ids.
    pub const XNACK_NO_IDS: Error = Error::fixed("ERR syntax error, expected IDS keyword");
    /// XNACK with a count of ids that is none.
    pub const XNACK_NUMIDS: Error = Error::fixed("ERR numids must be a positive integer");
    /// XNACK with fewer ids than counted.
    pub const XNACK_NUMIDS_MISMATCH: Error = Error::fixed("ERR number of IDs doesn't match numids");
    /// XNACK with a negative count of deliveries.
    pub const XNACK_RETRYCOUNT: Error = Error::fixed("ERR Invalid RETRYCOUNT value, must be >= 0");

    /// No such key, or no such consumer group there; `why` goes behind it.
    pub fn no_such_group(key: &[u8], group: &[u8], why: &str) -> Error {
        Error::quoting(&[
            b"NOGROUP No such key '",
            clip(key, TEXT_MAX),
            b"' or consumer group '",
            clip(group, TEXT_MAX),
            b"'",
            why.as_bytes(),
        ])
    }

    /// The stream has no such consumer group.
    pub fn no_such_group_of_key(key: &[u8], group: &[u8]) -> Error {
        let (key, group) = (clip(key, TEXT_MAX), clip(group, TEXT_MAX));
        Error::quoting(&[b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"])
    }

    /// An id with which XREADGROUP would find nothing (`$`, `+`).
    pub fn meaningless_id(id: char) -> Error {
        Error::new(format!(
            "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
             by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty \
             result set."
        ))
    }

    /// XREAD or XREADGROUP with more keys than ids, or the other way round.
    pub fn unbalanced_streams(command: &str, special: char) -> Error {
        Error::new(format!(
            "ERR Unbalanced '{command}' list of streams: for each stream key an ID or '{special}' must be specified."
        ))
    }

    /// An argument of XCLAIM or XAUTOCLAIM that is no number.
    pub fn invalid_claim_argument(what: &str, command: &str) -> Error {
        Error::new(format!("ERR Invalid {what} argument for {command}"))
    }

    /// An option of XCLAIM or XNACK that is not known.
    pub fn unrecognized_option(command: &str, option: &[u8]) -> Error {
        let option = clip(option, TEXT_MAX);
        Error::quoting(&[b"ERR Unrecognized ", command.as_bytes(), b" option '", option, b"'"])
    }
}

/// Bytes of an argument that an error repeats where Redis would repeat it whole.
const TEXT_MAX: usize = 1024;

/// The part of what a client sent that an error repeats: at most `room` bytes, and none from a NUL on.
fn clip(bytes: &[u8], room: usize) -> &[u8] {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    text.get(..room).unwrap_or(text)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::error::Error for Error {}
