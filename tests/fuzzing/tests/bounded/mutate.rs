//! Damage as files meet it, and as people do it who know how readers are made.

use rand::{Rng, RngExt};

/// Numbers at the edges of what readers count with.
const EDGES: [u64; 12] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// What stands in texts in place of something harmless.
const WORDS: [&str; 20] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "-0.0",
    "NaN",
    "18446744073709551616",
    "9223372036854775807",
    "4294967295",
    "[]",
    "{}",
    "\"\"",
    "[[[[[[[[",
    "{\"a\":",
    "\\u0000",
    "\u{ff}\u{1f600}",
    "../..",
    "\n\n",
    ",",
];

/// One of the good files, or two halves of two, with one to eight things wrong.
pub(crate) fn damage(seeds: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let mut data = pick(seeds, random).clone();
    for _ in 0..random.random_range(1..=8) {
        strike(&mut data, seeds, random);
    }
    data
}

fn pick<'a, T>(all: &'a [T], random: &mut impl Rng) -> &'a T {
    &all[random.random_range(0..all.len())]
}

/// A place in `data`; half of them near the beginning, where headers lie.
fn place(data: &[u8], random: &mut impl Rng) -> usize {
    let reach = if random.random_bool(0.5) {
        data.len().min(256)
    } else {
        data.len()
    };
    random.random_range(0..=reach)
}

fn strike(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut impl Rng) {
    let at = place(data, random);
    let end = data.len().min(at + random.random_range(1..=32));
    match random.random_range(0..9) {
        0 => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = random.random();
            }
        }
        2 => {
            let edge = pick(&EDGES, random);
            let width = *pick(&[1, 2, 4, 8], random);
            let bytes = match random.random_bool(0.5) {
                true => edge.to_le_bytes()[..width].to_vec(),
                false => edge.to_be_bytes()[8 - width..].to_vec(),
            };
            for (old, new) in data[at..].iter_mut().zip(bytes) {
                *old = new;
            }
        }
        3 => drop(data.drain(at..end)),
        4 => {
            let again = data[at..end].to_vec();
            data.splice(at..at, again);
        }
        5 => data.truncate(at),
        6 => {
            let other = pick(seeds, random);
            let from = place(other, random);
            data.truncate(at);
            data.extend(&other[from..]);
        }
        7 => {
            let word = pick(&WORDS, random);
            data.splice(at..at, word.bytes());
        }
        _ => {
            let word = pick(&WORDS, random);
            if let Some(value) = value_around(data, at) {
                data.splice(value, word.bytes());
            }
        }
    }
}

/// The value of a text such as JSON at `at`: what stands between the signs that separate.
fn value_around(data: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let separates = |byte: &u8| b":,[]{}=\n\t".contains(byte);
    let start = data[..at].iter().rposition(separates)? + 1;
    let length = data[start..].iter().position(separates)?;
    Some(start..start + length)
}
