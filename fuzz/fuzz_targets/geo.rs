//! Shapes anywhere on Earth, with sizes that are any number: cells and bounds never lose a position that is inside.
//!
//! The input: a kind of shape, then numbers of eight bytes: of a circle or a box its middle and size, of a polygon its
//! corners, and what is left are positions to ask for. Sizes are any double.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_structs::geo::{self, LATITUDE_MAX, LONGITUDE_MAX, Position, Shape, Touch};

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, corners], rest)) = input.split_first_chunk() else { return };
    let mut numbers = rest.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
    let mut position = || {
        let share = |number: u64| number as f64 / u64::MAX as f64 * 2.0 - 1.0;
        Some(Position {
            longitude: share(numbers.next()?) * LONGITUDE_MAX,
            latitude: share(numbers.next()?) * LATITUDE_MAX,
        })
    };
    let shape = if kind % 3 == 2 {
        let corners: Vec<Position> = (0..corners % 16).map_while(|_| position()).collect();
        Shape::polygon(corners)
    } else {
        let (Some(middle), Some(size)) = (position(), position()) else { return };
        let (wide, high) = (size.longitude.abs() * 200_000.0, size.latitude.abs() * 400_000.0);
        Some(if kind % 3 == 0 { Shape::circle(middle, wide) } else { Shape::rectangle(middle, wide, high) })
    };
    let Some(shape) = shape else { return };
    let cells: Vec<_> = shape.cells().collect();
    assert!((1..=9).contains(&cells.len()));
    while let Some(asked) = position() {
        let score = geo::encode(asked) as f64;
        let decoded = geo::decode(geo::bits_of_score(score));
        assert!(Position::new(decoded.longitude, decoded.latitude).is_some());
        if shape.distance_m(decoded).is_none() {
            continue;
        }
        for cell in cells.iter().filter(|cell| (cell.scores().0..cell.scores().1).contains(&score)) {
            assert_ne!(shape.touch(*cell), Touch::Nothing);
            for quarter in cell.quarters().into_iter().flatten() {
                let holds = (quarter.scores().0..quarter.scores().1).contains(&score);
                assert!(!holds || shape.touch(quarter) != Touch::Nothing);
            }
        }
    }
});
