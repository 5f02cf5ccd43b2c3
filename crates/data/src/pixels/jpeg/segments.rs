//! What a JPEG's segments say besides the picture.

use std::ops::Range;

const SCAN: u8 = 0xda;

/// The EXIF block and the XMP packet in front of the picture's first scan, as Pillow gathers them: of EXIF what all
/// segments say together, of XMP the last packet.
pub(super) fn notes(bytes: &[u8]) -> (Option<Vec<u8>>, Option<&[u8]>) {
    const APPLICATION: u8 = 0xe1;
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let (mut exif, mut xmp) = (None::<Vec<u8>>, None);
    for (marker, place) in segments(bytes).take_while(|(marker, _)| *marker != SCAN) {
        let body = &bytes[place];
        if marker != APPLICATION {
            continue;
        }
        if let Some(block) = body.strip_prefix(EXIF) {
            exif.get_or_insert_default().extend_from_slice(block);
        } else if let Some(packet) = body.strip_prefix(XMP) {
            xmp = Some(packet);
        }
    }
    (exif, xmp)
}

/// The file with other names for its channels, if two have the same: libjpeg means the first of that name which the scan has not
/// named yet, the decoder the first of all.
pub(super) fn renamed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut names: Vec<u8> = Vec::new();
    let mut changed: Option<Vec<u8>> = None;
    for (marker, place) in segments(bytes) {
        let body = &bytes[place.clone()];
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                // Three bytes a channel, behind the precision, the size and the count.
                names = body.get(6..)?.chunks_exact(3).map(|channel| channel[0]).collect();
                let is_new = |index: usize| !names[..index].contains(&names[index]);
                if names.len() > 4 || (0..names.len()).all(is_new) {
                    return None;
                }
                let file = changed.get_or_insert_with(|| bytes.to_vec());
                for index in 0..names.len() {
                    file[place.start + 6 + 3 * index] = index as u8 + 1;
                }
            }
            SCAN => {
                let file = changed.as_mut()?;
                let mut named: Vec<usize> = Vec::new();
                for index in 0..usize::from(*body.first()?) {
                    let name = *body.get(1 + 2 * index)?;
                    let is_meant = |channel: &usize| names[*channel] == name && !named.contains(channel);
                    let channel = (0..names.len()).find(is_meant)?;
                    named.push(channel);
                    file[place.start + 1 + 2 * index] = channel as u8 + 1;
                }
            }
            _ => {}
        }
    }
    changed
}

/// Marker and body of every segment; what lies between is passed over.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, Range<usize>)> {
    let mut place = 2;
    std::iter::from_fn(move || {
        loop {
            let &[first, marker] = bytes.get(place..)?.first_chunk()?;
            match (first, marker) {
                (0..=0xfe, _) | (0xff, 0xff) => place += 1,
                // Coded data, restarts, beginning and end: nothing with a length.
                (0xff, 0x00 | 0x01 | 0xd0..=0xd9) => place += 2,
                _ => {
                    let length = bytes.get(place + 2..)?.first_chunk()?;
                    let start = place + 4;
                    place += 2 + usize::from(u16::from_be_bytes(*length));
                    bytes.get(start..place)?;
                    return Some((marker, start..place));
                }
            }
        }
    })
}
