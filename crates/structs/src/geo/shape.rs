//! Circles, boxes and polygons: whether a position is inside, and which cells of the grid to look through.
//!
//! The grid's step is chosen so that the cell in the middle and its eight neighbours cover the shape:
//!
//! ```text
//!   NW | N | NE        looked through in the order  middle N S E W NE NW SE SW ,
//!   ---+---+---        without those that the shape's bounds do not touch
//!    W | o | E
//!   ---+---+---
//!   SW | S | SE
//! ```
//!
//! Inside a cell positions come in the order of their scores. A cell may be cut into quarters and those left out that lie
//! off the shape ([`Shape::touch`]): that changes neither what is found nor in which order.

use super::distance::{EARTH_RADIUS_M, Origin, degrees, latitude_distance_m, radians};
use super::geohash::{Cell, STEPS_MAX};
use super::{LATITUDE_MAX, LONGITUDE_MAX, Position};

/// The fewest corners of a polygon.
pub const POLYGON_POINTS_MIN: usize = 3;
/// Half of the equator on a Mercator map, in metres.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
/// By how many degrees bounds are widened before anything is left out because of them, against rounding.
const BOUNDS_MARGIN: f64 = 1e-6;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Shape {
    outline: Outline,
    center: Position,
    origin: Origin,
    bounds: Bounds,
    /// Wider than [`Shape::bounds`], and surely around everything inside; `None` where nothing is sure.
    sure_bounds: Option<Bounds>,
}

#[derive(Clone, Debug)]
enum Outline {
    Circle { radius_m: f64 },
    Rectangle { width_m: f64, height_m: f64 },
    Polygon { corners: Vec<Position> },
}

/// How much of a cell lies within a shape's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// Nothing: there is no need to look.
    Nothing,
    /// Some of it: cutting it into quarters may leave some out.
    Part,
    /// All of it, or who knows.
    Whole,
}

/// In degrees. By rounding and near the poles they may be off the map, or be no numbers.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

impl Shape {
    /// Everything within a distance, which is not negative.
    pub fn circle(center: Position, radius_m: f64) -> Shape {
        let bounds = Bounds::around(center, radius_m, radius_m);
        Shape::new(Outline::Circle { radius_m }, center, bounds)
    }

    /// A box as wide and high as said, both not negative, with its sides along longitudes and latitudes.
    pub fn rectangle(center: Position, width_m: f64, height_m: f64) -> Shape {
        let bounds = Bounds::around(center, width_m / 2.0, height_m / 2.0);
        Shape::new(Outline::Rectangle { width_m, height_m }, center, bounds)
    }

    /// A polygon, its sides straight on a map of degrees. `None` if it has fewer than three corners.
    pub fn polygon(corners: Vec<Position>) -> Option<Shape> {
        if corners.len() < POLYGON_POINTS_MIN {
            return None;
        }
        let center = middle_of(&corners);
        let mut bounds =
            Bounds { west: f64::INFINITY, south: f64::INFINITY, east: f64::NEG_INFINITY, north: f64::NEG_INFINITY };
        for corner in &corners {
            bounds.west = bounds.west.min(corner.longitude);
            bounds.east = bounds.east.max(corner.longitude);
            bounds.south = bounds.south.min(corner.latitude);
            bounds.north = bounds.north.max(corner.latitude);
        }
        Some(Shape::new(Outline::Polygon { corners }, center, bounds))
    }

    fn new(outline: Outline, center: Position, bounds: Bounds) -> Shape {
        let sure_bounds = match &outline {
            Outline::Polygon { .. } => Some(bounds.widened()),
            Outline::Circle { radius_m } => Bounds::of_circle(center, *radius_m),
            // A box's width is measured at each position's own latitude.
            Outline::Rectangle { width_m, height_m } => Bounds::of_rectangle(center, *width_m, *height_m),
        };
        Shape { outline, center, origin: Origin::new(center), bounds, sure_bounds }
    }

    /// How far a position is from the middle, in metres, if it is inside.
    #[inline]
    pub fn distance_m(&self, position: Position) -> Option<f64> {
        if self.sure_bounds.is_some_and(|bounds| !bounds.has(position)) {
            return None;
        }
        match &self.outline {
            Outline::Circle { radius_m } => {
                let distance = self.origin.distance_m(position);
                (distance <= *radius_m).then_some(distance)
            }
            Outline::Rectangle { width_m, height_m } => {
                let too_far = |distance: f64, side: f64| distance > side / 2.0;
                if too_far(latitude_distance_m(position.latitude, self.center.latitude), *height_m) {
                    return None;
                }
                let aside = Position { longitude: self.center.longitude, latitude: position.latitude };
                if too_far(Origin::new(position).distance_m(aside), *width_m) {
                    return None;
                }
                Some(self.origin.distance_m(position))
            }
            Outline::Polygon { corners } => is_inside(corners, position).then(|| self.origin.distance_m(position)),
        }
    }

    /// How much of a cell what is inside may lie in.
    pub fn touch(&self, cell: Cell) -> Touch {
        let Some(bounds) = self.sure_bounds else { return Touch::Whole };
        let area = cell.area();
        let (west, east) = area.longitude;
        let (south, north) = area.latitude;
        if west > bounds.east || east < bounds.west || south > bounds.north || north < bounds.south {
            Touch::Nothing
        } else if west >= bounds.west && east <= bounds.east && south >= bounds.south && north <= bounds.north {
            Touch::Whole
        } else {
            Touch::Part
        }
    }

    /// The cells to look through, in order; together they hold everything inside.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        let bounds = self.bounds;
        let mut step = steps_for(self.reach_m(), self.center.latitude);
        let center = match self.outline {
            // A polygon around a pole has its middle off the map.
            Outline::Polygon { .. } => self.center.inland(),
            _ => self.center,
        };
        let mut middle = Cell::around(center, step);
        let north_ends = middle.moved(0, 1).area().latitude.1 < bounds.north;
        let south_ends = middle.moved(0, -1).area().latitude.0 > bounds.south;
        let east_ends = middle.moved(1, 0).area().longitude.1 < bounds.east;
        let west_ends = middle.moved(-1, 0).area().longitude.0 > bounds.west;
        if step > 1 && (north_ends || south_ends || east_ends || west_ends) {
            // Near a cell's edge its neighbour on that side may be too small.
            step -= 1;
            middle = Cell::around(center, step);
        }
        // The middle of a polygon that goes far around the Earth may be on its other side.
        while step > 1 && matches!(self.outline, Outline::Polygon { .. }) && !reaches(middle, bounds) {
            step -= 1;
            middle = Cell::around(center, step);
        }
        let area = middle.area();
        let is_left_out = move |(east, north): (i8, i8)| {
            step >= 2
                && (north < 0 && area.latitude.0 < bounds.south
                    || north > 0 && area.latitude.1 > bounds.north
                    || east < 0 && area.longitude.0 < bounds.west
                    || east > 0 && area.longitude.1 > bounds.east)
        };
        let mut last = None;
        [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)].into_iter().filter_map(
            move |way: (i8, i8)| {
                let cell = middle.moved(way.0, way.1);
                // On a coarse grid neighbours on both sides are the same.
                if is_left_out(way) || last == Some(cell) {
                    return None;
                }
                last = (way != (0, 0)).then_some(cell);
                Some(cell)
            },
        )
    }

    /// How far from the middle the furthest position inside can be, in metres.
    fn reach_m(&self) -> f64 {
        match &self.outline {
            Outline::Circle { radius_m } => *radius_m,
            Outline::Rectangle { width_m, height_m } => {
                ((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0)).sqrt()
            }
            Outline::Polygon { .. } => {
                let Bounds { west, south, east, north } = self.bounds;
                let corners = [(west, south), (west, north), (east, south), (east, north)];
                let distance = |(longitude, latitude)| self.origin.distance_m(Position { longitude, latitude });
                corners.map(distance).into_iter().fold(0.0, f64::max)
            }
        }
    }
}

/// Whether a cell and its neighbours cover some bounds, without going around the map.
fn reaches(middle: Cell, bounds: Bounds) -> bool {
    let covers = |(low, high): (f64, f64), from: f64, to: f64| {
        let size = high - low;
        low - size <= from && high + size >= to
    };
    let area = middle.area();
    covers(area.longitude, bounds.west, bounds.east) && covers(area.latitude, bounds.south, bounds.north)
}

/// The mean of some positions, as points of a ball: their centre of gravity, seen from the ball's.
fn middle_of(positions: &[Position]) -> Position {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for position in positions {
        let (longitude, latitude) = (radians(position.longitude), radians(position.latitude));
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    #[expect(clippy::cast_precision_loss, reason = "a command has no 2^52 arguments")]
    let count = positions.len() as f64;
    (x, y, z) = (x / count, y / count, z / count);
    Position { longitude: degrees(y.atan2(x)), latitude: degrees(z.atan2((x * x + y * y).sqrt())) }
}

/// How fine the grid may be for nine cells to cover so many metres around a latitude.
fn steps_for(reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return STEPS_MAX;
    }
    let mut step = 1_i32;
    let mut doubled = reach_m;
    while doubled < MERCATOR_MAX_M {
        doubled *= 2.0;
        step += 1;
    }
    step -= 2;
    // Cells get narrower towards the poles.
    let latitude = latitude.abs();
    step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
    step.clamp(1, STEPS_MAX as i32).unsigned_abs()
}

impl Position {
    /// The nearest position that is on the map and not on its edge.
    fn inland(self) -> Position {
        let within = |degrees: f64, max: f64| degrees.clamp(-max, max - BOUNDS_MARGIN);
        Position { longitude: within(self.longitude, LONGITUDE_MAX), latitude: within(self.latitude, LATITUDE_MAX) }
    }
}

impl Bounds {
    fn around(center: Position, half_width_m: f64, half_height_m: f64) -> Bounds {
        let up = degrees(half_height_m / EARTH_RADIUS_M);
        let aside = |latitude: f64| degrees(half_width_m / EARTH_RADIUS_M / radians(latitude).cos());
        // Measured along the side that is nearer to the equator.
        let aside = if center.latitude < 0.0 { aside(center.latitude - up) } else { aside(center.latitude + up) };
        Bounds {
            west: center.longitude - aside,
            south: center.latitude - up,
            east: center.longitude + aside,
            north: center.latitude + up,
        }
    }

    /// What holds all of a circle; `None` if it has a pole in it or reaches around the map.
    fn of_circle(center: Position, radius_m: f64) -> Option<Bounds> {
        let angle = radius_m / EARTH_RADIUS_M;
        let up = degrees(angle);
        if !is_off_the_poles(center.latitude.abs() + up) {
            return None;
        }
        // Where a meridian touches the circle.
        let aside = degrees((angle.sin() / radians(center.latitude).cos()).asin());
        Bounds::on_map(center, aside, up)
    }

    /// What holds all of a box; `None` likewise.
    fn of_rectangle(center: Position, width_m: f64, height_m: f64) -> Option<Bounds> {
        let up = degrees(height_m / 2.0 / EARTH_RADIUS_M);
        let furthest = center.latitude.abs() + up;
        if !is_off_the_poles(furthest) {
            return None;
        }
        // A position is within half the width along its own latitude, and a chord along it is not longer than the arc.
        let half = width_m / 2.0 / EARTH_RADIUS_M / 2.0;
        let share = half.sin() / radians(furthest).cos();
        if !(half < 1.5 && share < 1.0) {
            return None;
        }
        Bounds::on_map(center, degrees(2.0 * share.asin()), up)
    }

    fn on_map(center: Position, aside: f64, up: f64) -> Option<Bounds> {
        let bounds = Bounds {
            west: center.longitude - aside,
            south: center.latitude - up,
            east: center.longitude + aside,
            north: center.latitude + up,
        };
        let on_map = bounds.west >= -LONGITUDE_MAX && bounds.east <= LONGITUDE_MAX;
        on_map.then(|| bounds.widened())
    }

    fn widened(self) -> Bounds {
        Bounds {
            west: self.west - BOUNDS_MARGIN,
            south: self.south - BOUNDS_MARGIN,
            east: self.east + BOUNDS_MARGIN,
            north: self.north + BOUNDS_MARGIN,
        }
    }

    fn has(&self, position: Position) -> bool {
        (self.west..=self.east).contains(&position.longitude) && (self.south..=self.north).contains(&position.latitude)
    }
}

/// Whether a latitude, in degrees from the equator, is so far from the pole that bounds can be computed. Not of a NaN.
fn is_off_the_poles(latitude: f64) -> bool {
    latitude < 89.0
}

/// Whether a ray to the east crosses an odd number of sides.
fn is_inside(corners: &[Position], position: Position) -> bool {
    let Some(mut from) = corners.last() else { return false };
    let mut inside = false;
    for to in corners {
        if (to.latitude > position.latitude) != (from.latitude > position.latitude) {
            let crossing = (from.longitude - to.longitude) * (position.latitude - to.latitude)
                / (from.latitude - to.latitude)
                + to.longitude;
            inside ^= position.longitude < crossing;
        }
        from = to;
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use crate::testing::Rng;

    fn fraction(rng: &mut Rng) -> f64 {
        rng.next() as f64 / u64::MAX as f64
    }

    fn position(rng: &mut Rng) -> Position {
        let longitude = (fraction(rng) - 0.5) * 360.0;
        Position { longitude, latitude: (fraction(rng) - 0.5) * 2.0 * LATITUDE_MAX }
    }

    fn near(rng: &mut Rng, center: Position, reach_degrees: f64) -> Position {
        let aside = |rng: &mut Rng| (fraction(rng) - 0.5) * 2.0 * reach_degrees;
        let longitude = (center.longitude + aside(rng)).clamp(-180.0, 180.0);
        let latitude = (center.latitude + aside(rng)).clamp(-LATITUDE_MAX, LATITUDE_MAX);
        decode(encode(Position { longitude, latitude }))
    }

    fn random_shape(rng: &mut Rng, center: Position, reach_degrees: f64) -> Shape {
        let reach_m = reach_degrees * 111_000.0;
        match rng.below(3) {
            0 => Shape::circle(center, reach_m * fraction(rng)),
            1 => Shape::rectangle(center, reach_m * fraction(rng) * 2.0, reach_m * fraction(rng) * 2.0),
            _ => {
                let corners = (0..3 + rng.below(5)).map(|_| near(rng, center, reach_degrees)).collect();
                Shape::polygon(corners).expect("three corners")
            }
        }
    }

    /// Whether it is inside by the outline alone.
    fn is_inside_plainly(shape: &Shape, position: Position) -> bool {
        Shape { sure_bounds: None, ..shape.clone() }.distance_m(position).is_some()
    }

    #[test]
    fn bounds_leave_nothing_out_that_is_inside() {
        let mut rng = Rng::new(1);
        for _ in 0..3_000 {
            let center = position(&mut rng);
            let reach = [0.001, 0.1, 5.0, 60.0][rng.below(4)];
            let shape = random_shape(&mut rng, center, reach);
            for _ in 0..50 {
                let position = near(&mut rng, center, reach * 1.5);
                assert_eq!(shape.distance_m(position).is_some(), is_inside_plainly(&shape, position));
                let step = 1 + rng.below(26) as u32;
                if is_inside_plainly(&shape, position) {
                    assert_ne!(shape.touch(Cell::around(position, step)), Touch::Nothing);
                }
            }
        }
    }

    #[test]
    fn cells_hold_what_is_inside_away_from_the_edges_of_the_map() {
        let mut rng = Rng::new(2);
        for _ in 0..3_000 {
            let center = Position {
                longitude: (fraction(&mut rng) - 0.5) * 200.0,
                latitude: (fraction(&mut rng) - 0.5) * 100.0,
            };
            let reach = [0.001, 0.1, 3.0][rng.below(3)];
            let shape = random_shape(&mut rng, center, reach);
            let cells: Vec<Cell> = shape.cells().collect();
            assert!(cells.len() <= 9);
            for _ in 0..30 {
                let position = near(&mut rng, center, reach * 1.5);
                if shape.distance_m(position).is_some() {
                    let score = encode(position) as f64;
                    let holding = cells.iter().filter(|cell| (cell.scores().0..cell.scores().1).contains(&score));
                    assert_eq!(holding.count(), 1, "{shape:?} {position:?}");
                }
            }
        }
    }

    #[test]
    fn cells_hold_all_of_a_polygon_wherever_it_is() {
        let mut rng = Rng::new(3);
        for _ in 0..2_000 {
            let corners = (0..3 + rng.below(4)).map(|_| position(&mut rng)).collect();
            let shape = Shape::polygon(corners).expect("three corners");
            let cells: Vec<Cell> = shape.cells().collect();
            for _ in 0..30 {
                let position = decode(encode(position(&mut rng)));
                if shape.distance_m(position).is_some() {
                    let score = encode(position) as f64;
                    let holding = cells.iter().filter(|cell| (cell.scores().0..cell.scores().1).contains(&score));
                    assert_eq!(holding.count(), 1, "{shape:?} {position:?} {cells:?}");
                }
            }
        }
    }

    #[test]
    fn strange_numbers_find_cells_too() {
        let center = Position { longitude: 180.0, latitude: LATITUDE_MAX };
        for size in [0.0, f64::MIN_POSITIVE, 1e300, f64::INFINITY] {
            for shape in [Shape::circle(center, size), Shape::rectangle(center, size, size)] {
                assert!((1..=9).contains(&shape.cells().count()));
                shape.distance_m(Position { longitude: -180.0, latitude: -LATITUDE_MAX });
            }
        }
        let point = Position { longitude: 1.0, latitude: 1.0 };
        assert!(Shape::polygon(vec![point; 2]).is_none());
        let shape = Shape::polygon(vec![point; 3]).expect("three corners");
        assert_eq!(shape.distance_m(point), None);
        assert!(shape.cells().count() >= 1);
    }
}
