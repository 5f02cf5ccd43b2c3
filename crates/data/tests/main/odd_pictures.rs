//! Pictures that break their format's rules, or go to the edge of them, as Pillow 13 reads them.

use blip2_data::pixels::{DecodeOptions, PixelsError, RgbImage, decode};
use std::io::Write;

fn read(bytes: &[u8]) -> Result<RgbImage, PixelsError> {
    decode(bytes, "odd", DecodeOptions::upright())
}

fn pixels(bytes: &[u8]) -> Vec<[u8; 3]> {
    let picture = read(bytes).expect("a picture");
    picture.pixels().map(|pixel| pixel.0).collect()
}

fn width(bytes: &[u8]) -> u32 {
    read(bytes).expect("a picture").width()
}

/// A bitmap whose header has `length` bytes; `of` is the place of its pixels, planes, bits and compression.
fn bitmap(length: usize, of: [u32; 4], size: [u32; 2], palette: &[u8], pixels: &[u8]) -> Vec<u8> {
    let [place, planes, bits, compression] = of;
    let mut bytes = [&b"BM\0\0\0\0\0\0\0\0"[..], &place.to_le_bytes()].concat();
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend(size.map(u32::to_le_bytes).as_flattened());
    bytes.extend((planes as u16).to_le_bytes());
    bytes.extend((bits as u16).to_le_bytes());
    let colours = palette.len() as u32 / 4;
    bytes.extend(
        [compression, 0, 0, 0, colours, 0]
            .map(u32::to_le_bytes)
            .as_flattened(),
    );
    bytes.resize(14 + length, 0);
    bytes.extend_from_slice(palette);
    bytes.extend_from_slice(pixels);
    bytes
}

const FEW: [u8; 12] = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0];
const COLOURS: [[u8; 3]; 3] = [[3, 2, 1], [6, 5, 4], [9, 8, 7]];

#[test]
fn bitmaps_with_unusual_headers() {
    let rows = [0, 1, 2, 0, 2, 1, 0, 0];
    let expected = [2, 1, 0, 0, 1, 2].map(|index| COLOURS[index]);
    for (length, place, planes) in [(40, 66, 1), (40, 0, 1), (40, 54, 1), (64, 90, 1), (40, 66, 0)] {
        let bytes = bitmap(length, [place, planes, 8, 0], [3, 2], &FEW, &rows);
        assert_eq!(pixels(&bytes), expected, "{length}, {place}, {planes}");
    }
    let bytes = bitmap(40, [0, 0, 24, 0], [1, 2], &[], &[1, 2, 3, 0, 4, 5, 6, 0]);
    assert_eq!(pixels(&bytes), [[6, 5, 4], [3, 2, 1]]);
    // What the palette lacks is black, unless it is a scale of greys.
    let bytes = bitmap(40, [66, 1, 8, 0], [3, 1], &FEW, &[2, 3, 200, 0]);
    assert_eq!(pixels(&bytes), [[9, 8, 7], [0; 3], [0; 3]]);
    let greys = [0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 2, 0];
    let bytes = bitmap(40, [66, 1, 8, 0], [3, 1], &greys, &[2, 3, 200, 0]);
    assert_eq!(pixels(&bytes), [[2; 3], [3; 3], [200; 3]]);
    let unknown = bitmap(40, [66, 1, 2, 0], [3, 2], &FEW, &rows);
    assert!(matches!(read(&unknown), Err(PixelsError::NotAPicture { .. })));
    let cut = bitmap(40, [66, 1, 8, 0], [3, 3], &FEW, &rows);
    assert!(matches!(read(&cut), Err(PixelsError::Truncated { .. })));
}

#[test]
fn bitmaps_of_runs_count_pixels() {
    let runs = |runs: &[u8]| bitmap(40, [66, 1, 8, 1], [3, 3], &FEW, runs);
    let short_rows = [1, 1, 0, 0, 2, 2, 0, 0, 9, 1, 0, 0, 0, 1];
    let expected = [1, 1, 1, 2, 2, 0, 1, 0, 0].map(|index| COLOURS[index]);
    assert_eq!(pixels(&runs(&short_rows)), expected);
    let skipping = [1, 1, 0, 2, 1, 1, 1, 2, 0, 0, 0, 3, 2, 1, 2, 0, 0, 1];
    let expected = [2, 1, 2, 0, 0, 2, 1, 0, 0].map(|index| COLOURS[index]);
    assert_eq!(pixels(&runs(&skipping)), expected);
    assert!(matches!(
        read(&runs(&[3, 1, 0, 0, 0, 1])),
        Err(PixelsError::Truncated { .. })
    ));
}

/// A GIF of four pixels in a row with the given palettes (of 2, 4, 8, ... colours) and bytes between palette and picture.
fn gif(shared: &[u8], between: &[u8], own: &[u8]) -> Vec<u8> {
    let flags = |palette: &[u8]| match palette.len() / 3 {
        0 => 0,
        colours => 0x80 | (colours.ilog2() as u8 - 1),
    };
    let mut bytes = [
        &b"GIF89a\x04\0\x01\0"[..],
        &[flags(shared), 0, 0],
        shared,
        between,
    ]
    .concat();
    bytes.extend(b",\0\0\0\0\x04\0\x01\0");
    bytes.push(flags(own));
    bytes.extend(own);
    // Codes of nine bits: a beginning, four indices, an end.
    let codes = [256u64, 0, 1, 3, 99, 257];
    let bits = codes.iter().rev().fold(0u64, |bits, code| bits << 9 | code);
    bytes.extend([8, 7]);
    bytes.extend(&bits.to_le_bytes()[..7]);
    bytes.extend(b"\0;");
    bytes
}

#[test]
fn gifs_with_unusual_palettes() {
    let colours = [10, 11, 12, 20, 21, 22];
    let greys = [0, 0, 0, 1, 1, 1];
    let seen = [[10, 11, 12], [20, 21, 22], [0; 3], [0; 3]];
    let scale = [[0; 3], [1; 3], [3; 3], [99; 3]];
    assert_eq!(pixels(&gif(&colours, b"", b"")), seen);
    assert_eq!(pixels(&gif(b"", b"", &colours)), seen);
    assert_eq!(pixels(&gif(&colours, b"", &greys)), seen);
    assert_eq!(pixels(&gif(b"", b"", b"")), scale);
    assert_eq!(pixels(&gif(&greys, b"", b"")), scale);
    assert_eq!(pixels(&gif(&colours, b"\0\0\0", b"")), seen);
    assert_eq!(pixels(&gif(&colours, b"\0!\x77\x02ab\0\x05", b"")), seen);
}

/// A TIFF directory of entries (tag, type, count, value), at 8, and what stands behind it.
fn tiff(entries: &[(u16, u16, u32, u32)], behind: &[u8]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].as_flattened());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].as_flattened());
    }
    bytes.extend([0; 4]);
    bytes.extend(behind);
    bytes
}

/// An EXIF block with these orientations.
fn exif(codes: &[u32]) -> Vec<u8> {
    let entries: Vec<_> = codes.iter().map(|code| (0x0112, 3, 1, *code)).collect();
    tiff(&entries, b"")
}

fn packet(code: u8) -> Vec<u8> {
    format!(r#"<x tiff:Orientation="{code}"/>"#).into_bytes()
}

#[test]
fn notes_of_a_jpeg() {
    let mut plain = Vec::new();
    RgbImage::new(3, 2)
        .write_to(&mut std::io::Cursor::new(&mut plain), image::ImageFormat::Jpeg)
        .expect("memory");
    let noted = |notes: &[Vec<u8>]| {
        let segments = notes.iter().flat_map(|note| {
            let length = (note.len() as u16 + 2).to_be_bytes();
            [&[0xff, 0xe1][..], &length, note].concat()
        });
        let segments: Vec<u8> = segments.collect();
        [&plain[..2], &segments, &plain[2..]].concat()
    };
    let block = |block: &[u8]| [&b"Exif\0\0"[..], block].concat();
    let xmp = |code| [&b"http://ns.adobe.com/xap/1.0/\0"[..], &packet(code)].concat();
    let is_turned = |notes: &[Vec<u8>]| width(&noted(notes)) == 2;
    assert!(is_turned(&[block(&exif(&[6]))]));
    assert!(is_turned(&[xmp(6)]));
    // The last packet; the first value; all segments of EXIF together.
    assert!(!is_turned(&[xmp(6), xmp(3)]));
    assert!(is_turned(&[xmp(3), xmp(6)]));
    assert!(!is_turned(&[block(&exif(&[3, 6]))]));
    assert!(is_turned(&[block(b""), block(&exif(&[6]))]));
    assert!(is_turned(&[block(&exif(&[6])[..12]), block(&exif(&[6])[12..])]));
    // A packet counts beside a block that is empty or without a value, not beside one that is none.
    assert!(is_turned(&[block(b""), xmp(6)]));
    assert!(is_turned(&[block(&exif(&[])), xmp(6)]));
    assert!(!is_turned(&[block(b"no EXIF at all"), xmp(6)]));
    let big = b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0";
    assert!(!is_turned(&[block(big), xmp(6)]));
}

#[test]
fn jpegs_whose_channels_have_one_name() {
    let mut plain = Vec::new();
    RgbImage::from_fn(9, 7, |x, y| image::Rgb([20 * x as u8, 30 * y as u8, 200]))
        .write_to(&mut std::io::Cursor::new(&mut plain), image::ImageFormat::Jpeg)
        .expect("memory");
    let mut bytes = plain.clone();
    for (marker, first, step) in [(0xc0, 10, 3), (0xda, 5, 2)] {
        let mut pairs = plain.windows(2);
        let place = pairs.position(|pair| pair == [0xff, marker]).expect("a segment");
        (0..3).for_each(|channel| bytes[place + first + step * channel] = 1);
    }
    assert_ne!(bytes, plain);
    assert_eq!(pixels(&bytes), pixels(&plain));
}

#[test]
fn notes_of_other_pictures() {
    let mut webp = Vec::new();
    let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif(&[6])).expect("WebP keeps EXIF");
    RgbImage::new(3, 2).write_with_encoder(encoder).expect("memory");
    assert_eq!(&webp[12..16], b"VP8X");
    assert_eq!(width(&webp), 2);
    webp[20] &= !8;
    assert_eq!(width(&webp), 3);

    let digits: String = exif(&[6]).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("Raw profile type exif\0\0\0\0\0\nexif\n      26\n{digits}\n");
    assert_eq!(width(&png(2, &[(b"iTXt", text.as_bytes())], 3)), 2);
    let xmp = |code| [&b"XML:com.adobe.xmp\0\0\0\0\0"[..], &packet(code)].concat();
    assert_eq!(
        width(&png(2, &[(b"iTXt", &xmp(6)[..]), (b"iTXt", &xmp(3)[..])], 3)),
        3
    );

    let grey = |more: &[(u16, u16, u32, u32)]| {
        let mut entries: Vec<(u16, u16, u32, u32)> = vec![
            (256, 3, 1, 3),
            (257, 3, 1, 2),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, 8),
        ];
        entries.extend(more);
        entries.extend([(278, 3, 1, 2), (279, 4, 1, 6)]);
        entries
    };
    // Pixels are whatever stands at the directory; the packet stands behind it.
    let packet = packet(6);
    let place = |entries: usize| (8 + 2 + 12 * (entries + 1) + 4) as u32;
    for (more, expected) in [(vec![], 2), (vec![(274, 3, 1, 1)], 3), (vec![(274, 3, 1, 9)], 3)] {
        let mut entries = grey(&more);
        entries.push((700, 1, packet.len() as u32, place(entries.len())));
        assert_eq!(width(&tiff(&entries, &packet)), expected, "{more:?}");
    }
}

#[test]
fn tiffs_of_brightness_and_differences() {
    let samples: [u8; 6] = [100, 90, 200, 30, 250, 3];
    let decoded = |packing: u32, strip: &[u8], weights: Option<u32>| {
        const ENTRIES: u32 = 11;
        let behind = 8 + 2 + 12 * ENTRIES + 4;
        let entries = [
            (256, 3, 1, 2),
            (257, 3, 1, 1),
            (258, 3, 3, behind),
            (259, 3, 1, packing),
            (262, 3, 1, 6),
            (273, 4, 1, behind + 54),
            (277, 3, 1, 3),
            (278, 3, 1, 1),
            (279, 4, 1, strip.len() as u32),
            (530, 3, 2, 0x0001_0001),
            (532, 5, 6, behind + 6),
        ];
        let mut bytes: Vec<u8> = [8u16; 3].map(u16::to_le_bytes).as_flattened().to_vec();
        for value in [0, 255, 128, 255, 128, weights.unwrap_or(255)] {
            bytes.extend([value, 1].map(u32::to_le_bytes).as_flattened());
        }
        bytes.extend(strip);
        read(&tiff(&entries, &bytes)).map(|picture| picture.pixels().map(|pixel| pixel.0).collect::<Vec<_>>())
    };
    let pack_bits = [&[5][..], &samples].concat();
    let plain = decoded(1, &samples, None).expect("a picture");
    assert_eq!(plain, [[200, 61, 32], [0, 77, 246]]);
    let packed = decoded(32_773, &pack_bits, None).expect("a picture");
    assert_eq!(packed, [[201, 62, 33], [0, 77, 246]]);
    assert!(matches!(
        decoded(32_773, &pack_bits, Some(240)),
        Err(PixelsError::NotAPicture { .. })
    ));
}

/// A PNG of three pixels across and two down, of indices or colours, with chunks in front of its data.
fn png(colour: u8, chunks: &[(&[u8; 4], &[u8])], bytes_each: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut add = |name: &[u8], body: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(name);
        sum.update(body);
        let length = (body.len() as u32).to_be_bytes();
        bytes.extend([&length[..], name, body, &sum.sum().to_be_bytes()].concat());
    };
    add(b"IHDR", &[0, 0, 0, 3, 0, 0, 0, 2, 8, colour, 0, 0, 0]);
    chunks.iter().for_each(|(name, body)| add(&name[..], body));
    let mut rows = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..2 {
        let row: Vec<u8> = (0..=3 * bytes_each as u8).collect();
        rows.write_all(&row).expect("memory");
    }
    add(b"IDAT", &rows.finish().expect("memory"));
    add(b"IEND", b"");
    bytes
}

#[test]
fn pngs_with_and_without_chunks() {
    assert_eq!(pixels(&png(3, &[], 1)), [[0; 3]; 6]);
    let row: [[u8; 3]; 3] = [[1, 2, 3], [4, 5, 6], [7, 8, 9]];
    let marked = png(2, &[(b"CgBI", &b"\x50\0\x20\x02"[..])], 3);
    assert_eq!(pixels(&marked), [row, row].concat());
}
