//! What the targets of values that are read in pieces have in common: how an input says which pieces, and what a frozen one
//! has given.

use weir_structs::frozen::FrozenPart;

/// Pieces, each of which stands behind its length in the input, and what is left over behind a byte of all ones.
pub fn split(input: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut rest = input;
    let mut pieces = Vec::new();
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        if high == 0xFF {
            rest = after;
            break;
        }
        let (piece, after) = after.split_at((usize::from(high) << 8 | usize::from(low)).min(after.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    (pieces, rest)
}

/// The pieces that `encode` gives.
pub fn gathered(encode: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    encode(&mut |piece| pieces.push(piece.to_vec()));
    pieces
}

/// A value that is frozen.
pub struct Giving {
    was: Vec<Vec<u8>>,
    given: Vec<Vec<u8>>,
}

impl Giving {
    /// `was`: as what it was written when it was frozen.
    pub fn new(was: Vec<Vec<u8>>) -> Giving {
        Giving { was, given: Vec::new() }
    }

    /// Lets it give some more. `give` says whether there is more; when all was given, it is what had been written, read by `read`.
    pub fn go_on(
        frozen: &mut Option<Giving>,
        give: impl FnOnce(&mut dyn FnMut(FrozenPart<'_>)) -> bool,
        read: impl FnOnce(&[Vec<u8>]) -> Vec<Vec<u8>>,
    ) {
        let Some(Giving { given, .. }) = frozen else { return };
        let goes_on = give(&mut |part| {
            if let FrozenPart::Piece(piece) = part {
                given.push(piece.to_vec());
            }
        });
        if !goes_on && let Some(Giving { was, given }) = frozen.take() {
            assert_eq!(read(&given), was);
        }
    }
}
