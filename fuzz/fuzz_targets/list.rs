//! A list under random changes beside a deque, with small chunks, large elements apart, and inner chunks compressed; and any
//! bytes decompressed.
//!
//! The input begins with the limits; then each change is what to do, where, and with which bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use weir_structs::list::{Element, End, Limits, List};
use weir_structs::lzf;

fuzz_target!(|input: &[u8]| {
    let _ = lzf::decompress(input, input.len() * 3);
    let Some((&[size, depth], mut rest)) = input.split_first_chunk() else { return };
    let limits = Limits::new(i64::from(size % 40) - 5, usize::from(depth % 4));
    let limits = if depth & 4 == 0 { limits } else { limits.apart_from(usize::from(depth)) };
    let (mut list, mut model) = (List::new(), VecDeque::<Vec<u8>>::new());
    while let Some((&[what, place, len, times], after)) = rest.split_first_chunk() {
        let (text, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        let value = text.repeat(1 + usize::from(times) % 90);
        let end = if what & 0x80 == 0 { End::Front } else { End::Back };
        let pick = usize::from(place) * model.len() / 256;
        match what % 7 {
            0 | 1 => {
                list.push(end, Element::Bytes(&value), &limits);
                match end {
                    End::Front => model.push_front(value),
                    End::Back => model.push_back(value),
                }
            }
            2 => {
                assert_eq!(list.set(pick, &value, &limits), !model.is_empty());
                if let Some(old) = model.get_mut(pick) {
                    *old = value;
                }
            }
            3 | 4 => {
                let Some(pivot) = model.get(pick).cloned() else { continue };
                let at = model.iter().position(|own| *own == pivot).expect("it is there");
                assert!(list.insert_beside(&pivot, end, &value, &limits));
                model.insert(if end == End::Front { at } else { at + 1 }, value);
            }
            5 => {
                let Some(sought) = model.get(pick).cloned() else { continue };
                let max = 1 + usize::from(times) % 4;
                let mut expected = 0;
                while expected < max
                    && let Some(at) = match end {
                        End::Front => model.iter().position(|own| *own == sought),
                        End::Back => model.iter().rposition(|own| *own == sought),
                    }
                {
                    model.remove(at);
                    expected += 1;
                }
                assert_eq!(list.remove_equal(&sought, end, max, &limits), expected);
            }
            _ => {
                let count = usize::from(len).min(model.len());
                drop(list.cut(end, count, &limits));
                match end {
                    End::Front => drop(model.drain(..count)),
                    End::Back => model.truncate(model.len() - count),
                }
            }
        }
        assert_eq!(list.len(), model.len());
    }
    let mut expected = model.iter();
    list.visit(0, usize::MAX, End::Back, |element| {
        assert_eq!(expected.next().map(Vec::as_slice), Some(&*element.text()));
        ControlFlow::Continue(())
    });
    assert_eq!(expected.next(), None);
});
