//! Messages as replies and as frames.

use super::put_name;
use crate::broker::Published;
use crate::command::reply::Reply;
use weir_structs::number::format_u64;
use weir_structs::queue::{Message, Wait};

/// Fields of a message besides its id and its body.
const META_FIELDS: usize = 10;

/// A message as a map of everything that is known of it. Nothing, if its body is elsewhere and cannot be read, which has been
/// said then: whether there was anything.
pub(super) fn put_message(reply: &mut Reply<'_>, message: &Message<'_>) -> bool {
    let Ok(body) = message.parcel.body(Wait::UntilRead) else { return false };
    reply.map(2 + META_FIELDS + usize::from(has_deaths(message)));
    reply.text("id");
    reply.bulk(&message.id.text());
    reply.text("body");
    reply.bulk(&body);
    put_fields(reply, message);
    true
}

/// What is known of a message besides its id and its body, as a map.
pub(in crate::server) fn put_meta(reply: &mut Reply<'_>, message: &Message<'_>) {
    reply.map(META_FIELDS + usize::from(has_deaths(message)));
    put_fields(reply, message);
}

/// What names a message and this hand-out of it.
pub(in crate::server) fn receipt(message: &Message<'_>) -> Vec<u8> {
    [&message.id.text()[..], b"@", &format_u64(u64::from(message.acquired))].concat()
}

fn has_deaths(message: &Message<'_>) -> bool {
    message.story.is_some_and(|story| !story.deaths.is_empty())
}

fn put_fields(reply: &mut Reply<'_>, message: &Message<'_>) {
    reply.text("rkey");
    reply.bulk(message.rkey());
    reply.text("exchange");
    reply.bulk(message.exchange());
    reply.text("redelivered");
    reply.boolean(message.redelivered);
    reply.text("acquired");
    reply.int(i64::from(message.acquired));
    reply.text("deliveries");
    reply.int(i64::from(message.deliveries));
    reply.text("ts");
    put_ms(reply, message.parcel.ts_ms());
    reply.text("expires-at");
    put_optional(reply, message.expires_ms);
    reply.text("priority");
    reply.int(i64::from(message.priority));
    reply.text("group");
    put_name(reply, message.parcel.group());
    reply.text("headers");
    let special = [("reply-to", message.parcel.reply_to()), ("correlation-id", message.parcel.correlation())];
    let special = special.into_iter().filter_map(|(name, value)| Some((name, value?)));
    reply.map(message.parcel.headers().count() + special.clone().count());
    for (name, value) in message.parcel.headers() {
        reply.bulk(name);
        reply.bulk(value);
    }
    for (name, value) in special {
        reply.text(name);
        reply.bulk(value);
    }
    if let Some(story) = message.story.filter(|story| !story.deaths.is_empty()) {
        reply.text("deaths");
        reply.array(story.deaths.len());
        for death in &story.deaths {
            reply.map(7 + usize::from(death.note.is_some()));
            reply.text("queue");
            reply.bulk(&death.queue);
            reply.text("reason");
            reply.text(death.reason.text());
            reply.text("count");
            put_ms(reply, death.count);
            reply.text("time");
            put_ms(reply, death.time_ms);
            reply.text("exchange");
            reply.bulk(&death.exchange);
            reply.text("routing-keys");
            reply.array(death.rkeys.len());
            for key in &death.rkeys {
                reply.bulk(key);
            }
            reply.text("original-expiration");
            put_optional(reply, death.original_ttl_ms);
            if let Some(note) = &death.note {
                reply.text("note");
                reply.bulk(note);
            }
        }
    }
}

/// A number that fits into an integer of the protocol, or the highest that does.
pub(super) fn put_ms(reply: &mut Reply<'_>, number: u64) {
    reply.int(i64::try_from(number).unwrap_or(i64::MAX));
}

/// What became of a publication.
pub(in crate::server) fn put_published(reply: &mut Reply<'_>, published: &Published, with_ids: bool) {
    if !with_ids {
        return reply.count(published.queues.len() + published.others);
    }
    reply.map(published.queues.len());
    for (queue, id) in &published.queues {
        reply.bulk(queue);
        reply.bulk(&id.text());
    }
}

/// The same, or nothing.
pub(super) fn put_optional(reply: &mut Reply<'_>, number: Option<u64>) {
    match number {
        Some(number) => put_ms(reply, number),
        None => reply.null(),
    }
}
