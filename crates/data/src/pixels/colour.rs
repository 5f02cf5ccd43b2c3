//! Pillow's `convert("RGB")` for every layout the decoders give.

/// Appends pixels of `channels` samples each: grey is repeated, opacity dropped.
pub(super) fn write_rgb(samples: &[u8], channels: usize, rgb: &mut Vec<u8>) {
    match channels {
        1 => rgb.extend(samples.iter().flat_map(|grey| [*grey; 3])),
        2 => rgb.extend(samples.as_chunks().0.iter().flat_map(|[grey, _]| [*grey; 3])),
        3 => rgb.extend_from_slice(samples),
        _ => rgb.extend(
            samples
                .chunks_exact(channels)
                .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]),
        ),
    }
}

/// Narrows 16-bit samples: colour and grey with opacity keep the high byte, plain grey is cut off at 255 (Pillow's
/// mode `I;16` holds whole numbers, not fractions of white).
pub(super) fn narrow(samples: impl Iterator<Item = u16>, is_plain_grey: bool) -> Vec<u8> {
    if is_plain_grey {
        samples.map(|sample| sample.min(255) as u8).collect()
    } else {
        samples.map(|sample| (sample >> 8) as u8).collect()
    }
}

/// Cyan, magenta, yellow and black (255 is full ink), in whole numbers.
pub(super) fn inks_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let white = u32::from(255 - black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * white + 128;
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}

/// The colours of indices that are greys.
pub(super) const SCALE: [[u8; 3]; 256] = {
    let mut greys = [[0; 3]; 256];
    let mut index = 0;
    while index < 256 {
        greys[index] = [index as u8; 3];
        index += 1;
    }
    greys
};

/// Whether each of a palette's colours (three bytes each) is the grey of its index: Pillow drops such a palette.
pub(super) fn is_scale(entries: &[u8]) -> bool {
    entries
        .as_chunks::<3>()
        .0
        .iter()
        .zip(&SCALE)
        .all(|(entry, grey)| entry == grey)
}

/// The colours of an index: what a file's palette (three bytes a colour) leaves out is black.
pub(super) fn palette(entries: &[u8]) -> [[u8; 3]; 256] {
    let mut colours = [[0; 3]; 256];
    colours
        .iter_mut()
        .zip(entries.as_chunks().0)
        .for_each(|(colour, entry)| *colour = *entry);
    colours
}
