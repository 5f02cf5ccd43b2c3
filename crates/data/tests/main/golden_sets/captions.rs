//! Sets of captions: COCO, Karpathy's files, LAVIS's lists, Visual Genome, Flickr30k, NoCaps.

use std::collections::BTreeMap;

use blip2_data::sets::{DataSpec, OpenOptions};
use blip2_data::text;
use blip2_golden::each;
use serde_json::Value;

use super::{
    Contents, Folder, compare_files, golden, list, object, opened, opened_with, skipped, texts, word, words,
};

#[test]
fn coco() {
    let Some(folder) = Folder::find("coco") else {
        return;
    };
    each(object(&folder.expected["files"]), |(file, expected)| {
        let file = format!("annotations/{file}");
        if !expected["root"].is_null() {
            official(&folder, &file, expected);
        } else if !expected["splits"].is_null() {
            karpathy(&folder, "karpathy", &file, "images", expected);
        } else if !expected["samples"].is_null() {
            lavis(&folder, "lavis", &file, "images", expected);
        }
        // Ground truth without pictures is read by `blip2-evaluation`.
    });
}

/// `captions_*.json`: pictures by ascending id.
fn official(folder: &Folder, file: &str, expected: &Value) {
    let spec = folder.spec("coco", file, word(&expected["root"]).as_str());
    let contents = Contents::of(&*opened(&spec));
    let samples = list(&expected["samples"]);
    let mut check = folder.check(file);
    check.identical("ids", &contents.image_ids(), &words(samples, "image_id"));
    let captions: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample["captions"])).collect();
    check.identical("captions", &contents.texts(), &borrowed(&captions));
    check.identical(
        "skipped",
        &contents.skipped(),
        &skipped(&expected["skipped"], "image_id"),
    );
    // The same pairs, as pycocotools has them in the order of the file.
    let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in list(&expected["pairs"]["rows"]) {
        pairs.entry(word(&row[1])).or_default().push(word(&row[2]));
    }
    let of_file: Vec<&[String]> = words(samples, "image_id")
        .iter()
        .map(|id| pairs[id].as_slice())
        .collect();
    check.identical("captions-by-pycocotools", &contents.texts(), &of_file);
    compare_files(folder, &contents, samples);
}

/// Each split by itself, and what LAVIS trains with.
fn karpathy(folder: &Folder, format: &str, file: &str, images: &str, expected: &Value) {
    let splits = object(&expected["splits"]);
    let spec = folder.spec(format, file, images);
    let error = blip2_data::sets::open(&spec, &OpenOptions::default())
        .err()
        .map(|error| error.to_string());
    assert!(
        error.is_some_and(|error| splits.keys().all(|split| error.contains(split.as_str()))),
        "without a split it says which there are"
    );
    let mut check = folder.check(file);
    let wanted: Vec<String> = splits.keys().cloned().collect();
    let train = splits.contains_key("restval").then(|| "train+restval".to_owned());
    for split in wanted.into_iter().chain(train) {
        let spec = DataSpec {
            split: Some(split.clone()),
            ..spec.clone()
        };
        let contents = Contents::of(&*opened(&spec));
        let mut samples: Vec<Value> = split
            .split('+')
            .flat_map(|split| list(&splits[split]).to_vec())
            .collect();
        samples.sort_by_key(|sample| sample["imgid"].as_u64());
        let id = |sample: &Value| match &sample["cocoid"] {
            Value::Null => word(&sample["imgid"]),
            id => word(id),
        };
        let ids: Vec<String> = samples.iter().map(id).collect();
        let captions: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample["captions"])).collect();
        check.identical(&format!("ids/{split}"), &contents.image_ids(), &ids);
        check.identical(
            &format!("captions/{split}"),
            &contents.texts(),
            &borrowed(&captions),
        );
        check.identical(&format!("skipped/{split}"), &contents.skipped(), &[]);
        compare_files(folder, &contents, &samples);
    }
}

/// A list of LAVIS: training lists have a caption in each entry, the others all captions of a picture.
fn lavis(folder: &Folder, format: &str, file: &str, images: &str, expected: &Value) {
    let samples = list(&expected["samples"]);
    let contents = Contents::of(&*opened(&folder.spec(format, file, images)));
    compare_list(folder, file, &contents, samples);
    compare_files(folder, &contents, samples);
}

fn compare_list(folder: &Folder, file: &str, contents: &Contents, samples: &[Value]) {
    let mut check = folder.check(file);
    check.identical("keys", &contents.keys(), &words(samples, "index"));
    check.identical("skipped", &contents.skipped(), &[]);
    if samples
        .iter()
        .any(|sample| !sample["caption"].is_null() || !sample["captions"].is_null())
    {
        let captions = |sample: &Value| match &sample["captions"] {
            Value::Null => texts(&sample["caption"]),
            captions => texts(captions),
        };
        let captions: Vec<Vec<String>> = samples.iter().map(captions).collect();
        check.identical("captions", &contents.texts(), &borrowed(&captions));
    }
    for field in ["image_id", "image_id_of_eval"] {
        if samples.iter().any(|sample| !sample[field].is_null()) {
            check.identical("ids", &contents.image_ids(), &words(samples, field));
        }
    }
    // Pictures numbered as they first come, and texts as they come, as in LAVIS's retrieval.
    let mut numbers: Vec<String> = Vec::new();
    let ids = contents.image_ids();
    let numbered: Vec<String> = ids
        .iter()
        .map(|id| {
            let place = numbers.iter().position(|known| known == id);
            let place = place.unwrap_or_else(|| {
                numbers.push(id.clone());
                numbers.len() - 1
            });
            place.to_string()
        })
        .collect();
    if samples.iter().any(|sample| !sample["image_number"].is_null()) {
        check.identical("numbers-of-pictures", &numbered, &words(samples, "image_number"));
    }
    if samples.iter().any(|sample| !sample["text_ids"].is_null()) {
        let mut next = 0..;
        let numbered: Vec<Vec<String>> = contents
            .samples
            .iter()
            .map(|sample| {
                next.by_ref()
                    .take(sample.texts.len())
                    .map(|number: u64| number.to_string())
                    .collect()
            })
            .collect();
        let theirs: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample["text_ids"])).collect();
        check.identical("numbers-of-texts", &numbered, &theirs);
    }
    if samples.iter().any(|sample| !sample["blip_caption"].is_null()) {
        let cleaned: Vec<String> = contents
            .samples
            .iter()
            .map(|sample| text::caption(&sample.texts[0], ""))
            .collect();
        check.identical("cleaned-captions", &cleaned, &words(samples, "blip_caption"));
    }
}

#[test]
fn visual_genome() {
    let Some(folder) = Folder::find("visual-genome") else {
        return;
    };
    let files = object(&folder.expected["files"]);
    each(files, |(file, expected)| {
        let path = format!("annotations/{file}");
        let same = expected["same_as"].as_str();
        let expected = same.map_or(expected, |same| &files[same]);
        let samples = list(&expected["samples"]);
        let of_questions = samples.iter().all(|sample| !sample["question"].is_null());
        let format = if of_questions { "vg-qa" } else { "visual-genome" };
        let mut spec = folder.spec(format, &path, "images");
        if same.is_some() {
            // As published: one folder in the list, two on disk, and none of them the one that it names.
            spec.strip = Some(beginning(&folder, &path));
            spec.images = folders(&folder, samples);
        }
        let contents = Contents::of(&*opened(&spec));
        let mut check = folder.check(&path);
        if of_questions {
            super::questions::compare(&mut check, &contents, samples);
        } else {
            let captions: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample["caption"])).collect();
            check.identical("captions", &contents.texts(), &borrowed(&captions));
        }
        let keyed = if of_questions { "question_id" } else { "region_id" };
        if samples.iter().all(|sample| !sample[keyed].is_null()) {
            check.identical("keys", &contents.keys(), &words(samples, keyed));
        }
        if samples.iter().all(|sample| !sample["image_id"].is_null()) {
            check.identical("ids", &contents.image_ids(), &words(samples, "image_id"));
        }
        if !expected["skipped"].is_null() {
            check.identical(
                "skipped",
                &contents.skipped(),
                &skipped(&expected["skipped"], "image_id"),
            );
            list(&expected["skipped"]).iter().for_each(|entry| {
                folder.path(&word(&entry["file"]));
            });
        }
        compare_files(&folder, &contents, samples);
        folder.path("annotations/image_data.json");
    });
}

/// What stands before the name of the first picture in the list `file`.
fn beginning(folder: &Folder, file: &str) -> String {
    let entries: Value =
        serde_json::from_slice(&std::fs::read(folder.path(file)).expect("a list")).expect("JSON");
    let name = word(&entries[0]["image"]);
    name.rsplit_once('/')
        .map_or(String::new(), |(folder, _)| format!("{folder}/"))
}

/// The folders in which `samples` lie.
fn folders(folder: &Folder, samples: &[Value]) -> Vec<std::path::PathBuf> {
    let below = |file: String| file.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let mut folders: Vec<String> = words(samples, "file").into_iter().filter_map(below).collect();
    folders.sort();
    folders.dedup();
    folders
        .iter()
        .map(|below| golden(&folder.relative(below)))
        .collect()
}

#[test]
fn flickr30k() {
    let Some(folder) = Folder::find("flickr30k") else {
        return;
    };
    each(object(&folder.expected["files"]), |(file, expected)| {
        let path = format!("annotations/{file}");
        if !expected["splits"].is_null() {
            let splits = object(&expected["splits"]);
            let some = splits
                .values()
                .find_map(|split| split.as_array().filter(|split| !split.is_empty()));
            let images = below(some.expect("a picture in some split"));
            return karpathy(&folder, "flickr30k", &path, &images, expected);
        }
        let samples = list(&expected["samples"]);
        if samples.iter().all(|sample| !sample["index"].is_null()) {
            return lavis(&folder, "flickr30k", &path, "images", expected);
        }
        let spec = folder.spec("flickr30k", &path, &below(samples));
        let contents = Contents::of(&*opened(&spec));
        let mut check = folder.check(&path);
        let captions: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample["captions"])).collect();
        check.identical("captions", &contents.texts(), &borrowed(&captions));
        check.identical("skipped", &contents.skipped(), &[]);
        compare_files(&folder, &contents, samples);
    });
}

#[test]
fn nocaps() {
    let Some(folder) = Folder::find("nocaps") else {
        return;
    };
    each(object(&folder.expected["files"]), |(file, expected)| {
        let path = format!("annotations/{file}");
        let mut check = folder.check(&path);
        if let Some(images) = expected["images"].as_array() {
            let file = |image: &Value| word(&image[1]);
            let below = images.first().map(file).unwrap_or_default();
            let below = below.rsplit_once('/').map_or("images", |(folder, _)| folder);
            let contents = Contents::of(&*opened(&folder.spec("nocaps", &path, below)));
            let ids: Vec<String> = images.iter().map(|image| word(&image[0])).collect();
            check.identical("ids", &contents.image_ids(), &ids);
            check.identical("captions", &contents.texts(), &vec![&[][..]; images.len()]);
            let mut sizes = Vec::new();
            for (sample, image) in contents.samples.iter().zip(images) {
                folder.path(&file(image));
                let picture = sample.picture.decode(&sample.key).expect("decoded before");
                sizes.push([picture.width(), picture.height()].map(u64::from).to_vec());
            }
            folder
                .check(below)
                .identical("sizes", &sizes, &listed_sizes(&folder, &path));
            return;
        }
        let samples = list(&expected["samples"]);
        let is_list = samples.iter().all(|sample| !sample["index"].is_null());
        let images = match is_list {
            true => "images".to_owned(),
            false => below(samples),
        };
        let spec = folder.spec("nocaps", &path, &images);
        let contents = Contents::of(&*opened(&spec));
        check.identical("ids", &contents.image_ids(), &words(samples, "image_id"));
        if !is_list {
            let captions: Vec<Vec<String>> =
                samples.iter().map(|sample| texts(&sample["captions"])).collect();
            check.identical("captions", &contents.texts(), &borrowed(&captions));
            for (domain, ids) in object(&expected["domains"]) {
                let of_domain = DataSpec {
                    split: Some(domain.clone()),
                    ..spec.clone()
                };
                let own = Contents::of(&*opened_with(&of_domain, &OpenOptions::default()));
                let ids: Vec<String> = list(ids).iter().map(word).collect();
                check.identical(&format!("domain/{domain}"), &own.image_ids(), &ids);
            }
        }
        compare_files(&folder, &contents, samples);
    });
}

/// The folder in which the first of `samples` lies.
fn below(samples: &[Value]) -> String {
    let file = word(&samples[0]["file"]);
    file.rsplit_once('/')
        .map_or(String::new(), |(folder, _)| folder.to_owned())
}

/// Width and height of each picture, as the file of annotations has them.
fn listed_sizes(folder: &Folder, file: &str) -> Vec<Vec<u64>> {
    let content = std::fs::read(folder.path(file)).expect("a file");
    let content: Value = serde_json::from_slice(&content).expect("JSON");
    let side = |image: &Value, side: &str| image[side].as_u64().expect("a side");
    let images = list(&content["images"]).iter();
    images
        .map(|image| vec![side(image, "width"), side(image, "height")])
        .collect()
}

fn borrowed(texts: &[Vec<String>]) -> Vec<&[String]> {
    texts.iter().map(Vec::as_slice).collect()
}
