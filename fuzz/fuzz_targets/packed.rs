//! A packed collection under random edits beside a vector of vectors, and any bytes read as one.
//!
//! The input is a sequence of edits: where, how many elements go, how many come, and their bytes. What is left of it is
//! read as if it were a packed collection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_structs::packed::{COUNT_BYTES, ELEMENTS_AT_ONCE_MAX, Encoded, Packed, replace};

fuzz_target!(|input: &[u8]| {
    let (mut bytes, mut model) = (Vec::new(), Vec::<&[u8]>::new());
    let mut rest = input;
    while let Some((&[place, removed, added], mut after)) = rest.split_first_chunk() {
        let index = usize::from(place) % (model.len() + 1);
        let removed = usize::from(removed).min(model.len() - index);
        let mut new = Vec::new();
        for _ in 0..usize::from(added) % (ELEMENTS_AT_ONCE_MAX + 1) {
            let Some((&len, text)) = after.split_first() else { break };
            let (text, left) = text.split_at(usize::from(len).min(text.len()));
            new.push(text);
            after = left;
        }
        let start = offset(&bytes, COUNT_BYTES, index);
        let end = offset(&bytes, start, removed);
        let encoded: Vec<Encoded<'_>> = new.iter().map(|text| Encoded::new(text)).collect();
        replace(&mut bytes, start..end, removed, &encoded);
        model.splice(index..index + removed, new);
        let view = Packed::new(&bytes);
        assert_eq!(view.len(), model.len());
        assert!(view.iter().zip(&model).all(|(item, text)| item.element.equals(text)));
        assert_eq!(view.iter().count(), model.len());
        for text in &model {
            let first = model.iter().position(|own| own == text);
            assert_eq!(view.find(text, 1).map(|found| found.index), first);
        }
        rest = after;
        read(rest);
    }
    read(input);
});

fn offset(bytes: &[u8], start: usize, elements: usize) -> usize {
    (0..elements).fold(start, |at, _| Packed::new(bytes).skip(at).expect("the element is there"))
}

fn read(bytes: &[u8]) {
    let view = Packed::new(bytes);
    let walked = view.iter().last().map_or(COUNT_BYTES, |item| item.end);
    assert!(view.skip(walked).is_none());
    let _ = (view.len(), view.listpack_bytes(), view.pairs().count(), view.find(bytes, 2));
}
