//! Tables: Hugging Face's Parquet files and image folders, what img2dataset fetched for CC3M and SBU.

use std::collections::BTreeMap;

use blip2_data::pixels::{DecodeOptions, decode};
use blip2_data::sets::{Cache, DataSpec, Downloads, OpenOptions, Picture};
use blip2_golden::{Check, each};
use serde_json::Value;

use super::{
    Contents, Folder, compare_files, compare_pictures, golden, list, object, opened, opened_with, skipped,
    text, texts, word, words,
};

#[test]
fn hugging_face_parquet() {
    let Some(folder) = Folder::find("hf-parquet") else {
        return;
    };
    let sets = object(&folder.expected["sets"]);
    each(
        sets.iter().filter(|(_, set)| set["splits"].is_null()),
        |(name, expected)| {
            let files = object(&expected["files"]);
            files.keys().for_each(|file| {
                folder.path(&format!("{name}/{file}"));
            });
            let column = |field: &str| Some(text(&expected[field]).to_owned());
            let spec = DataSpec {
                image: column("image_column"),
                text: column("text_column"),
                ..DataSpec::new("parquet", golden(&folder.relative(name)).display().to_string())
            };
            let set = opened(&spec);
            let contents = Contents::of(&*set);
            let samples = list(&expected["samples"]);
            let mut check = folder.check(name);
            let groups: Vec<u64> = files
                .values()
                .flat_map(|file| list(&file["row_groups"]))
                .filter_map(Value::as_u64)
                .collect();
            check.identical("row-groups", &set.runs(), &groups);
            let rows: Vec<u64> = samples
                .iter()
                .filter_map(|sample| sample["row"].as_u64())
                .collect();
            check.identical("rows", &contents.indices, &rows);
            let field = text(&expected["text_column"]);
            let captions: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample[field])).collect();
            check.identical(
                "captions",
                &contents
                    .samples
                    .iter()
                    .map(|sample| sample.texts.clone())
                    .collect::<Vec<_>>(),
                &captions,
            );
            if samples.iter().any(|sample| !sample["image_id"].is_null()) {
                check.identical("ids", &contents.image_ids(), &words(samples, "image_id"));
            }
            let ours: Vec<(String, String)> = contents
                .errors
                .iter()
                .map(|(row, error)| (row.to_string(), error.reason.to_owned()))
                .collect();
            let theirs: Vec<(String, String)> = list(&expected["skipped"])
                .iter()
                .map(|entry| (word(&entry["row"]), word(&entry["reason"])))
                .collect();
            check.identical("skipped", &ours, &theirs);
            compare_pictures(&mut check, "pictures", contents.samples.iter().zip(samples));
            turned(&mut check, &contents, samples);
            if samples.iter().all(|sample| sample["caption_en"].is_string()) && !samples.is_empty() {
                let english = DataSpec {
                    text: Some("caption_en".into()),
                    ..spec.clone()
                };
                let ours: Vec<String> = Contents::of(&*opened(&english))
                    .samples
                    .into_iter()
                    .flat_map(|sample| sample.texts)
                    .collect();
                check.identical("another-column", &ours, &words(samples, "caption_en"));
            }
        },
    );
}

/// What `datasets` makes of a picture that a camera has turned.
fn turned(check: &mut Check, contents: &Contents, samples: &[Value]) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (sample, expected) in contents.samples.iter().zip(samples) {
        let upright = &expected["image"]["datasets_turns_it_by_exif"];
        if let (Picture::Encoded(bytes), Some(size)) = (&sample.picture, upright["size"].as_array()) {
            let picture = decode(bytes, &sample.key, DecodeOptions::upright()).expect("a picture");
            ours.push([picture.width(), picture.height()].map(u64::from).to_vec());
            theirs.push(size.iter().filter_map(Value::as_u64).collect());
        }
    }
    if !ours.is_empty() {
        check.identical("sizes-upright", &ours, &theirs);
    }
}

#[test]
fn hugging_face_image_folders() {
    let Some(folder) = Folder::find("hf-parquet") else {
        return;
    };
    let sets = object(&folder.expected["sets"]);
    each(
        sets.iter().filter(|(_, set)| !set["splits"].is_null()),
        |(name, expected)| {
            let splits = object(&expected["splits"]);
            for (split, part) in splits {
                let below = if splits.len() > 1 {
                    format!("{name}/{split}")
                } else {
                    name.clone()
                };
                let found = ["metadata.jsonl", "metadata.csv"].map(|file| format!("{below}/{file}"));
                found
                    .iter()
                    .filter(|file| golden(&folder.relative(file)).exists())
                    .for_each(|file| {
                        folder.path(file);
                    });
                let spec = DataSpec {
                    split: (splits.len() > 1).then(|| split.clone()),
                    ..DataSpec::new(
                        "imagefolder",
                        golden(&folder.relative(name)).display().to_string(),
                    )
                };
                let contents = Contents::of(&*opened(&spec));
                let samples: Vec<Value> = list(&part["samples"])
                    .iter()
                    .map(|sample| below_set(name, sample))
                    .collect();
                let mut check = folder.check(&below);
                // What the file of a table says counts, not what pandas takes for nothing.
                let says = |sample: &Value| match (&sample["csv_text"], &sample["captions"]) {
                    (Value::String(text), _) => vec![text.clone()],
                    (_, Value::Null) => texts(&sample["text"]),
                    (_, captions) => texts(captions),
                };
                let captions: Vec<Vec<String>> = samples.iter().map(says).collect();
                let ours: Vec<Vec<String>> = contents
                    .samples
                    .iter()
                    .map(|sample| sample.texts.clone())
                    .collect();
                check.identical(&format!("captions/{split}"), &ours, &captions);
                let theirs: Vec<(String, String)> = skipped(&expected["skipped"], "file");
                check.identical(&format!("skipped/{split}"), &contents.skipped(), &theirs);
                theirs.iter().for_each(|(file, _)| {
                    folder.path(&format!("{name}/{file}"));
                });
                compare_files(&folder, &contents, &samples);
            }
        },
    );
}

/// `sample` with its file seen from the folder of all sets.
fn below_set(set: &str, sample: &Value) -> Value {
    let mut sample = sample.clone();
    sample["file"] = format!("{set}/{}", text(&sample["file"])).into();
    sample
}

#[test]
fn img2dataset_files() {
    let Some(folder) = Folder::find("img2dataset") else {
        return;
    };
    let runs = object(&folder.expected["runs"]);
    each(
        runs.iter().filter(|(_, run)| run["output_format"] == "files"),
        |(name, run)| {
            let spec = DataSpec::new("folder", golden(&folder.relative(name)).display().to_string());
            let contents = Contents::of(&*opened(&spec));
            let shards = object(&run["shards"]);
            let samples: Vec<Value> = shards
                .values()
                .flat_map(|shard| list(&shard["samples"]))
                .map(|sample| below_set(name, sample))
                .collect();
            let mut check = folder.check(name);
            compare_files(&folder, &contents, &samples);
            let captions = |contents: &Contents| {
                contents
                    .samples
                    .iter()
                    .map(|sample| sample.texts.clone())
                    .collect::<Vec<_>>()
            };
            let theirs = |field: &str| {
                samples
                    .iter()
                    .map(|sample| texts(&sample[field]))
                    .collect::<Vec<_>>()
            };
            check.identical("captions", &captions(&contents), &theirs("caption"));
            let json = DataSpec {
                text: Some("json".into()),
                ..spec
            };
            check.identical(
                "captions-in-json",
                &captions(&Contents::of(&*opened(&json))),
                &theirs("json_caption"),
            );
            for sample in &samples {
                let (stem, _) = text(&sample["file"])
                    .rsplit_once('.')
                    .expect("a file of a picture");
                ["txt", "json"].iter().for_each(|end| {
                    folder.path(&format!("{stem}.{end}"));
                });
            }
            failed(&folder, &mut check, name, shards, &contents);
        },
    );
}

/// What was not fetched, and how many were.
fn failed(
    folder: &Folder,
    check: &mut Check,
    run: &str,
    shards: &serde_json::Map<String, Value>,
    contents: &Contents,
) {
    let mut theirs: Vec<(String, String)> = shards
        .values()
        .flat_map(|shard| skipped(&shard["failed"], "key"))
        .collect();
    theirs.sort();
    check.identical("failed", &contents.skipped(), &theirs);
    let (mut ours, mut written) = (0, 0);
    for (shard, expected) in shards {
        let stem = shard.trim_end_matches(".parquet");
        folder.path(&format!("{run}/{stem}.parquet"));
        let file = folder.path(&format!("{run}/{stem}_stats.json"));
        let statistics: BTreeMap<String, Value> =
            serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
        written += statistics["successes"].as_u64().expect("a count");
        ours += expected["stats"]["successes"].as_u64().expect("a count");
    }
    check.identical(
        "successes",
        &[contents.samples.len() as u64, ours],
        &[written, written],
    );
}

#[test]
fn img2dataset_parquet() {
    let Some(folder) = Folder::find("img2dataset") else {
        return;
    };
    let runs = object(&folder.expected["runs"]);
    each(
        runs.iter().filter(|(_, run)| run["output_format"] == "parquet"),
        |(name, run)| {
            let spec = DataSpec::new("parquet", golden(&folder.relative(name)).display().to_string());
            let contents = Contents::of(&*opened(&spec));
            let shards = object(&run["shards"]);
            let samples: Vec<Value> = shards
                .values()
                .flat_map(|shard| list(&shard["samples"]))
                .cloned()
                .collect();
            let mut check = folder.check(name);
            check.identical("keys", &contents.keys(), &words(&samples, "key"));
            let captions: Vec<Vec<String>> = samples.iter().map(|sample| texts(&sample["caption"])).collect();
            check.identical(
                "captions",
                &contents
                    .samples
                    .iter()
                    .map(|sample| sample.texts.clone())
                    .collect::<Vec<_>>(),
                &captions,
            );
            compare_pictures(&mut check, "pictures", contents.samples.iter().zip(&samples));
            failed(&folder, &mut check, name, shards, &contents);
        },
    );
}

#[test]
fn img2dataset_tables() {
    let shards = |folder: &Folder, shards: &Value, below: &str| {
        for (shard, expected) in object(shards) {
            let file = format!(
                "{below}{}.parquet",
                shard.trim_end_matches(".tar").trim_end_matches(".parquet")
            );
            let table = Downloads::open(&folder.path(&file))
                .expect("a file")
                .expect("a table of img2dataset");
            let mut check = folder.check(&file);
            let keys: Vec<String> = table.rows().iter().map(|row| row.key.clone()).collect();
            check.identical("keys", &keys, &texts(&expected["keys_in_parquet_order"]));
            let failed = table
                .rows()
                .iter()
                .filter_map(|row| Some((row.key.clone(), row.failure?.to_owned())));
            let mut failed: Vec<(String, String)> = failed.collect();
            failed.sort();
            check.identical("failed", &failed, &skipped(&expected["failed"], "key"));
        }
    };
    if let Some(folder) = Folder::find("img2dataset") {
        each(object(&folder.expected["runs"]), |(run, expected)| {
            shards(&folder, &expected["shards"], &format!("{run}/"));
        });
    }
    if let Some(folder) = Folder::find("sbu") {
        shards(&folder, &folder.expected["files"]["images"], "images/");
    }
}

#[test]
fn lists_of_addresses() {
    each([("cc3m", "tsv"), ("sbu", "sbu")], |(name, format)| {
        let Some(folder) = Folder::find(name) else { return };
        let files = object(&folder.expected["files"]);
        for (file, expected) in files
            .iter()
            .filter(|(_, expected)| !expected["samples"].is_null())
        {
            let samples = list(&expected["samples"]);
            let mut check = folder.check(file);
            let is_list = samples.iter().all(|sample| sample["key"].is_null());
            if is_list {
                let images = root_of(&folder, file, samples);
                let contents = Contents::of(&*opened(&folder.spec("lavis", file, &images)));
                check.identical(
                    "captions",
                    &contents
                        .samples
                        .iter()
                        .flat_map(|sample| sample.texts.clone())
                        .collect::<Vec<_>>(),
                    &words(samples, "caption"),
                );
                compare_files(&folder, &contents, samples);
                continue;
            }
            let contents = {
                let cache = tempfile::tempdir().expect("a folder");
                let options = OpenOptions {
                    cache: Some(Cache::new(cache.path(), 1 << 30)),
                    ..OpenOptions::default()
                };
                Contents::of(&*opened_with(&folder.spec(format, file, "images"), &options))
            };
            check.identical("keys", &contents.keys(), &words(samples, "key"));
            check.identical(
                "captions",
                &contents
                    .samples
                    .iter()
                    .flat_map(|sample| sample.texts.clone())
                    .collect::<Vec<_>>(),
                &words(samples, "caption"),
            );
            check.identical(
                "skipped",
                &contents.skipped(),
                &skipped(&expected["skipped"], "key"),
            );
            if samples.iter().all(|sample| sample["file"].is_string()) {
                compare_files(&folder, &contents, samples);
                beside(&folder, samples);
            } else {
                compare_pictures(
                    &mut folder.check("images"),
                    "pictures",
                    contents.samples.iter().zip(samples),
                );
            }
        }
    });
}

/// The folder that names in the list `file` are relative to.
fn root_of(folder: &Folder, file: &str, samples: &[Value]) -> String {
    let entries: Value =
        serde_json::from_slice(&std::fs::read(folder.path(file)).expect("a list")).expect("JSON");
    let root = text(&samples[0]["file"]).strip_suffix(text(&entries[0]["image"]));
    root.expect("the file of the first entry")
        .trim_end_matches('/')
        .to_owned()
}

/// What img2dataset itself wrote beside the pictures: the same captions, but for quotes that it took for those of a table.
fn beside(folder: &Folder, samples: &[Value]) {
    let spec = DataSpec::new("folder", golden(&folder.relative("images")).display().to_string());
    let theirs = |sample: &Value| match &sample["img2dataset_caption"] {
        Value::Null => word(&sample["caption"]),
        own => word(own),
    };
    let theirs: Vec<String> = samples.iter().map(theirs).collect();
    let mut check = folder.check("images");
    for (what, member) in [("captions-in-txt", "txt"), ("captions-in-json", "json")] {
        let spec = DataSpec {
            text: Some(member.into()),
            ..spec.clone()
        };
        let ours: Vec<String> = Contents::of(&*opened(&spec))
            .samples
            .into_iter()
            .flat_map(|sample| sample.texts)
            .collect();
        check.identical(what, &ours, &theirs);
        for sample in samples {
            let (stem, _) = text(&sample["file"])
                .rsplit_once('.')
                .expect("a file of a picture");
            folder.path(&format!("{stem}.{member}"));
        }
    }
    for entry in std::fs::read_dir(golden(&folder.relative("images")))
        .expect("a folder")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".parquet") || name.ends_with("_stats.json") {
            folder.path(&format!("images/{name}"));
        }
    }
}
