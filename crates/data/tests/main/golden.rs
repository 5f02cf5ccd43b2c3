//! Pixels as Pillow makes them and word pieces as the original training code does (`images`, model folders, `lavis`).

use blip2_data::pixels::{
    CropBox, DecodeOptions, ImageProcessor, RgbImage, flip_horizontal, open, resize, resize_crop,
};
use blip2_data::text::{BertTokenizer, Padding};
use blip2_golden::{Check, TensorFile, each, find, json, models, variants};
use serde_json::Value;

const PICTURES: &str = "images/expected.safetensors";
/// Of the values of a resized picture, how many may be one of 255 off.
const SHARE: f64 = 1e-3;

fn picture(tensors: &TensorFile, name: &str) -> RgbImage {
    let array = tensors.array(name);
    let bytes = array.values.iter().map(|value| *value as u8).collect();
    RgbImage::from_raw(array.shape[1] as u32, array.shape[0] as u32, bytes).expect("[height, width, 3] bytes")
}

/// The absolute difference of each value; infinite where `[height, width, 3]` of both are not equal.
fn gaps(ours: &RgbImage, reference: &RgbImage) -> Vec<f64> {
    if ours.dimensions() != reference.dimensions() {
        return vec![f64::INFINITY];
    }
    let pairs = ours.as_raw().iter().zip(reference.as_raw());
    pairs.map(|(left, right)| left.abs_diff(*right).into()).collect()
}

fn check_resized(check: &mut Check, what: &str, ours: &RgbImage, reference: &RgbImage) {
    let gaps = gaps(ours, reference);
    let share = gaps.iter().filter(|gap| **gap > 0.0).count() as f64 / gaps.len() as f64;
    check.absolute(what, &gaps, &vec![0.0; gaps.len()], 1.0);
    check.absolute(&format!("share-of-{what}"), &[share], &[0.0], SHARE);
}

/// Whether the format keeps no exact values: JPEG, and WebP with a `VP8 ` chunk.
fn is_lossy(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8])
        || bytes.starts_with(b"RIFF") && bytes.windows(4).take(4096).any(|chunk| chunk == b"VP8 ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}")) as u32
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

#[test]
fn pictures_decode_as_pillow_decodes_them() {
    let Some(cases) = json("images/cases.json") else {
        return;
    };
    let tensors = TensorFile::open(PICTURES);
    each(list(&cases["files"]).iter().map(text), |file| {
        let mut check = Check::new("images");
        let path = find(&format!("images/{file}")).expect("the folder has its pictures");
        let ours = open(&path, DecodeOptions::as_stored()).expect("a whole picture");
        let gaps = gaps(&ours, &picture(&tensors, &format!("{file}.decoded")));
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let nothing = vec![0.0; gaps.len()];
        if is_lossy(&std::fs::read(&path).expect("just read")) {
            check.absolute(&format!("decoded-lossy/{file}"), &gaps, &nothing, 6.0);
            check.absolute(&format!("mean-of-decoded-lossy/{file}"), &[mean], &[0.0], 0.5);
        } else {
            check.absolute(&format!("decoded-exact/{file}"), &gaps, &nothing, 0.0);
        }
    });
}

#[test]
fn resizing_and_normalising_are_pillows() {
    if json("images/cases.json").is_none() {
        return;
    }
    let tensors = TensorFile::open(PICTURES);
    let of_a_result = |name: &&String| name.contains(".resized") || name.ends_with(".pixel_values");
    each(tensors.names().iter().filter(of_a_result), |name| {
        let mut check = Check::new("images");
        if let Some((file, _)) = name.rsplit_once(".resized") {
            let decoded = picture(&tensors, &format!("{file}.decoded"));
            let reference = picture(&tensors, name);
            let ours = resize(&decoded, reference.width(), reference.height()).expect("a size above 0");
            check_resized(&mut check, &format!("resized/{file}"), &ours, &reference);
        } else if let Some(file) = name.strip_suffix(".pixel_values") {
            let reference = tensors.array(name);
            let processor = ImageProcessor::clip_square(*reference.shape.last().expect("a side") as u32);
            let decoded = picture(&tensors, &format!("{file}.decoded"));
            let ours = processor.process(&decoded).expect("a size above 0");
            check_pixels(&mut check, file, &ours, &reference.values, &processor);
        }
    });
}

#[test]
fn crops_and_sums_are_pillows() {
    let Some(cases) = json("images/cases.json") else {
        return;
    };
    let tensors = TensorFile::open(PICTURES);
    each(list(&cases["cases"]), |case| {
        let mut check = Check::new("images");
        let file = text(&case["file"]);
        let decoded = picture(&tensors, &format!("{file}.decoded"));
        if let Some(edges) = case["crop"].as_array() {
            let reference = picture(&tensors, text(&case["key"]));
            let crop = CropBox {
                left: number(&edges[0]),
                top: number(&edges[1]),
                right: number(&edges[2]),
                bottom: number(&edges[3]),
            };
            let mut ours =
                resize_crop(&decoded, crop, reference.width(), reference.height()).expect("inside");
            if case["flip"] == true {
                ours = flip_horizontal(&ours);
            }
            check_resized(&mut check, &format!("cropped/{file}"), &ours, &reference);
        } else {
            let side = number(&case["size"]);
            let ours = resize(&decoded, side, side).expect("a size above 0");
            let sum: f64 = ours.as_raw().iter().map(|byte| f64::from(*byte)).sum();
            let expected = case["sum"].as_f64().expect("a sum");
            let allowed = SHARE * ours.as_raw().len() as f64;
            check.absolute(&format!("sum-of-resized/{file}"), &[sum], &[expected], allowed);
        }
    });
}

/// At most one step of a byte after normalisation, in at most [`SHARE`] of the values.
fn check_pixels(check: &mut Check, which: &str, ours: &[f32], reference: &[f64], processor: &ImageProcessor) {
    let smallest = processor.std.iter().copied().fold(f32::INFINITY, f32::min);
    check.absolute(
        &format!("pixel_values/{which}"),
        ours,
        reference,
        f64::from(1.01 / 255.0 / smallest),
    );
    let pairs = ours.iter().zip(reference);
    let far = pairs.filter(|(left, right)| (f64::from(**left) - *right).abs() > 1e-5);
    let share = far.count() as f64 / reference.len() as f64;
    check.absolute(&format!("share-of-pixel_values/{which}"), &[share], &[0.0], SHARE);
}

#[test]
fn the_processor_of_a_model_folder_gives_its_pixel_values() {
    let architectures = ["Blip2ForConditionalGeneration", "Blip2ForImageTextRetrieval"];
    each(architectures.into_iter().flat_map(models), |model| {
        let (expected, mut check) = (model.expected(), model.check());
        let processor = ImageProcessor::from_folder(&model.path).expect("a processor");
        for image in expected.stems(".pixel_values") {
            let path = model.path.join(format!("image{image}.png"));
            let ours = processor
                .process(&open(&path, DecodeOptions::as_stored()).expect("a whole picture"))
                .expect("a size above 0");
            let reference = expected.array(&format!("{image}.pixel_values"));
            check_pixels(&mut check, image, &ours, &reference.values, &processor);
        }
    });
}

#[test]
fn the_captions_of_the_training_step_get_its_ids() {
    let Some(sizes) = json("lavis/config.json") else {
        return;
    };
    let vocabulary = find("lavis/bert-vocab.txt").expect("the folder has its vocabulary");
    let tokenizer = BertTokenizer::from_file(&vocabulary).expect("a vocabulary");
    let pieces = std::fs::read_to_string(&vocabulary).expect("a vocabulary");
    let unknown = pieces.lines().position(|piece| piece == "[UNK]");
    let unknown = unknown.map(|id| id as u32);
    each(variants("lavis/stage1_", "_trajectory.json"), |encoder| {
        let file = format!("lavis/stage1_{encoder}_trajectory.json");
        let trajectory = json(&file).expect("just found");
        let captions: Vec<String> = list(&trajectory["captions"])
            .iter()
            .map(|caption| text(caption).to_owned())
            .collect();
        let given: Vec<&str> = captions.iter().map(String::as_str).collect();
        let batch = tokenizer
            .encode(&given, number(&sizes["max_txt_len"]) as usize, Padding::MaxLength)
            .expect("tokens");

        let io = TensorFile::open(&format!("lavis/stage1_{encoder}_io.safetensors"));
        let mut check = Check::new("lavis");
        let mask: Vec<Vec<u32>> = batch
            .mask
            .iter()
            .map(|row| row.iter().map(|real| u32::from(*real)).collect())
            .collect();
        check.identical(&format!("input_ids/{encoder}"), &batch.ids, &io.ids("input_ids"));
        check.identical(
            &format!("attention_mask/{encoder}"),
            &mask,
            &io.ids("attention_mask"),
        );
        for ((row, mask), caption) in batch.ids.iter().zip(&batch.mask).zip(&captions) {
            let simple = |letter: char| letter.is_ascii_lowercase() || letter == ' ';
            let is_whole = mask.last() == Some(&false) && !row.iter().any(|id| Some(*id) == unknown);
            // What is written as the vocabulary has it, and was not cut, comes back.
            if caption.chars().all(simple) && is_whole {
                let text = tokenizer.decode(row).expect("known ids");
                check.identical(
                    &format!("decoded-captions/{encoder}"),
                    &[text],
                    std::slice::from_ref(caption),
                );
            }
        }
    });
}
