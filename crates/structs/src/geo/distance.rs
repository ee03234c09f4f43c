//! Distances on a sphere, by the haversine formula.

use super::Position;

/// Of the sphere, in metres.
pub(super) const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
const RADIANS_A_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// In what clients give and get lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Metres.
    Metres,
    /// Kilometres.
    Kilometres,
    /// Feet.
    Feet,
    /// Miles.
    Miles,
}

impl Unit {
    /// Of its abbreviation, in upper or lower case.
    pub fn of(word: &[u8]) -> Option<Unit> {
        let known = [("m", Unit::Metres), ("km", Unit::Kilometres), ("ft", Unit::Feet), ("mi", Unit::Miles)];
        known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, unit)| *unit)
    }

    /// Its length in metres.
    pub fn metres(self) -> f64 {
        match self {
            Unit::Metres => 1.0,
            Unit::Kilometres => 1000.0,
            Unit::Feet => 0.3048,
            Unit::Miles => 1609.34,
        }
    }
}

pub(super) fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_A_DEGREE
}

pub(super) fn degrees(radians: f64) -> f64 {
    radians / RADIANS_A_DEGREE
}

/// How far two positions are apart, in metres.
pub fn distance_m(a: Position, b: Position) -> f64 {
    Origin::new(a).distance_m(b)
}

/// How far two latitudes are apart, in metres.
pub(super) fn latitude_distance_m(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_M * (radians(b) - radians(a)).abs()
}

/// A position from which many distances are measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    latitude: f64,
    longitude_radians: f64,
    latitude_radians: f64,
    latitude_cos: f64,
}

impl Origin {
    pub(super) fn new(position: Position) -> Origin {
        let latitude_radians = radians(position.latitude);
        Origin {
            latitude: position.latitude,
            longitude_radians: radians(position.longitude),
            latitude_radians,
            latitude_cos: latitude_radians.cos(),
        }
    }

    pub(super) fn distance_m(&self, to: Position) -> f64 {
        let v = ((radians(to.longitude) - self.longitude_radians) / 2.0).sin();
        if v == 0.0 {
            return latitude_distance_m(self.latitude, to.latitude);
        }
        let to_latitude = radians(to.latitude);
        let u = ((to_latitude - self.latitude_radians) / 2.0).sin();
        let a = u * u + self.latitude_cos * to_latitude.cos() * v * v;
        // On opposite sides of the Earth rounding may come to more than one.
        2.0 * EARTH_RADIUS_M * a.min(1.0).sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let palermo = super::super::decode(3_479_099_956_230_698);
        let catania = super::super::decode(3_479_447_370_796_909);
        let distance = distance_m(palermo, catania);
        assert_eq!(format!("{distance:.4}"), "166274.1516");
        assert_eq!(format!("{:.4}", distance / Unit::Miles.metres()), "103.3182");
        assert_eq!(format!("{:.4}", distance / Unit::Feet.metres()), "545518.8700");
        assert_eq!(distance_m(palermo, palermo), 0.0);
        let north = Position { latitude: palermo.latitude + 1.0, ..palermo };
        assert!((distance_m(palermo, north) - 111_226.3).abs() < 1.0);
    }

    #[test]
    fn units_are_known_in_either_case() {
        assert_eq!(Unit::of(b"KM"), Some(Unit::Kilometres));
        assert_eq!(Unit::of(b"yd"), None);
        assert_eq!(Unit::of(b""), None);
    }
}
