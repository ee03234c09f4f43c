//! Positions on Earth as scores of a sorted set, and what lies near one.
//!
//! ```text
//!  geohash    a position as 52 bits, in steps of which each halves longitude and latitude once more
//!  distance   how far two positions are apart
//!  shape      circles, boxes and polygons: what is inside, and which cells of the grid may hold it
//! ```
//!
//! Scores, distances, cells and their order are to the bit those of Redis and Valkey: indexes move between servers, and
//! without a sort clients see the cells' order. Every formula here therefore keeps the order of operations that it has
//! there; none may be made simpler in a way that rounds differently.

mod distance;
mod geohash;
mod shape;

pub use distance::{Unit, distance_m};
pub use geohash::{Cell, bits_of_score, decode, encode, text};
pub use shape::{POLYGON_POINTS_MIN, Shape, Touch};

/// Degrees of longitude on either side of the meridian.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Degrees of latitude on either side of the equator: where a Mercator map becomes a square.
pub const LATITUDE_MAX: f64 = 85.051_128_78;

/// A position, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Position {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl Position {
    /// A position; `None` outside of what can be stored, and for what is no number.
    pub fn new(longitude: f64, latitude: f64) -> Option<Position> {
        let inside = longitude.abs() <= LONGITUDE_MAX && latitude.abs() <= LATITUDE_MAX;
        inside.then_some(Position { longitude, latitude })
    }
}
