//! Commands on geospatial indexes: sorted sets whose scores are positions (`weir_structs::geo`).
//!
//! GEOADD is ZADD with scores that it computes, and nothing here knows more of a sorted set than its face.

pub mod index;
mod query;
pub mod search;

use super::args;
use super::error::Error;
use super::reply::Reply;
use weir_structs::geo::{self, Position, Unit};

/// Two arguments as a position on the map.
fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position, Error> {
    let (longitude, latitude) = (args::float(longitude)?, args::float(latitude)?);
    Position::new(longitude, latitude).ok_or_else(|| Error::invalid_position(longitude, latitude))
}

fn unit(word: &[u8]) -> Result<Unit, Error> {
    Unit::of(word).ok_or(Error::GEO_UNIT)
}

/// The position that a member's score stands for.
fn position_of(score: f64) -> Position {
    geo::decode(geo::bits_of_score(score))
}

/// Replies a length with four decimals.
fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most half of the equator, in feet")]
    let parts = (distance * 10_000.0).round_ties_even() as u64;
    reply.text(&format!("{}.{:04}", parts / 10_000, parts % 10_000));
}

/// Replies longitude and latitude with up to 17 decimals.
fn reply_position(reply: &mut Reply<'_>, position: Position) {
    reply.array(2);
    for degrees in [position.longitude, position.latitude] {
        let text = format!("{degrees:.17}");
        let digits = text.trim_end_matches('0').trim_end_matches('.');
        reply.decimal(digits.as_bytes());
    }
}
