//! What the broker's commands are: their rows. What they do stands beside this file, by topic.
//!
//! Categories: `@mqadmin` is what there is and how it is connected, `@mqwrite` is publishing, `@mqread` is taking messages,
//! settling them, and looking. A user who may publish to an exchange needs to write to its key and to none of the queues that
//! it leads to; who takes messages needs to read the queue's key; who binds has to be able to read what comes to the one and to write
//! to the other.
//!
//! Whatever moves messages may change queues that it does not name (dead letters, bindings): such commands have the flag that
//! says so, `MAY_REPLICATE`.

use super::{call, consume, exchange, help, policy, publish, queue, redrive, schedule, subscribe};
use crate::command::spec::{
    Acl, Arg, ArgKind, BeginSearch, ChannelArgs, DatabaseArgs, FindKeys, Flags, Group, KeyFlags, KeySpec, Spec,
};
use crate::command::table::Row;
use crate::server::ServerFn;
use crate::server::commands::row_parts::{self, flag, int, option, text};

const READS: Flags = Flags::READONLY;
const READS_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITES: Flags = Flags::WRITE;
const WRITES_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ADDS: Flags = Flags::WRITE.union(Flags::DENYOOM);
/// What moves messages, perhaps into queues that the call does not name.
const MOVES: Flags = Flags::WRITE.union(Flags::MAY_REPLICATE);
const PUBLISHES: Flags = MOVES.union(Flags::DENYOOM).union(Flags::BLOCKING);
const ADMIN: Flags = Flags::ADMIN;
const OWN_CONNECTION: Flags = Flags::NOSCRIPT.union(Flags::NO_MULTI);

const LOOKS: Acl = Acl::MQADMIN.union(Acl::MQREAD);

/// A queue or an exchange is looked at, or messages are read.
const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
/// Messages are taken from there and settled, which is a consumer's reading.
const TAKEN: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS);
/// Messages come there.
const INTO: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);
const CHANGED: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);
const EMPTIED: KeyFlags = KeyFlags::RW.union(KeyFlags::DELETE);
const REMOVED: KeyFlags = KeyFlags::RM.union(KeyFlags::DELETE);

const fn at(place: u16, flags: KeyFlags) -> KeySpec {
    KeySpec::one(place, flags)
}

/// A key that stands behind a word. Values of options may look like the word: only the server can tell.
const fn behind(word: &'static str, from: i16, flags: KeyFlags) -> KeySpec {
    KeySpec {
        flags: flags.union(KeyFlags::VARIABLE_FLAGS),
        begin: BeginSearch::Keyword(word, from),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        notes: "",
    }
}

/// The exchange that is published to.
const EXCHANGE: KeySpec =
    at(1, INTO.union(KeyFlags::VARIABLE_FLAGS)).notes("With an empty exchange, routing keys are names of queues.");

/// A row's facts, with the categories that follow from its flags.
const fn spec(name: &'static str, arity: i16, flags: Flags, own: Acl) -> Spec {
    row_parts::spec(name, arity, flags, own, Group::Broker)
}

const fn container(name: &'static str, summary: &'static str) -> Spec {
    row_parts::container(name, Group::Broker, summary)
}

const fn help(summary: &'static str) -> Spec {
    spec("help", 2, Flags::LOADING.union(Flags::STALE), LOOKS).doc("O(1)", summary)
}

const fn headers() -> Arg {
    option(Arg::block("headers", PAIRS), "HEADERS")
}

/// The messages that are settled.
const fn receipts() -> Arg {
    Arg::block("receipts", IDS).token("IDS")
}

const NAME_AND_VALUE: &[Arg] = &[text("name"), text("value")];
const PAIRS: &[Arg] = &[int("numpairs"), Arg::block("pair", NAME_AND_VALUE).optional().multiple()];
const IDS: &[Arg] = &[int("numids"), text("id").multiple()];
const YES_OR_NO: &[Arg] = &[Arg::word("yes", "YES"), Arg::word("no", "NO")];
const MATCH_AND_COUNT: &[Arg] =
    &[option(Arg::new("pattern", ArgKind::Pattern), "MATCH"), option(int("count"), "COUNT")];

/// What may follow a body that is published.
const MESSAGE_OPTIONS: &[Arg] = &[
    headers(),
    option(Arg::block("copies", &[int("numkeys"), text("routing-key").multiple()]), "CC"),
    option(int("priority"), "PRIORITY"),
    option(int("ttl-milliseconds"), "TTL"),
    Arg::one_of(
        "when",
        &[
            int("delay-milliseconds").token("DELAY"),
            Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("AT"),
            int("hold-milliseconds").token("HOLD"),
        ],
    )
    .optional(),
    option(text("group"), "GROUP"),
    option(Arg::block("idempotency", &[text("producer"), text("message-id")]), "IDMP"),
    option(text("reply-token"), "REPLYTO"),
    option(text("correlation-id"), "CORR"),
    flag("mandatory", "MANDATORY"),
    flag("allornone", "ALLORNONE"),
    Arg::one_of(
        "confirm",
        &[
            Arg::word("fsync", "FSYNC"),
            Arg::block("replicas", &[int("numreplicas"), int("timeout-milliseconds")]).token("REPLICAS"),
        ],
    )
    .token("CONFIRM")
    .optional(),
    flag("withids", "WITHIDS"),
];

const QUEUE_OPTIONS: &[Arg] = &[
    flag("exclusive", "EXCLUSIVE"),
    flag("autodelete", "AUTODELETE"),
    option(int("expires-milliseconds"), "EXPIRES"),
    option(int("ttl-milliseconds"), "MSGTTL"),
    option(int("max-length"), "MAXLEN"),
    option(int("max-bytes"), "MAXBYTES"),
    Arg::one_of(
        "overflow",
        &[
            Arg::word("drophead", "DROPHEAD"),
            Arg::word("reject", "REJECT"),
            Arg::word("rejectdl", "REJECTDL"),
            Arg::word("block", "BLOCK"),
        ],
    )
    .token("OVERFLOW")
    .optional(),
    option(Arg::key("dead-letter-exchange", 1), "DLX"),
    option(text("dead-letter-routing-key"), "DLRK"),
    Arg::one_of("strategy", &[Arg::word("retain", "RETAIN"), Arg::word("drop", "DROP")]).token("DLSTRATEGY").optional(),
    option(int("delivery-limit"), "DELIVERYLIMIT"),
    option(
        Arg::block(
            "retry",
            &[
                Arg::one_of(
                    "which",
                    &[
                        Arg::word("none", "NONE"),
                        Arg::word("all", "ALL"),
                        Arg::word("failed", "FAILED"),
                        Arg::word("returned", "RETURNED"),
                    ],
                ),
                int("min-milliseconds"),
                int("max-milliseconds"),
            ],
        ),
        "RETRY",
    ),
    option(int("lease-milliseconds"), "LEASE"),
    option(int("max-priority"), "MAXPRIORITY"),
    flag("sac", "SAC"),
    flag("groups", "GROUPS"),
    option(text("header"), "LASTVALUE"),
    option(Arg::block("dedup", &[int("window-milliseconds"), int("max-ids")]), "DEDUP"),
    Arg::one_of("track", YES_OR_NO).token("TRACK").optional(),
    flag("passive", "PASSIVE"),
];

const BINDING: &[Arg] = &[
    Arg::key("source", 0),
    Arg::one_of(
        "destination",
        &[
            Arg::key("queue", 1).token("QUEUE"),
            Arg::key("exchange", 1).token("EXCHANGE"),
            Arg::key("stream", 1).token("STREAM"),
            text("channel").token("CHANNEL"),
        ],
    ),
    text("binding-key"),
    option(Arg::block("arguments", PAIRS), "ARGS"),
];

/// Commands of the broker.
pub(in crate::server) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        spec("mq.pub", -4, PUBLISHES, Acl::MQWRITE)
            .keys(&[EXCHANGE])
            .doc(
                "O(log(N)) for each queue reached, N being its messages; bindings that do not match cost nothing.",
                "Publishes a message to an exchange, and tells how many destinations it reached.",
            )
            .args(&[
                Arg::key("exchange", 0),
                text("routing-key"),
                text("body"),
                Arg::block("options", MESSAGE_OPTIONS).optional(),
            ]),
        publish::pub_command,
    ),
    Row::new(
        spec("mq.push", -3, PUBLISHES, Acl::MQWRITE)
            .keys(&[at(1, INTO)])
            .tips(&["nondeterministic_output"])
            .doc("O(log(N)), N being the messages of the queue.", "Puts a message into a queue, and returns its id.")
            .args(&[Arg::key("queue", 0), text("body"), Arg::block("options", MESSAGE_OPTIONS).optional()]),
        publish::push_command,
    ),
    Row::new(
        spec("mq.mpub", -4, PUBLISHES, Acl::MQWRITE)
            .keys(&[EXCHANGE])
            .doc("As that of MQ.PUB for each message.", "Publishes several messages to an exchange at once.")
            .args(&[
                Arg::key("exchange", 0),
                int("nummessages").token("COUNT"),
                Arg::block(
                    "message",
                    &[
                        text("routing-key"),
                        text("body"),
                        int("numoptions"),
                        text("option").optional().multiple(),
                    ],
                )
                .optional()
                .multiple(),
            ]),
        publish::mpub_command,
    ),
    Row::new(
        spec("mq.commit", 3, MOVES.union(Flags::FAST), Acl::MQWRITE)
            .keys(&[at(1, CHANGED)])
            .doc("O(log(N)), N being the messages of the queue.", "Makes a message visible that was published with HOLD.")
            .args(&[Arg::key("queue", 0), text("id")]),
        publish::commit_command,
    ),
    Row::new(
        spec("mq.abort", 3, MOVES.union(Flags::FAST), Acl::MQWRITE)
            .keys(&[at(1, EMPTIED)])
            .doc("O(log(N)), N being the messages of the queue.", "Takes back a message that was published with HOLD.")
            .args(&[Arg::key("queue", 0), text("id")]),
        publish::abort_command,
    ),
    Row::new(
        spec("mq.get", -4, MOVES.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS), Acl::MQREAD)
            .keys(&[KeySpec {
                flags: TAKEN.union(KeyFlags::VARIABLE_FLAGS),
                begin: BeginSearch::Keyword("QUEUES", 1),
                find: FindKeys::KeyNum { count_at: 0, first: 1, step: 1 },
                notes: "",
            }])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(Q+M*log(N)), Q being the queues named, M the messages returned and N those of a queue.",
                "Takes messages from queues, waiting for one if it is told to; each is to be acknowledged within its lease.",
            )
            .args(&[
                option(text("consumer"), "CONSUMER"),
                option(int("count"), "COUNT"),
                option(int("max-bytes"), "MAXBYTES"),
                option(int("block-milliseconds"), "BLOCK"),
                option(int("lease-milliseconds"), "LEASE"),
                flag("noack", "NOACK"),
                flag("compact", "COMPACT"),
                Arg::block("queues", &[int("numqueues"), Arg::key("queue", 0).multiple()]).token("QUEUES"),
            ]),
        consume::get_command,
    ),
    Row::new(
        spec("mq.peek", -2, READS, Acl::MQREAD)
            .keys(&[at(1, READ)])
            .doc(
                "O(M*log(N)), M being the messages returned and N those of the queue.",
                "Shows messages that are ready, from the front of a queue or from its end, and leaves them there.",
            )
            .args(&[Arg::key("queue", 0), option(int("count"), "COUNT")]),
        consume::peek_command,
    ),
    Row::new(
        spec("mq.ack", -5, MOVES.union(Flags::FAST), Acl::MQREAD)
            .keys(&[at(1, TAKEN)])
            .doc("O(log(N)) for each id, N being the messages of the queue.", "Tells that messages have been dealt with.")
            .args(&[Arg::key("queue", 0), receipts()]),
        consume::ack_command,
    ),
    Row::new(
        spec("mq.nack", -6, MOVES.union(Flags::FAST), Acl::MQREAD)
            .keys(&[at(1, TAKEN)])
            .doc(
                "O(log(N)) for each id, N being the messages of the queue.",
                "Gives messages back: as if untouched, as failed, or as hopeless.",
            )
            .args(&[
                Arg::key("queue", 0),
                Arg::one_of(
                    "outcome",
                    &[Arg::word("silent", "SILENT"), Arg::word("fail", "FAIL"), Arg::word("fatal", "FATAL")],
                ),
                receipts(),
                option(int("delay-milliseconds"), "DELAY"),
                option(text("reason"), "REASON"),
            ]),
        consume::nack_command,
    ),
    Row::new(
        spec("mq.touch", -7, WRITES_FAST, Acl::MQREAD)
            .keys(&[at(1, TAKEN)])
            .doc(
                "O(log(N)) for each id, N being the messages of the queue.",
                "Gives the holder of messages more time: their leases begin anew.",
            )
            .args(&[Arg::key("queue", 0), int("lease-milliseconds").token("LEASE"), receipts()]),
        consume::touch_command,
    ),
    Row::new(
        spec("mq.pending", -2, READS, Acl::MQREAD)
            .keys(&[at(1, READ)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(log(N)+P), P being the messages looked at and N those of the queue; O(1) without a range.",
                "Lists messages that have been handed out and not settled, and who holds them.",
            )
            .args(&[
                Arg::key("queue", 0),
                option(int("min-idle-milliseconds"), "IDLE"),
                Arg::block("range", &[text("start"), text("end"), int("count")]).optional(),
                option(text("consumer"), "CONSUMER"),
            ]),
        consume::pending_command,
    ),
    Row::new(
        spec("mq.claim", -7, WRITES_FAST, Acl::MQREAD)
            .keys(&[at(1, TAKEN)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(log(N)) for each id, N being the messages of the queue.",
                "Takes over messages that another consumer has held for too long, and returns them.",
            )
            .args(&[Arg::key("queue", 0), text("consumer"), int("min-idle-milliseconds"), receipts()]),
        consume::claim_command,
    ),
    Row::new(
        spec("mq.redrive", -2, MOVES.union(Flags::DENYOOM), Acl::MQADMIN)
            .keys(&[at(1, EMPTIED.union(KeyFlags::ACCESS)), behind("TO", 2, INTO)])
            .doc(
                "O(M*log(N)), M being the messages looked at and N those of the queues.",
                "Puts dead letters back into the queues that they died in, or into another one.",
            )
            .args(&[
                Arg::key("dead-letter-queue", 0),
                Arg::one_of("target", &[Arg::key("queue", 1).token("TO"), Arg::word("origin", "ORIGIN")]).optional(),
                option(int("count"), "COUNT"),
                option(text("reason"), "REASON"),
            ]),
        redrive::redrive_command,
    ),
    Row::new(
        spec("mq.sub", -4, WRITES.union(OWN_CONNECTION), Acl::MQREAD)
            .keys(&[at(1, TAKEN)])
            .doc(
                "O(log(C)), C being the consumers of the queue.",
                "Has the messages of a queue sent to this connection as they come, a bounded number at a time.",
            )
            .args(&[
                Arg::key("queue", 0),
                text("tag").token("TAG"),
                option(int("prefetch"), "PREFETCH"),
                option(int("prefetch-bytes"), "PREFETCHBYTES"),
                option(int("priority"), "PRIORITY"),
                flag("noack", "NOACK"),
                flag("exclusive", "EXCLUSIVE"),
                option(int("lease-milliseconds"), "LEASE"),
            ]),
        subscribe::sub_command,
    ),
    Row::new(
        spec("mq.unsub", -2, OWN_CONNECTION.union(Flags::FAST), Acl::MQREAD)
            .doc(
                "O(1), and O(log(N)) for each message given back.",
                "Ends a subscription of this connection, and gives back what it holds if it is told to.",
            )
            .args(&[text("tag"), flag("requeue", "REQUEUE")]),
        subscribe::unsub_command,
    ),
    Row::new(
        spec("mq.qos", 4, OWN_CONNECTION.union(Flags::FAST), Acl::MQREAD)
            .doc("O(1)", "Changes how many messages a subscription may hold at a time.")
            .args(&[text("tag"), int("prefetch").token("PREFETCH")]),
        subscribe::qos_command,
    ),
    Row::new(
        spec("mq.call", -4, PUBLISHES.union(OWN_CONNECTION), Acl::MQWRITE)
            .keys(&[EXCHANGE])
            .tips(&["nondeterministic_output"])
            .doc("As that of MQ.PUB.", "Publishes a message, and waits for the answer that MQ.REPLY gives to it.")
            .args(&[
                Arg::key("exchange", 0),
                text("routing-key"),
                text("body"),
                option(int("timeout-milliseconds"), "TIMEOUT"),
                headers(),
            ]),
        call::call_command,
    ),
    Row::new(
        spec("mq.reply", -3, Flags::FAST, Acl::MQWRITE)
            .doc("O(1)", "Answers a message whose sender waits in MQ.CALL, and tells whether it still did.")
            .args(&[text("token"), text("body"), headers()]),
        call::reply_command,
    ),
    Row::new(
        spec("mq.bind", -5, ADDS.union(Flags::FAST), Acl::MQADMIN)
            .keys(&[at(1, CHANGED.union(KeyFlags::ACCESS)), at(3, INTO.union(KeyFlags::VARIABLE_FLAGS))])
            .channels(ChannelArgs::Behind(2, "CHANNEL"))
            .doc(
                "O(log(N)), N being the bindings of the exchange.",
                "Has messages of an exchange go to a queue, another exchange, a stream or a channel.",
            )
            .args(BINDING),
        exchange::bind_command,
    ),
    Row::new(
        spec("mq.unbind", -5, WRITES_FAST, Acl::MQADMIN)
            .keys(&[at(1, CHANGED), at(3, CHANGED.union(KeyFlags::VARIABLE_FLAGS))])
            .doc("O(log(N)), N being the bindings of the exchange.", "Removes a binding of an exchange.")
            .args(BINDING),
        exchange::unbind_command,
    ),
    Row::new(
        spec("mq.bindings", 3, READS, LOOKS)
            .keys(&[at(2, READ)])
            .doc(
                "O(N), N being the bindings listed.",
                "Lists the bindings of an exchange, or those that lead to a queue or an exchange.",
            )
            .args(&[Arg::one_of(
                "end",
                &[Arg::key("source", 0).token("FROM"), Arg::key("destination", 0).token("TO")],
            )]),
        exchange::bindings_command,
    ),
    Row::new(
        spec("mq.effect", -3, MOVES.union(ADMIN).union(Flags::NOSCRIPT).union(Flags::LOADING), Acl::MQADMIN)
            .keys(&[KeySpec {
                flags: INTO.union(KeyFlags::UPDATE).union(KeyFlags::INCOMPLETE),
                begin: BeginSearch::Unknown,
                find: FindKeys::Unknown,
                notes: "",
            }])
            .doc(
                "O(log(N)) for each message, N being those of its queue.",
                "Repeats what happened to messages, as files and replicas are told of it; not for clients.",
            )
            .args(&[text("what"), text("detail").multiple()]),
        super::effect_command,
    ),
    Row::container(container("mq.queue", "Groups the commands on queues."), QUEUE),
    Row::container(container("mq.exchange", "Groups the commands on exchanges."), EXCHANGES),
    Row::container(container("mq.policy", "Groups the commands on policies."), POLICY),
    Row::container(container("mq.schedule", "Groups the commands on schedules."), SCHEDULE),
];

const QUEUE: &[Row<ServerFn>] = &[
    Row::new(
        spec("consumers", 3, READS, LOOKS)
            .keys(&[at(2, READ)])
            .doc("O(C), C being the consumers of the queue.", "Lists the subscriptions to a queue.")
            .args(&[Arg::key("queue", 0)]),
        queue::consumers_command,
    ),
    Row::new(
        spec("declare", -3, ADDS.union(Flags::MOVABLEKEYS), Acl::MQADMIN)
            .keys(&[at(2, CHANGED), behind("DLX", 3, INTO)])
            .doc(
                "O(P), P being the policies.",
                "Creates a queue, or confirms that there is one that was declared with the same options.",
            )
            .args(&[Arg::key("queue", 0), Arg::block("options", QUEUE_OPTIONS).optional()]),
        queue::declare_command,
    ),
    Row::new(
        spec("delete", -3, MOVES, Acl::MQADMIN)
            .keys(&[at(2, REMOVED)])
            .doc(
                "O(B*log(N)), B being the bindings to the queue and N all of their exchanges; messages are freed elsewhere.",
                "Deletes a queue with its messages and the bindings to it.",
            )
            .args(&[Arg::key("queue", 0), flag("ifempty", "IFEMPTY"), flag("ifunused", "IFUNUSED")]),
        queue::delete_command,
    ),
    Row::new(help("Lists the subcommands of `MQ.QUEUE` and what they do."), help::queue_command),
    Row::new(
        spec("info", 3, READS, LOOKS)
            .keys(&[at(2, READ)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(C+P), C being the consumers of the queue and P the policies.",
                "Shows the messages, counters and rates of a queue, and the rules in force for it.",
            )
            .args(&[Arg::key("queue", 0)]),
        queue::info_command,
    ),
    Row::new(
        spec("list", -2, READS, LOOKS)
            .tips(&["nondeterministic_output_order", "request_policy:all_shards"])
            .doc("O(N), N being the queues.", "Lists the names of queues, all or those that match.")
            .args(MATCH_AND_COUNT),
        queue::list_command,
    ),
    Row::new(
        spec("pause", 4, MOVES.union(Flags::FAST), Acl::MQADMIN)
            .keys(&[at(2, CHANGED)])
            .doc("O(1)", "Stops a queue from taking messages, or from giving them, until it is told otherwise.")
            .args(&[
                Arg::key("queue", 0),
                Arg::one_of(
                    "direction",
                    &[
                        Arg::word("in", "IN"),
                        Arg::word("out", "OUT"),
                        Arg::word("all", "ALL"),
                        Arg::word("none", "NONE"),
                        Arg::word("state", "STATE"),
                    ],
                ),
            ]),
        queue::pause_command,
    ),
    Row::new(
        spec("purge", 3, WRITES, Acl::MQADMIN)
            .keys(&[at(2, EMPTIED)])
            .doc("O(N), N being the ready messages.", "Removes all messages of a queue that are ready.")
            .args(&[Arg::key("queue", 0)]),
        queue::purge_command,
    ),
];

const EXCHANGES: &[Row<ServerFn>] = &[
    Row::new(
        spec("declare", -4, ADDS.union(Flags::MOVABLEKEYS), Acl::MQADMIN)
            .keys(&[at(2, CHANGED), behind("ALTERNATE", 3, INTO)])
            .doc("O(1)", "Creates an exchange, or confirms that there is one that was declared with the same options.")
            .args(&[
                Arg::key("exchange", 0),
                Arg::one_of(
                    "type",
                    &[
                        Arg::word("direct", "DIRECT"),
                        Arg::word("fanout", "FANOUT"),
                        Arg::word("topic", "TOPIC"),
                        Arg::word("headers", "HEADERS"),
                        Arg::word("hash", "HASH"),
                        Arg::word("modhash", "MODHASH"),
                        Arg::word("random", "RANDOM"),
                    ],
                )
                .token("TYPE")
                .optional(),
                option(Arg::key("alternate", 1), "ALTERNATE"),
                flag("autodelete", "AUTODELETE"),
                flag("internal", "INTERNAL"),
                Arg::one_of("rkacl", YES_OR_NO).token("RKACL").optional(),
                flag("passive", "PASSIVE"),
            ]),
        exchange::declare_command,
    ),
    Row::new(
        spec("delete", -3, MOVES, Acl::MQADMIN)
            .keys(&[at(2, REMOVED)])
            .doc(
                "O(B*log(N)), B being the bindings to the exchange and N all of their exchanges.",
                "Deletes an exchange with its bindings and those to it.",
            )
            .args(&[Arg::key("exchange", 0), flag("ifunused", "IFUNUSED")]),
        exchange::delete_command,
    ),
    Row::new(help("Lists the subcommands of `MQ.EXCHANGE` and what they do."), help::exchange_command),
    Row::new(
        spec("info", 3, READS_FAST, LOOKS)
            .keys(&[at(2, READ)])
            .doc("O(1)", "Shows with which options an exchange was declared, and how many bindings it has.")
            .args(&[Arg::key("exchange", 0)]),
        exchange::info_command,
    ),
    Row::new(
        spec("list", -2, READS, LOOKS)
            .tips(&["nondeterministic_output_order", "request_policy:all_shards"])
            .doc("O(N), N being the exchanges.", "Lists the names of exchanges, all or those that match.")
            .args(MATCH_AND_COUNT),
        exchange::list_command,
    ),
];

const POLICY: &[Row<ServerFn>] = &[
    Row::new(
        spec("del", 3, WRITES.union(ADMIN), Acl::MQADMIN)
            .databases(DatabaseArgs::Every)
            .tips(&["request_policy:all_shards"])
            .doc("O(1)", "Removes a policy: queues and exchanges are ruled by what is left.")
            .args(&[text("name")]),
        policy::del_command,
    ),
    Row::new(help("Lists the subcommands of `MQ.POLICY` and what they do."), help::policy_command),
    Row::new(
        spec("list", 2, READS.union(ADMIN), Acl::MQADMIN)
            .databases(DatabaseArgs::Every)
            .doc("O(P), P being the policies.", "Lists the policies with their definitions.")
            .args(&[]),
        policy::list_command,
    ),
    Row::new(
        spec("set", -7, ADDS.union(ADMIN), Acl::MQADMIN)
            .databases(DatabaseArgs::Every)
            .tips(&["request_policy:all_shards"])
            .doc(
                "O(P), P being the policies.",
                "Gives rules to all queues or exchanges whose names match, those there are and those to come.",
            )
            .args(&[
                text("name"),
                Arg::new("glob", ArgKind::Pattern).token("PATTERN"),
                Arg::one_of(
                    "apply",
                    &[Arg::word("queues", "QUEUES"), Arg::word("exchanges", "EXCHANGES"), Arg::word("all", "ALL")],
                )
                .token("APPLY")
                .optional(),
                option(int("priority"), "PRIORITY"),
                flag("operator", "OPERATOR"),
                Arg::block("definition", PAIRS).token("DEF"),
            ]),
        policy::set_command,
    ),
];

const SCHEDULE: &[Row<ServerFn>] = &[
    Row::new(
        spec("del", 3, WRITES.union(ADMIN), Acl::MQADMIN)
            .doc("O(log(S)), S being the schedules.", "Removes a schedule.")
            .args(&[text("name")]),
        schedule::del_command,
    ),
    Row::new(help("Lists the subcommands of `MQ.SCHEDULE` and what they do."), help::schedule_command),
    Row::new(
        spec("list", 2, READS.union(ADMIN), Acl::MQADMIN)
            .doc("O(S), S being the schedules.", "Lists the schedules, and when each publishes next.")
            .args(&[]),
        schedule::list_command,
    ),
    Row::new(
        spec("pause", 3, WRITES.union(ADMIN), Acl::MQADMIN)
            .doc("O(log(S)), S being the schedules.", "Stops a schedule until it is resumed.")
            .args(&[text("name")]),
        schedule::pause_command,
    ),
    Row::new(
        spec("resume", 3, WRITES.union(ADMIN), Acl::MQADMIN)
            .doc("O(log(S)), S being the schedules.", "Lets a schedule that was paused go on with its next time.")
            .args(&[text("name")]),
        schedule::resume_command,
    ),
    Row::new(
        spec("run", 3, MOVES.union(Flags::DENYOOM).union(ADMIN), Acl::MQADMIN)
            .doc("As that of MQ.PUB.", "Publishes what a schedule says at once, besides its times.")
            .args(&[text("name")]),
        schedule::run_command,
    ),
    Row::new(
        spec("set", -9, ADDS.union(ADMIN).union(Flags::MOVABLEKEYS), Acl::MQADMIN)
            .keys(&[behind("PUB", 5, INTO).notes("With an empty exchange, the routing key is the name of a queue.")])
            .doc(
                "O(log(S)), S being the schedules.",
                "Has a message published at times that a cron pattern or a period says.",
            )
            .args(&[
                text("name"),
                Arg::one_of("times", &[text("pattern").token("CRON"), int("milliseconds").token("EVERY")]),
                option(text("zone"), "ZONE"),
                Arg::block("publication", &[Arg::key("exchange", 0), text("routing-key"), text("body")]).token("PUB"),
                headers(),
            ]),
        schedule::set_command,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keys::find_keys;
    use weir_resp::Batch;

    /// All rows that run, with the words of their names.
    fn all() -> Vec<(String, &'static Spec, i16)> {
        let mut all = Vec::new();
        for row in COMMANDS {
            if row.run.is_some() {
                all.push((row.spec.name.to_owned(), &row.spec, 1));
            }
            all.extend(row.subs.iter().map(|sub| (format!("{} {}", row.spec.name, sub.spec.name), &sub.spec, 2)));
        }
        all
    }

    /// How many words an argument has at least.
    fn least(arg: &Arg) -> i16 {
        let own = match arg.kind {
            _ if arg.optional => return 0,
            ArgKind::PureToken => 0,
            ArgKind::OneOf => arg.parts.iter().map(least).min().unwrap_or(0),
            ArgKind::Block => arg.parts.iter().map(least).sum(),
            _ => 1,
        };
        own + i16::from(arg.token.is_some())
    }

    fn key_specs(args: &[Arg], found: &mut Vec<usize>) {
        for arg in args {
            found.extend(arg.key_spec.map(usize::from));
            key_specs(arg.parts, found);
        }
    }

    #[test]
    fn every_row_says_what_the_command_is_in_one_sentence() {
        for (name, spec, _) in all() {
            assert_eq!((spec.group, spec.since), (Group::Broker, "1.0.0"), "{name}");
            assert!(spec.summary.ends_with('.') && spec.summary.matches(". ").count() == 0, "{name}");
            assert!(spec.complexity.starts_with("O(") || spec.complexity.starts_with("As that of "), "{name}");
        }
    }

    #[test]
    fn categories_follow_from_flags_and_every_row_has_one_of_the_broker() {
        for (name, spec, _) in all() {
            let own = Acl::MQADMIN | Acl::MQWRITE | Acl::MQREAD;
            assert!(spec.acl.intersects(own), "{name}");
            for (flag, category) in [
                (Flags::WRITE, Acl::WRITE),
                (Flags::READONLY, Acl::READ),
                (Flags::FAST, Acl::FAST),
                (Flags::BLOCKING, Acl::BLOCKING),
                (Flags::ADMIN, Acl::ADMIN | Acl::DANGEROUS),
            ] {
                assert_eq!(spec.flags.contains(flag), spec.acl.contains(category), "{name} {category:?}");
            }
            assert_ne!(spec.acl.contains(Acl::FAST), spec.acl.contains(Acl::SLOW), "{name}");
            assert!(!spec.flags.contains(Flags::WRITE | Flags::READONLY), "{name}");
        }
    }

    #[test]
    fn arguments_are_as_many_as_the_command_needs_and_name_every_key_spec() {
        for (name, spec, words) in all() {
            let needed = words + spec.args.iter().map(least).sum::<i16>();
            // Without its type an exchange can only be asked for.
            let needed = if name == "mq.exchange declare" { needed + 1 } else { needed };
            assert_eq!(spec.arity.abs(), needed, "{name}");
            let mut named = Vec::new();
            key_specs(spec.args, &mut named);
            named.sort_unstable();
            named.dedup();
            let expected: Vec<usize> = (0..spec.keys.len()).collect();
            assert!(named == expected || name == "mq.effect", "{name}: {named:?}");
        }
    }

    #[test]
    fn keys_are_found_in_calls_of_every_command_that_has_some() {
        let calls = [
            "mq.pub e r b",
            "mq.push q b",
            "mq.mpub e COUNT 1 r b 0",
            "mq.commit q 1-0",
            "mq.abort q 1-0",
            "mq.get QUEUES 1 q",
            "mq.peek q",
            "mq.ack q IDS 1 1-0",
            "mq.nack q FAIL IDS 1 1-0",
            "mq.touch q LEASE 1 IDS 1 1-0",
            "mq.pending q",
            "mq.claim q c 0 IDS 1 1-0",
            "mq.redrive q",
            "mq.sub q TAG t",
            "mq.call e r b",
            "mq.bind e QUEUE q k",
            "mq.unbind e QUEUE q k",
            "mq.bindings FROM e",
            "mq.effect MARK q 1-0",
            "mq.queue consumers q",
            "mq.queue declare q",
            "mq.queue delete q",
            "mq.queue info q",
            "mq.queue pause q IN",
            "mq.queue purge q",
            "mq.exchange declare e TYPE topic",
            "mq.exchange delete e",
            "mq.exchange info e",
            "mq.schedule set s EVERY 5 PUB e r b",
        ];
        for (name, spec, _) in all().into_iter().filter(|(_, spec, _)| spec.has_keys()) {
            let call = calls.iter().find(|call| call.starts_with(&format!("{name} "))).expect(&name);
            let mut batch = Batch::new();
            batch.push_command(call.split(' ').map(str::as_bytes)).unwrap();
            let (argv, mut found) = (batch.command(0), Vec::new());
            assert!(spec.arity_fits(argv.len()), "{call}");
            assert_eq!(find_keys(spec, argv, &mut found), Ok(()), "{call}");
            let keys: Vec<&[u8]> = found.iter().map(|key| argv.at(key.at)).collect();
            assert!(!keys.is_empty() && keys.iter().all(|key| [&b"e"[..], b"q"].contains(key)), "{call}");
        }
    }
}
