//! The picture of LOLWUT: a river in the evening, held up by a weir, and the water below it.
//!
//! ```text
//!   .       *
//!        .          .
//! ~~~--~~~~~~~--~~~~##
//! ~~~~~--~~~~~~~~~~~##:
//!                   ##';
//!                   ##;'~-~~~-~~
//! ```
//!
//! Every picture is another one, and a seed always draws the same.

/// Width of a picture unless asked otherwise.
pub(super) const COLUMNS_DEFAULT: usize = 64;
/// Height of a picture unless asked otherwise.
pub(super) const ROWS_DEFAULT: usize = 14;

const COLUMNS: std::ops::RangeInclusive<usize> = 16..=200;
const ROWS: std::ops::RangeInclusive<usize> = 8..=60;
const WALL_COLUMNS: usize = 2;

/// Draws a picture of about the given size, which is bent into what looks like something.
pub(super) fn draw(columns: usize, rows: usize, seed: u64) -> String {
    let columns = columns.clamp(*COLUMNS.start(), *COLUMNS.end());
    let rows = rows.clamp(*ROWS.start(), *ROWS.end());
    let mut dice = Dice(seed | 1);
    let sky = rows / 3;
    let wall = columns * 3 / 5 + dice.roll(columns / 8);
    let upper_depth = rows / 3;
    let fall_rows = rows - sky - 3;
    let mut picture = String::with_capacity(rows * (columns + 1));
    for row in 0..rows {
        let line: String = (0..columns)
            .map(|column| {
                if row < sky {
                    star(&mut dice)
                } else if (wall..wall + WALL_COLUMNS).contains(&column) {
                    '#'
                } else if column < wall {
                    if row < sky + upper_depth { water(&mut dice) } else { ground(&mut dice) }
                } else {
                    let below = row - sky;
                    let reach = WALL_COLUMNS + 1 + below * 2 / 3;
                    match () {
                        () if below < fall_rows && below > 0 && column < wall + reach => spray(&mut dice),
                        () if below >= fall_rows => water(&mut dice),
                        () => ' ',
                    }
                }
            })
            .collect();
        picture.push_str(line.trim_end());
        picture.push('\n');
    }
    picture
}

fn star(dice: &mut Dice) -> char {
    match dice.roll(60) {
        0 => '*',
        1 | 2 => '.',
        _ => ' ',
    }
}

fn water(dice: &mut Dice) -> char {
    match dice.roll(9) {
        0 => '-',
        1 => '=',
        _ => '~',
    }
}

fn spray(dice: &mut Dice) -> char {
    [';', ':', '\'', ',', '.'][dice.roll(5)]
}

fn ground(dice: &mut Dice) -> char {
    if dice.roll(12) == 0 { 'o' } else { '.' }
}

/// Numbers that need look random only.
struct Dice(u64);

impl Dice {
    /// A number below `sides`; 0 if there are none.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11).checked_rem(sides as u64).unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_and_seed_gives_a_picture_of_bounded_size() {
        for size in [0, 1, 16, 64, 100, usize::MAX] {
            for seed in [0, 1, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
                let picture = draw(size, size, seed);
                assert!(picture.contains('#') && picture.contains('~'));
                assert!(picture.len() <= ROWS.end() * (COLUMNS.end() + 1));
                assert_eq!(picture, draw(size, size, seed));
            }
        }
    }
}
