//! CLIENT TRACKING and what belongs to it: the rows are among those of CLIENT.

use crate::command::args::is;
use crate::command::error::Error;
use crate::server::ServerCx;
use crate::server::client::ClientId;
use crate::tracking::{Mode, Refused, Request};

pub(super) fn client_tracking_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut request = Request::default();
    let mut words = cx.words(3);
    while let Some(word) = words.next() {
        if is(word, "REDIRECT") {
            if request.redirect.is_some() {
                return Err(Error::fixed("ERR A client can only redirect to a single other client"));
            }
            let id = words.expect_int()?;
            // It may be gone when a message is to be sent, but one that never was is a mistake.
            let there = u64::try_from(id).ok().filter(|&id| cx.server.clients.slot_of(ClientId(id)).is_some());
            let gone = Error::fixed("ERR The client ID you want redirect to does not exist");
            request.redirect = Some(there.ok_or(gone)?);
        } else if is(word, "BCAST") {
            request.mode |= Mode::BCAST;
        } else if is(word, "OPTIN") {
            request.mode |= Mode::OPTIN;
        } else if is(word, "OPTOUT") {
            request.mode |= Mode::OPTOUT;
        } else if is(word, "NOLOOP") {
            request.mode |= Mode::NOLOOP;
        } else if is(word, "PREFIX") {
            request.prefixes.push(words.expect()?);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if is(cx.arg(2), "ON") {
        cx.server.track(cx.slot, &request).map_err(refusal)?;
    } else if is(cx.arg(2), "OFF") {
        cx.server.stop_tracking(cx.slot);
    } else {
        return Err(Error::SYNTAX);
    }
    cx.reply.ok();
    Ok(())
}

fn refusal(refused: Refused) -> Error {
    // As text, a prefix ends where C would end it.
    let shown =
        |prefix: &[u8]| String::from_utf8_lossy(prefix.split(|&b| b == 0).next().unwrap_or_default()).into_owned();
    let overlap = |a: &[u8], which: &str, b: &[u8]| {
        let (a, b) = (shown(a), shown(b));
        Error::new(format!(
            "ERR Prefix '{a}' overlaps with {which} prefix '{b}'. Prefixes for a single client must not overlap."
        ))
    };
    match refused {
        Refused::PrefixWithoutBcast => Error::fixed("ERR PREFIX option requires BCAST mode to be enabled"),
        Refused::BcastSwitched => Error::fixed(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ),
        Refused::OptionWithBcast => Error::fixed("ERR OPTIN and OPTOUT are not compatible with BCAST"),
        Refused::OptinAndOptout => Error::fixed("ERR You can't specify both OPTIN mode and OPTOUT mode"),
        Refused::OptionSwitched => Error::fixed(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ),
        Refused::OverlapsExisting(a, b) => overlap(&a, "an existing", &b),
        Refused::OverlapsGiven(a, b) => overlap(&a, "another provided", &b),
    }
}

pub(super) fn client_caching_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mode = cx.client().tracker.as_ref().map(|tracker| tracker.mode).ok_or(Error::fixed(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))?;
    if is(cx.arg(2), "YES") {
        if !mode.contains(Mode::OPTIN) {
            return Err(Error::fixed("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."));
        }
    } else if is(cx.arg(2), "NO") {
        if !mode.contains(Mode::OPTOUT) {
            return Err(Error::fixed("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."));
        }
    } else {
        return Err(Error::SYNTAX);
    }
    cx.client().set_caching(true);
    cx.reply.ok();
    Ok(())
}

/// Number of the client that gets the messages: 0 for the same one, -1 without tracking.
pub(super) fn redirection(client: &crate::server::client::Client) -> i64 {
    match &client.tracker {
        None => -1,
        Some(tracker) => tracker.redirect.map_or(0, |id| i64::try_from(id).unwrap_or(i64::MAX)),
    }
}

pub(super) fn client_getredir_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let to = redirection(cx.client());
    cx.reply.int(to);
    Ok(())
}

pub(super) fn client_trackinginfo_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let to = redirection(cx.client());
    let tracker = cx.client().tracker.clone();
    let mode = tracker.as_ref().map(|tracker| tracker.mode);
    let has = |flag: Mode| mode.is_some_and(|mode| mode.contains(flag));
    let words = [
        (mode.is_none(), "off"),
        (mode.is_some(), "on"),
        (has(Mode::BCAST), "bcast"),
        (has(Mode::OPTIN), "optin"),
        (has(Mode::OPTIN | Mode::CACHING), "caching-yes"),
        (has(Mode::OPTOUT), "optout"),
        (has(Mode::OPTOUT | Mode::CACHING), "caching-no"),
        (has(Mode::NOLOOP), "noloop"),
        (has(Mode::BROKEN_REDIRECT), "broken_redirect"),
    ];
    let words: Vec<&str> = words.into_iter().filter_map(|(shown, word)| shown.then_some(word)).collect();
    cx.reply.map(3);
    cx.reply.text("flags");
    cx.reply.set(words.len());
    for word in words {
        cx.reply.text(word);
    }
    cx.reply.text("redirect");
    cx.reply.int(to);
    cx.reply.text("prefixes");
    let prefixes = tracker.as_ref().map(|tracker| tracker.prefixes());
    cx.reply.array(prefixes.as_ref().map_or(0, ExactSizeIterator::len));
    for prefix in prefixes.into_iter().flatten() {
        cx.reply.bulk(prefix);
    }
    Ok(())
}
