//! A position as a number: how far along longitude and latitude it is, each in 26 bits, interleaved.
//!
//! ```text
//!  bit 51   50   49   48  ...  1    0
//!      lon  lat  lon  lat      lon  lat
//! ```
//!
//! So the leading bits name a cell of a grid that gets finer with each pair, and a cell's positions are one range of
//! numbers. 52 bits are exact in a score.

use super::{LATITUDE_MAX, LONGITUDE_MAX, Position};

/// Halvings of each coordinate in a score.
pub(super) const STEPS_MAX: u32 = 26;
const LONGITUDE_LANES: u64 = 0xAAAA_AAAA_AAAA_AAAA;
const LATITUDE_LANES: u64 = 0x5555_5555_5555_5555;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A position as the integer that its score is.
pub fn encode(position: Position) -> u64 {
    Cell::around(position, STEPS_MAX).bits
}

/// The middle of the smallest cell that a score's bits name.
pub fn decode(bits: u64) -> Position {
    let area = Cell { bits, step: STEPS_MAX }.area();
    let middle = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
    Position { longitude: middle(area.longitude, LONGITUDE_MAX), latitude: middle(area.latitude, LATITUDE_MAX) }
}

/// The bits of any score. One that no position has, for clients may store what they like, becomes what a processor of the
/// x86 family makes of it, as on the servers that this one shall agree with.
pub fn bits_of_score(score: f64) -> u64 {
    const TOP_BIT: u64 = 1 << 63;
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "out of range is told apart before")]
    let signed = |score: f64| if (-LIMIT..LIMIT).contains(&score) { score as i64 as u64 } else { TOP_BIT };
    if score < LIMIT { signed(score) } else { signed(score - LIMIT) ^ TOP_BIT }
}

/// A position as a geohash of 11 characters, as on other maps: over all 90 degrees of latitude. The last is always `0`,
/// for 52 bits are ten characters and a bit.
pub fn text(position: Position) -> [u8; 11] {
    let bits = interleave(part(position.longitude, LONGITUDE_MAX, STEPS_MAX), part(position.latitude, 90.0, STEPS_MAX));
    let mut text = [ALPHABET[0]; 11];
    for (at, character) in text[..10].iter_mut().enumerate() {
        *character = ALPHABET[(bits >> (47 - 5 * at) & 31) as usize];
    }
    text
}

/// A cell of the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    bits: u64,
    step: u32,
}

/// What a cell covers, in degrees from and to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) longitude: (f64, f64),
    pub(super) latitude: (f64, f64),
}

impl Cell {
    /// The cell that holds a position, after so many halvings, 1 to 26.
    pub(super) fn around(position: Position, step: u32) -> Cell {
        let longitude = part(position.longitude, LONGITUDE_MAX, step);
        let latitude = part(position.latitude, LATITUDE_MAX, step);
        Cell { bits: interleave(longitude, latitude), step }
    }

    /// The scores of its positions: the first, and the first that is not in it any more.
    pub fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.step);
        #[expect(clippy::cast_precision_loss, reason = "52 bits, and one more at the eastern end")]
        let score = |bits: u64| (bits << shift) as f64;
        (score(self.bits), score(self.bits + 1))
    }

    /// Its quarters in the order of their scores; `None` of the smallest cell.
    pub fn quarters(self) -> Option<[Cell; 4]> {
        let step = self.step + 1;
        (step <= STEPS_MAX).then(|| [0, 1, 2, 3].map(|quarter| Cell { bits: self.bits << 2 | quarter, step }))
    }

    /// The cell so many cells to the east and north, around the edges of the map.
    pub(super) fn moved(self, east: i8, north: i8) -> Cell {
        let lanes = u64::MAX >> (64 - 2 * self.step);
        let shifted = |mine: u64, others: u64, by: i8| {
            // With every other lane set a carry passes through it, and without any a borrow does.
            let one = (others & lanes) + 1;
            match by {
                0 => self.bits & mine,
                1.. => (self.bits & mine).wrapping_add(one) & mine & lanes,
                _ => (self.bits & mine | others & lanes).wrapping_sub(one) & mine & lanes,
            }
        };
        let longitude = {
            // The lowest lane is a latitude's: one step of longitude is two of the number.
            shifted(LONGITUDE_LANES, LATITUDE_LANES, east)
        };
        let latitude = {
            let lane = self.bits & LATITUDE_LANES;
            match north {
                0 => lane,
                1.. => (lane | LONGITUDE_LANES & lanes).wrapping_add(1) & LATITUDE_LANES & lanes,
                _ => lane.wrapping_sub(1) & LATITUDE_LANES & lanes,
            }
        };
        Cell { bits: longitude | latitude, step: self.step }
    }

    pub(super) fn area(self) -> Area {
        let along = |part: u32, max: f64| {
            let scale = max - -max;
            #[expect(clippy::cast_precision_loss, reason = "at most 2^26")]
            let edge = |part: f64| -max + part / (1_u64 << self.step) as f64 * scale;
            (edge(f64::from(part)), edge(f64::from(part) + 1.0))
        };
        Area {
            longitude: along(deinterleave(self.bits >> 1), LONGITUDE_MAX),
            latitude: along(deinterleave(self.bits), LATITUDE_MAX),
        }
    }
}

/// How far along from `-max` to `max` a coordinate is, in parts of which there are 2^`step`.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^26")]
fn part(coordinate: f64, max: f64, step: u32) -> u32 {
    let share = (coordinate - -max) / (max - -max);
    (share * (1_u64 << step) as f64) as u32
}

fn interleave(longitude: u32, latitude: u32) -> u64 {
    spread(latitude) | spread(longitude) << 1
}

/// Moves bit n to bit 2n.
fn spread(bits: u32) -> u64 {
    let mut spread = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_LANES),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

/// Moves bit 2n to bit n; the others are dropped.
#[expect(clippy::cast_possible_truncation, reason = "32 bits are left")]
fn deinterleave(bits: u64) -> u32 {
    let mut gathered = bits & LATITUDE_LANES;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF),
    ] {
        gathered = (gathered | gathered >> shift) & mask;
    }
    gathered as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn at(longitude: f64, latitude: f64) -> Position {
        Position::new(longitude, latitude).expect("a position on the map")
    }

    #[test]
    fn scores_are_those_of_redis() {
        for (longitude, latitude, score, geohash) in [
            (13.361389, 38.115556, 3_479_099_956_230_698, "sqc8b49rny0"),
            (15.087269, 37.502669, 3_479_447_370_796_909, "sqdtr74hyu0"),
            (180.0, LATITUDE_MAX, 13_510_798_882_111_488, "bp05b5048p0"),
            (-180.0, -LATITUDE_MAX, 0, "00bh0hbj200"),
            (180.0, -LATITUDE_MAX, 9_007_199_254_740_992, "00bh0hbj200"),
            (-180.0, LATITUDE_MAX, 4_503_599_627_370_496, "bp05b5048p0"),
            (0.0, 0.0, 3_377_699_720_527_872, "s0000000000"),
        ] {
            let bits = encode(at(longitude, latitude));
            assert_eq!(bits, score, "{longitude} {latitude}");
            assert_eq!(std::str::from_utf8(&text(decode(bits))), Ok(geohash));
        }
    }

    #[test]
    fn any_score_has_bits() {
        for (score, bits) in [
            (1.5, 1),
            (-5.0, u64::MAX - 4),
            (9e15, 9_000_000_000_000_000),
            (f64::INFINITY, 0),
            (f64::NEG_INFINITY, 1 << 63),
            (1e300, 0),
            (1.2e19, 12_000_000_000_000_000_000),
        ] {
            assert_eq!(bits_of_score(score), bits, "{score}");
            let position = decode(bits_of_score(score));
            assert!(Position::new(position.longitude, position.latitude).is_some());
        }
    }

    #[test]
    fn decoding_is_within_half_a_cell() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            let (x, y) = (rng.next() as f64 / u64::MAX as f64, rng.next() as f64 / u64::MAX as f64);
            let position = at((x - 0.5) * 360.0, (y - 0.5) * 2.0 * LATITUDE_MAX);
            let decoded = decode(encode(position));
            assert!((decoded.longitude - position.longitude).abs() <= 180.0 / (1 << 26) as f64 + 1e-12);
            assert!((decoded.latitude - position.latitude).abs() <= LATITUDE_MAX / (1 << 26) as f64 + 1e-12);
            let cell = Cell::around(position, 1 + rng.below(26) as u32);
            let (low, high) = cell.scores();
            assert!((low..high).contains(&(encode(position) as f64)));
            if let Some(quarters) = cell.quarters() {
                assert_eq!(quarters[0].scores().0, low);
                assert_eq!(quarters[3].scores().1, high);
                assert!(quarters.windows(2).all(|pair| pair[0].scores().1 == pair[1].scores().0));
            }
        }
    }

    #[test]
    fn moving_goes_by_one_and_around_the_map() {
        let mut rng = Rng::new(2);
        for _ in 0..10_000 {
            let step = 1 + rng.below(26) as u32;
            let side = 1_u64 << step;
            let (x, y) = (rng.below(side as usize) as u64, rng.below(side as usize) as u64);
            let cell = |x: u64, y: u64| Cell { bits: interleave((x % side) as u32, (y % side) as u32), step };
            for (east, north) in [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)] {
                let to = |from: u64, by: i8| from.wrapping_add_signed(i64::from(by)).wrapping_add(side);
                assert_eq!(cell(x, y).moved(east, north), cell(to(x, east), to(y, north)));
            }
        }
    }
}
