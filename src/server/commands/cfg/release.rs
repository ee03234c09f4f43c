//! Making drafts what everybody sees, and going back: CFG.PUBLISH, CFG.RELEASES, CFG.ROLLBACK.

use super::rows::{ADDS, CHANGED, READ, READS, spec, store};
use super::{next_number, put_field};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::spec::Acl;
use crate::command::table::Row;
use crate::registry::{Note, Origin, Published, check_path, publish, releases, roll_back};
use crate::server::commands::row_parts::{int, option, text};
use crate::server::{ServerCx, ServerFn};

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.publish", -3, ADDS, Acl::CFGPUBLISH)
            .keys(CHANGED)
            .doc(
                "O(D*log(N)+M), D being the drafts, N the paths of the store and M those of the namespace.",
                "Makes what is drafted for a namespace what everybody sees, or what those see whom a gray release is for.",
            )
            .args(&[
                store(),
                text("namespace"),
                option(text("comment"), "COMMENT"),
                option(text("operator"), "OPERATOR"),
                option(text("name"), "GRAY"),
            ]),
        publish_command,
    ),
    Row::new(
        spec("cfg.releases", -3, READS, Acl::CFGREAD)
            .keys(READ)
            .doc("O(log(N)+R), N being the paths of the store and R the releases returned.", "Lists the releases of a namespace, newest first.")
            .args(&[store(), text("namespace"), option(int("count"), "COUNT")]),
        releases_command,
    ),
    Row::new(
        spec("cfg.rollback", -5, ADDS, Acl::CFGPUBLISH)
            .keys(CHANGED)
            .doc(
                "O(M*log(N)), M being the paths of the namespace, now and then, and N those of the store.",
                "Makes a namespace what it was in a release, by a new revision and a new release.",
            )
            .args(&[
                store(),
                text("namespace"),
                int("release").token("TO"),
                option(text("comment"), "COMMENT"),
                option(text("operator"), "OPERATOR"),
            ]),
        rollback_command,
    ),
];

/// Takes the next option, if it is one of what is said of a release. Says whether it was.
fn take_note<'a>(note: &mut Note<'a>, words: &mut Words<'a>) -> Result<bool, Error> {
    if words.accept("COMMENT") {
        note.comment = words.expect()?;
    } else if words.accept("OPERATOR") {
        note.operator = words.expect()?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// What is said of a release, if nothing else follows. `user`: who makes it, if nobody else is said to.
pub(super) fn note<'a>(user: &'a [u8], mut words: Words<'a>) -> Result<Note<'a>, Error> {
    let mut note = Note { comment: b"", operator: user };
    while words.left() > 0 {
        if !take_note(&mut note, &mut words)? {
            return Err(Error::SYNTAX);
        }
    }
    Ok(note)
}

/// The name of the client's user.
pub(super) fn user(cx: &ServerCx<'_>) -> Vec<u8> {
    cx.server.users.get(cx.server.user_of(cx.slot)).name().to_vec()
}

/// The reply of whatever makes a release.
pub(super) fn put_published(reply: &mut Reply<'_>, published: &Published) {
    reply.map(3);
    put_field(reply, "release", published.number);
    put_field(reply, "revision", published.revision);
    reply.text("digest");
    reply.bulk(&published.digest);
}

fn publish_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(1), cx.arg(2));
    let user = user(cx);
    let (mut note, mut gray) = (Note { comment: b"", operator: &user }, None);
    let mut words = cx.words(3);
    while words.left() > 0 {
        if words.accept("GRAY") {
            gray = Some(words.expect()?);
        } else if !take_note(&mut note, &mut words)? {
            return Err(Error::SYNTAX);
        }
    }
    let published = cx.server.write_registry(cx.slot, name, |writer| publish(writer, namespace, gray, note))?;
    put_published(&mut cx.reply, &published);
    Ok(())
}

fn rollback_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(1), cx.arg(2));
    let user = user(cx);
    let mut words = cx.words(3);
    if !words.accept("TO") {
        return Err(Error::SYNTAX);
    }
    let to = if words.accept("-1") { None } else { Some(next_number(&mut words)?) };
    let note = note(&user, words)?;
    let published = cx.server.write_registry(cx.slot, name, |writer| roll_back(writer, namespace, to, note))?;
    put_published(&mut cx.reply, &published);
    Ok(())
}

fn releases_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(1), cx.arg(2));
    let (mut count, mut words) = (u64::MAX, cx.words(3));
    while words.left() > 0 {
        if !words.accept("COUNT") {
            return Err(Error::SYNTAX);
        }
        count = next_number(&mut words)?;
    }
    check_path(namespace)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, name)?;
    let listed = reply.deferred_array();
    let mut len = 0;
    for release in tree.into_iter().flat_map(|tree| releases(tree, namespace)).take(count) {
        len += 1;
        reply.map(7);
        put_field(reply, "release", release.number);
        put_field(reply, "revision", release.revision);
        put_field(reply, "time", release.time_ms);
        reply.text("digest");
        reply.bulk(&release.digest);
        reply.text("comment");
        reply.bulk(release.note.comment);
        reply.text("operator");
        reply.bulk(release.note.operator);
        reply.text("kind");
        match release.origin {
            Origin::Publish => reply.text("publish"),
            Origin::Gray(gray) => reply.bulk(&[b"gray ", gray].concat()),
            Origin::Promote(gray) => reply.bulk(&[b"promote ", gray].concat()),
            Origin::Rollback(number) => reply.text(&format!("rollback {number}")),
        }
    }
    reply.close(listed, len);
    Ok(())
}
