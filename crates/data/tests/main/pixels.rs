//! What holds for pictures of any kind, and what happens to bad ones.

use blip2_data::Stream;
use blip2_data::pixels::{
    Augmentation, CropBox, DecodeOptions, ImageProcessor, PixelsError, RgbImage, View, decode,
    flip_horizontal, open, resize, resize_crop, resize_premultiplied,
};
use blip2_golden::fixture;
use std::path::{Path, PathBuf};

#[test]
fn bad_pictures_are_refused_by_name() {
    let refusal =
        |bytes: &[u8]| decode(bytes, "holiday.png", DecodeOptions::upright()).expect_err("a bad picture");

    let error = refusal(b"<html>not found</html>");
    assert!(matches!(error, PixelsError::NotAPicture { .. }), "{error}");
    assert!(error.to_string().contains("holiday.png"));
    assert!(matches!(refusal(b""), PixelsError::NotAPicture { .. }));

    let mut whole = Vec::new();
    let grey = RgbImage::from_pixel(40, 30, image::Rgb([7, 80, 200]));
    grey.write_to(&mut std::io::Cursor::new(&mut whole), image::ImageFormat::Png)
        .expect("memory");
    assert!(decode(&whole, "whole", DecodeOptions::upright()).is_ok());
    assert!(matches!(
        refusal(&whole[..whole.len() - 40]),
        PixelsError::Truncated { .. }
    ));

    for (width, height) in [(60_000u32, 60_000u32), (178_956_971, 1), (15_000, 12_000)] {
        let error = refusal(&with_png_size(&whole, width, height));
        assert!(matches!(error, PixelsError::TooLarge { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("{width}x{height}")),
            "{error}"
        );
    }

    let bits_per_sample = [258u16.to_le_bytes(), 3u16.to_le_bytes()].concat();
    let count = 0x00ff_ffffu32.to_le_bytes();
    let tiff = [b"II*\0\x08\0\0\0\x01\0", &bits_per_sample[..], &count, &[0; 8]].concat();
    let error = refusal(&tiff).to_string();
    assert!(error.contains("claims 16777215 values"), "{error}");

    let mut jpeg = Vec::new();
    grey.write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg)
        .expect("memory");
    assert!(decode(&jpeg, "whole", DecodeOptions::upright()).is_ok());
    for length in [3, 20, jpeg.len() / 2, jpeg.len() - 2] {
        let error = refusal(&jpeg[..length]);
        assert!(
            matches!(
                error,
                PixelsError::Damaged { .. } | PixelsError::Truncated { .. } | PixelsError::NotAPicture { .. }
            ),
            "{length}: {error}"
        );
    }

    let missing = open(Path::new("no-such-picture.png"), DecodeOptions::upright()).expect_err("no such file");
    assert!(missing.to_string().contains("no-such-picture.png"), "{missing}");
}

/// The same PNG with another size in its header (checksum made right).
fn with_png_size(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut changed = png.to_vec();
    changed[16..20].copy_from_slice(&width.to_be_bytes());
    changed[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&changed[12..29]);
    changed[29..33].copy_from_slice(&checksum.to_be_bytes());
    changed
}

fn crc32(bytes: &[u8]) -> u32 {
    let shifted = bytes.iter().fold(u32::MAX, |mut state, byte| {
        state ^= u32::from(*byte);
        (0..8).for_each(|_| {
            state = if state & 1 == 1 {
                (state >> 1) ^ 0xEDB8_8320
            } else {
                state >> 1
            }
        });
        state
    });
    !shifted
}

#[test]
fn deep_and_transparent_pictures_narrow_as_in_pillow() {
    use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, Rgba};
    let through_png = |picture: DynamicImage| {
        let mut bytes = Vec::new();
        picture
            .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
            .expect("memory");
        decode(&bytes, "deep.png", DecodeOptions::upright())
            .expect("a whole picture")
            .get_pixel(0, 0)
            .0
    };
    let one = |pixel| ImageBuffer::from_pixel(1, 1, pixel);
    assert_eq!(
        through_png(DynamicImage::ImageRgb16(ImageBuffer::from_pixel(
            1,
            1,
            Rgb([0x12ff, 0x8000, 0xffff])
        ))),
        [0x12, 0x80, 0xff]
    );
    assert_eq!(
        through_png(DynamicImage::ImageRgba16(ImageBuffer::from_pixel(
            1,
            1,
            Rgba([0x12ff, 1, 2, 3])
        ))),
        [0x12, 0, 0]
    );
    assert_eq!(
        through_png(DynamicImage::ImageLumaA8(one(LumaA([9, 0])))),
        [9, 9, 9]
    );
    assert_eq!(
        through_png(DynamicImage::ImageLuma16(ImageBuffer::from_pixel(
            1,
            1,
            Luma([200u16])
        ))),
        [200; 3]
    );
    assert_eq!(
        through_png(DynamicImage::ImageLuma16(ImageBuffer::from_pixel(
            1,
            1,
            Luma([0x1234u16])
        ))),
        [255; 3]
    );
}

#[test]
fn resizing_keeps_what_must_be_kept() {
    let plain = RgbImage::from_pixel(37, 5, image::Rgb([13, 200, 255]));
    let resized = resize(&plain, 224, 224).expect("a size above 0");
    assert!(resized.pixels().all(|pixel| pixel.0 == [13, 200, 255]));
    assert_eq!(resize(&plain, 37, 5).expect("the same size"), plain);
    assert!(matches!(
        resize(&plain, 0, 5),
        Err(PixelsError::EmptyTarget { .. })
    ));
    assert!(matches!(
        resize(&RgbImage::new(0, 0), 4, 4),
        Err(PixelsError::CropOutside { .. })
    ));
    let outside = CropBox {
        left: 30,
        top: 0,
        right: 38,
        bottom: 5,
    };
    assert!(matches!(
        resize_crop(&plain, outside, 4, 4),
        Err(PixelsError::CropOutside { .. })
    ));
}

/// Sizes that leave no lane, some lanes or all lanes of the passes over; both orders of the passes.
#[test]
fn boxes_and_mirrors_and_channels_agree_for_every_shape() {
    let mut stream = Stream::new(3, "shapes", 0);
    for _ in 0..60 {
        let [width, height, new_width, new_height] =
            [90, 90, 70, 70].map(|most| 1 + stream.below(most) as u32);
        let picture = RgbImage::from_fn(width, height, |_, _| {
            image::Rgb(std::array::from_fn(|_| stream.below(256) as u8))
        });
        let [left, top] = [width, height].map(|side| stream.below(side as usize) as u32);
        let crop = CropBox {
            left,
            top,
            right: left + 1 + stream.below((width - left) as usize) as u32,
            bottom: top + 1 + stream.below((height - top) as usize) as u32,
        };
        let resized = resize_crop(&picture, crop, new_width, new_height).expect("inside");

        let (cut_width, cut_height) = (crop.right - crop.left, crop.bottom - crop.top);
        let cut = image::imageops::crop_imm(&picture, left, top, cut_width, cut_height).to_image();
        assert_eq!(
            resized,
            resize(&cut, new_width, new_height).expect("a size above 0")
        );

        let view = View { crop, flip: true };
        let mirrored = view.apply(&picture, new_width, new_height).expect("inside");
        assert_eq!(mirrored, flip_horizontal(&resized));

        let opaque = image::DynamicImage::ImageRgb8(cut).into_rgba8();
        let opaque = resize_premultiplied(&opaque, new_width, new_height).expect("a size above 0");
        assert_eq!(resized, image::DynamicImage::ImageRgba8(opaque).into_rgb8());
    }
}

#[test]
fn augmentation_is_seeded_and_stays_inside() {
    let augmentation = Augmentation::lavis();
    let mut areas = 0.0;
    let mut flips = 0;
    for index in 0..500 {
        let view = augmentation.draw(300, 200, &mut Stream::new(5, "view", index));
        assert_eq!(
            view,
            augmentation.draw(300, 200, &mut Stream::new(5, "view", index))
        );
        let CropBox {
            left,
            top,
            right,
            bottom,
        } = view.crop;
        assert!(left < right && right <= 300 && top < bottom && bottom <= 200);
        areas += f64::from((right - left) * (bottom - top)) / 60_000.0;
        flips += u32::from(view.flip);
    }
    let mean = areas / 500.0;
    assert!(
        (0.6..0.85).contains(&mean),
        "the boxes cover {mean} of the picture"
    );
    assert!((200..300).contains(&flips), "{flips} of 500 views are mirrored");
    let extreme = Augmentation::default().draw(1, 900, &mut Stream::new(5, "view", 0));
    assert!(extreme.crop.right == 1 && extreme.crop.bottom > extreme.crop.top && !extreme.flip);
}

#[test]
fn configurations_that_cannot_be_followed_are_refused() {
    let refuse =
        |text: &str| ImageProcessor::from_json(text, "preprocessor_config.json").expect_err("refused");
    for (text, reason) in [
        ("{", "preprocessor_config.json"),
        ("{}", "size"),
        (r#"{"size": {"shortest_edge": 224}}"#, "height"),
        (r#"{"size": 224, "resample": 2}"#, "resample"),
        (r#"{"size": 224, "do_center_crop": true}"#, "do_center_crop"),
        (r#"{"size": 224, "do_normalize": false}"#, "do_normalize"),
        (r#"{"size": 0}"#, "0x0"),
        (r#"{"size": 224, "image_std": [1, 0, 1]}"#, "image_std"),
    ] {
        let message = refuse(text).to_string();
        assert!(message.contains(reason), "{message}");
    }
    let plain =
        ImageProcessor::from_json(r#"{"size": {"height": 8, "width": 6}}"#, "x").expect("a size is enough");
    assert_eq!(
        plain,
        ImageProcessor {
            width: 6,
            height: 8,
            ..ImageProcessor::clip_square(1)
        }
    );
}

#[test]
fn orientation_is_followed_when_asked_for() {
    let mut upright = RgbImage::new(3, 2);
    (0..6).for_each(|index| upright.put_pixel(index % 3, index / 3, image::Rgb([index as u8 * 40; 3])));
    let with_exif = |exif: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::set_exif_metadata(&mut encoder, exif.to_vec()).expect("PNG keeps EXIF");
        upright.write_with_encoder(encoder).expect("memory");
        bytes
    };
    let little = |code: u8| {
        [
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0",
            &[code, 0, 0, 0, 0, 0, 0, 0][..],
        ]
        .concat()
    };
    let rows = |picture: RgbImage| {
        let steps: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0] / 40).collect();
        (picture.width(), steps)
    };
    let decoded =
        |exif: &[u8], way| rows(decode(&with_exif(exif), "turned.png", way).expect("a whole picture"));
    let stored = (3, vec![0, 1, 2, 3, 4, 5]);
    for (code, width, expected) in [
        (1, 3, [0, 1, 2, 3, 4, 5]),
        (2, 3, [2, 1, 0, 5, 4, 3]),
        (3, 3, [5, 4, 3, 2, 1, 0]),
        (4, 3, [3, 4, 5, 0, 1, 2]),
        (5, 2, [0, 3, 1, 4, 2, 5]),
        (6, 2, [3, 0, 4, 1, 5, 2]),
        (7, 2, [5, 2, 4, 1, 3, 0]),
        (8, 2, [2, 5, 1, 4, 0, 3]),
    ] {
        assert_eq!(
            decoded(&little(code), DecodeOptions::upright()),
            (width, expected.to_vec()),
            "{code}"
        );
        assert_eq!(decoded(&little(code), DecodeOptions::as_stored()), stored);
    }
    // A broken block says nothing.
    for broken in [&b"II*"[..], b"no EXIF at all", &little(6)[..12], &little(9)] {
        assert_eq!(decoded(broken, DecodeOptions::upright()), stored);
    }
    // Cameras write other types than the standard's, and more values than one.
    let typed = |kind: u8, count: u8, value: [u8; 4]| {
        let head = [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0"[..], &[kind, 0, 0, 0, count]].concat();
        [&head, &value[..], &[0; 4]].concat()
    };
    let turned = (2, vec![3, 0, 4, 1, 5, 2]);
    for (kind, count, value) in [
        (3, 1, [0, 6, 0, 0]),
        (3, 2, [0, 6, 0, 1]),
        (4, 1, [0, 0, 0, 6]),
        (6, 1, [6, 0, 0, 0]),
        (8, 1, [0, 6, 0, 0]),
        (9, 1, [0, 0, 0, 6]),
    ] {
        let block = typed(kind, count, value);
        assert_eq!(decoded(&block, DecodeOptions::upright()), turned, "type {kind}");
    }
    for (kind, count, value) in [
        (1, 1, [6, 0, 0, 0]),
        (3, 0, [0, 6, 0, 0]),
        (9, 1, [255, 255, 255, 250]),
    ] {
        let block = typed(kind, count, value);
        assert_eq!(decoded(&block, DecodeOptions::upright()), stored, "type {kind}");
    }
}

#[test]
fn what_stands_behind_the_rows_of_a_png_is_looked_at() {
    let mut picture = RgbImage::new(3, 2);
    picture.put_pixel(0, 0, image::Rgb([200; 3]));
    let mut bytes = Vec::new();
    picture
        .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
        .expect("memory");
    let packet = br#"<x tiff:Orientation="6"/>"#;
    let body = [&b"iTXtXML:com.adobe.xmp\0\0\0\0\0"[..], packet].concat();
    let chunk = [
        &(body.len() as u32 - 4).to_be_bytes()[..],
        &body,
        &crc32(&body).to_be_bytes(),
    ]
    .concat();
    let end = bytes.len() - 12;
    let noted = [&bytes[..end], &chunk, &bytes[end..]].concat();
    let turned = decode(&noted, "turned.png", DecodeOptions::upright()).expect("a picture");
    assert_eq!(turned.dimensions(), (2, 3));
    assert_eq!(
        decode(&noted, "x.png", DecodeOptions::as_stored()).expect("a picture"),
        picture
    );
}

#[test]
fn what_is_cut_off_behind_the_last_row_is_not_missed() {
    let picture = RgbImage::from_fn(5, 3, |x, y| image::Rgb([50 * x as u8, 80 * y as u8, 7]));
    let written = |format| {
        let mut bytes = Vec::new();
        picture
            .write_to(&mut std::io::Cursor::new(&mut bytes), format)
            .expect("memory");
        bytes
    };
    // The end of a PNG takes 12 bytes, the checksum in front of it 4, that of all rows another 4.
    for (format, most) in [(image::ImageFormat::Png, 19), (image::ImageFormat::Bmp, 1)] {
        let whole = written(format);
        for cut in 1..=most {
            let decoded = decode(&whole[..whole.len() - cut], "cut", DecodeOptions::upright());
            let decoded = decoded.unwrap_or_else(|error| panic!("{format:?}, {cut} bytes less: {error}"));
            assert_eq!(decoded, picture, "{format:?}, {cut} bytes less");
        }
    }
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, 4, 2, &[0, 0, 0, 255, 255, 255]).expect("a screen");
    let frame = gif::Frame::from_indexed_pixels(4, 2, vec![0, 1, 1, 0, 1, 0, 0, 1], None);
    encoder.write_frame(&frame).expect("memory");
    drop(encoder);
    let whole = decode(&gif, "whole", DecodeOptions::upright()).expect("a picture");
    for cut in 1..=2 {
        let decoded = decode(&gif[..gif.len() - cut], "cut", DecodeOptions::upright());
        assert_eq!(decoded.expect("a picture"), whole, "{cut} bytes less");
    }
    assert!(decode(&gif[..gif.len() - 5], "cut", DecodeOptions::upright()).is_err());
}

#[test]
fn a_pointer_in_the_place_of_a_picture_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let error = decode(pointer, "dog.jpg", DecodeOptions::upright()).expect_err("no picture");
    let error = error.to_string();
    assert!(
        error.contains("dog.jpg") && error.contains("git lfs pull"),
        "{error}"
    );
}

#[test]
fn the_limit_is_the_callers() {
    let mut bytes = Vec::new();
    RgbImage::new(40, 30)
        .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Bmp)
        .expect("memory");
    let at_most = |max_pixels| DecodeOptions {
        max_pixels,
        ..DecodeOptions::upright()
    };
    assert!(decode(&bytes, "x.bmp", at_most(1200)).is_ok());
    let error = decode(&bytes, "x.bmp", at_most(1199))
        .expect_err("too large")
        .to_string();
    assert!(
        error.contains("x.bmp") && error.contains("1200") && error.contains("1199"),
        "{error}"
    );
}

#[test]
fn damaged_pictures_never_break_the_decoder() {
    let mut outcomes = [0; 2];
    let listed = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("golden pictures");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let kinds = listed(&fixture("pictures"))
        .into_iter()
        .filter(|path| path.is_dir());
    let mut paths = listed(&fixture("images"));
    paths.extend(kinds.flat_map(|kind| listed(&kind)));
    for path in paths {
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let whole = std::fs::read(&path).expect("a golden picture");
        if whole.is_empty() || whole.len() > 20_000 || file.ends_with(".json") {
            continue;
        }
        for attempt in 0..30 {
            let mut stream = Stream::new(8, file, attempt);
            let mut bytes = whole.clone();
            // Headers decide most, so half of the damage goes there.
            let reach = if attempt % 2 == 0 {
                bytes.len()
            } else {
                bytes.len().min(300)
            };
            for _ in 0..=stream.below(8) {
                bytes[stream.below(reach)] = stream.below(256) as u8;
            }
            bytes.truncate(1 + stream.below(2 * bytes.len()));
            outcomes[usize::from(decode(&bytes, file, DecodeOptions::upright()).is_ok())] += 1;
        }
    }
    assert!(
        outcomes.iter().all(|count| *count > 20),
        "{outcomes:?} pictures were refused and decoded"
    );
}
