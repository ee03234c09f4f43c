//! Asking for changes and waiting for them: CFG.POLL.

use super::rows::{READS, spec, store};
use super::{next_number, put_field};
use crate::command::args::Words;
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::command::ground::now_ms;
use crate::command::spec::{Acl, Arg, BeginSearch, FindKeys, Flags, KeyFlags, KeySpec};
use crate::command::table::Row;
use crate::registry::observers::{PollEntry, Standing, put_event};
use crate::registry::{check_path, check_prefix};
use crate::server::commands::row_parts::{int, option, text};
use crate::server::{Server, ServerCx, ServerFn};
use weir_structs::tree::Span;

/// One call asks for at most so many paths.
const ENTRIES_MAX: u64 = 1024;
/// Waiting lasts at most so many ms.
const BLOCK_MS_MAX: u64 = 600_000;
/// Events of one store in a reply, unless the caller says how many,
const COUNT: usize = 1000;
/// which may be as many.
const COUNT_MAX: u64 = 100_000;

const HOW: &[Arg] = &[Arg::word("prefix", "PREFIX"), Arg::word("exact", "EXACT")];
const ENTRY: &[Arg] = &[store(), text("path"), Arg::one_of("how", HOW), int("revision"), int("epoch")];

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[Row::new(
    spec("cfg.poll", -8, READS.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS), Acl::CFGREAD)
        .keys(&[KeySpec {
            flags: KeyFlags::RO.union(KeyFlags::ACCESS).union(KeyFlags::VARIABLE_FLAGS),
            begin: BeginSearch::Keyword("STORES", 1),
            find: FindKeys::KeyNum { count_at: 0, first: 1, step: 5 },
            notes: "",
        }])
        .tips(&["nondeterministic_output"])
        .doc(
            "O(M), M being the changes of the stores since the revisions named; while it waits, nothing.",
            "Returns changes of paths in stores since a revision of each, and waits for some if it is told to.",
        )
        .args(&[
            option(int("block-milliseconds"), "BLOCK"),
            option(int("count"), "COUNT"),
            option(int("jitter-milliseconds"), "JITTER"),
            Arg::block("stores", &[int("numstores"), Arg::block("store", ENTRY).multiple()]).token("STORES"),
        ]),
    poll_command,
)];

/// Options of CFG.POLL.
#[derive(Debug)]
struct PollOptions<'a> {
    block_ms: Option<u64>,
    count: usize,
    jitter_ms: u64,
    /// By store, each store's in the order in which they were named.
    entries: Vec<PollEntry<'a>>,
}

impl<'a> PollOptions<'a> {
    fn parse(mut words: Words<'a>) -> Result<PollOptions<'a>, Error> {
        let mut options = PollOptions { block_ms: None, count: COUNT, jitter_ms: 0, entries: Vec::new() };
        while !words.accept("STORES") {
            if words.accept("BLOCK") {
                let ms = next_number(&mut words)?;
                if ms > BLOCK_MS_MAX {
                    return Err(Error::CFG_BLOCK_TOO_LONG);
                }
                options.block_ms = Some(ms);
            } else if words.accept("COUNT") {
                let count = next_number(&mut words)?.clamp(1, COUNT_MAX);
                options.count = usize::try_from(count).unwrap_or(COUNT);
            } else if words.accept("JITTER") {
                options.jitter_ms = next_number(&mut words)?.min(BLOCK_MS_MAX);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let count = next_number(&mut words)?;
        if count == 0 {
            return Err(Error::SYNTAX);
        }
        if count > ENTRIES_MAX {
            return Err(Error::CFG_TOO_MANY_POLLED);
        }
        for _ in 0..count {
            let (store, path) = (words.expect()?, words.expect()?);
            let span = if words.accept("PREFIX") {
                check_prefix(path)?;
                Span::Prefix(path)
            } else if words.accept("EXACT") {
                check_path(path)?;
                Span::One(path)
            } else {
                return Err(Error::SYNTAX);
            };
            let (from, epoch) = (next_number(&mut words)?, next_number(&mut words)?);
            options.entries.push(PollEntry { store, span, from, epoch });
        }
        if words.left() > 0 {
            return Err(Error::SYNTAX);
        }
        options.entries.sort_by_key(|entry| entry.store);
        Ok(options)
    }
}

fn poll_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let options = PollOptions::parse(cx.words(1))?;
    let (client, db) = (cx.client().id.0, cx.client().db);
    let null: &[u8] = if cx.reply.is_resp3() { b"_\r\n" } else { b"$-1\r\n" };
    let mark = cx.reply.output().mark();
    let answers = cx.reply.deferred_map();
    let mut answered = 0;
    for entries in options.entries.chunk_by(|a, b| a.store == b.store) {
        let name = entries.first().map_or(&b""[..], |entry| entry.store);
        cx.server.await_durable(cx.slot, name);
        let ServerCx { server, reply, .. } = &mut *cx;
        let Server { registry, store, .. } = &mut **server;
        let polled = registry.poll(store, db, client, entries, options.count)?;
        let Some(polled) = polled else { continue };
        answered += 1;
        reply.bulk(name);
        reply.map(3);
        put_field(reply, "epoch", polled.epoch);
        put_field(reply, "revision", polled.revision);
        reply.text("events");
        reply.array(polled.events.len());
        for (revision, event) in polled.events {
            put_event(reply.output().bytes_mut(), &event.path, event.after.as_ref(), revision, None, null);
        }
    }
    if answered > 0 {
        cx.reply.close(answers, answered);
        return Ok(());
    }
    cx.reply.output().truncate(mark);
    let Some(block_ms) = options.block_ms.filter(|_| cx.server.effects.may_block) else {
        cx.reply.null();
        return Ok(());
    };
    let Server { registry, store, effects, .. } = &mut *cx.server;
    let standing = |entry: &PollEntry<'_>| registry.standing(store, db, entry.store);
    let standings: Vec<Standing> = options.entries.iter().map(standing).collect::<Result<_, Error>>()?;
    registry.observers.wait_in_poll(client, db, &options.entries, &standings, now_ms(store))?;
    // Who came together does not come back together.
    let longest_ms = if block_ms == 0 { BLOCK_MS_MAX } else { block_ms };
    let wait_ms = longest_ms - store.random_u64() % (options.jitter_ms.min(longest_ms) + 1);
    let until_ms = store.now_ms().saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    effects.block = Some(Box::new(Block::without_keys(Awaited::Change, Some(until_ms), TimeoutReply::Null)));
    Ok(())
}
