//! The rewrites of a SentencePiece model: a trie in one array (Aoe, 1989), then the texts that it leads to. The library that
//! follows them believes each number, so that they are checked first.

/// Numbers of the array are in blocks of as many as there are bytes: to step by a byte never leaves the block.
const BLOCK: usize = 256;
/// What marks a number as the end of a path rather than a step on it.
const VALUE: u32 = 1 << 31;

/// # Errors
/// Why `rewrites` cannot be followed: they are damaged.
pub(super) fn check(rewrites: &[u8]) -> Result<(), String> {
    let damaged = |what: &str| {
        Err(format!(
            "its rewrites (`precompiled_charsmap`) are damaged: {what}"
        ))
    };
    let Some((size, rest)) = rewrites.split_first_chunk() else {
        return damaged("they do not say their size");
    };
    let size = u32::from_le_bytes(*size) as usize;
    if size > rest.len() || size == 0 || !size.is_multiple_of(BLOCK * size_of::<u32>()) {
        return damaged(&format!(
            "{size} bytes of them are announced, {} follow",
            rest.len()
        ));
    }
    let (trie, texts) = rest.split_at(size);
    let Ok(texts) = str::from_utf8(texts) else {
        return damaged("they lead to what is no UTF-8");
    };
    let (units, _) = trie.as_chunks();
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    // The first is stepped on whatever it says.
    let steps = units.iter().enumerate();
    for (place, unit) in steps.filter(|(place, unit)| *place == 0 || **unit < VALUE) {
        let offset = (unit >> 10) << ((unit & 1 << 9) >> 6);
        let Some(target) = units.get(place ^ offset as usize) else {
            return damaged("a step leads out of them");
        };
        let ends = unit >> 8 & 1 == 1;
        if ends && !texts.is_char_boundary((target & !VALUE) as usize) {
            return damaged("a path ends beside every text");
        }
    }
    Ok(())
}
