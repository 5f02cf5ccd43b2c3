//! webdataset shards, whole and damaged (`data/webdataset`, `data/img2dataset`, `data/damaged`).

use std::path::Path;
use std::sync::Arc;

use blip2_data::pixels::RgbImage;
use blip2_data::sets::webdataset::{CaptionSource, Rules, WebDataset, expand_braces};
use blip2_data::sets::{Cache, Dataset, Picture, Report, Severity};
use blip2_golden::{Check, each, find, json};
use serde_json::Value;

use super::pictures::{Cells, sha256};
use super::{entries, list, part, text, texts};

/// A sample that can be used.
struct Whole {
    key: String,
    texts: Vec<String>,
    bytes: Arc<[u8]>,
    pixels: Arc<RgbImage>,
}

/// What a data set gives: key, texts, picture of every sample that can be used; key and reason of those that cannot.
struct Seen {
    samples: Vec<Whole>,
    skipped: Vec<(String, String)>,
    reports: Vec<Report>,
}

fn see(path: &str, rules: Rules) -> Seen {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path(), 1 << 30);
    let set =
        WebDataset::open("golden", path, cache, rules).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut seen = Seen {
        samples: Vec::new(),
        skipped: Vec::new(),
        reports: set.reports(),
    };
    for index in 0..set.len() {
        let whole = set.examine(index).and_then(|(sample, reports)| {
            seen.reports.extend(reports);
            let pixels = sample.picture.decode(&sample.key)?;
            let Picture::Encoded(bytes) = &sample.picture else {
                panic!("shards hold files");
            };
            Ok(Whole {
                bytes: bytes.clone(),
                key: sample.key,
                texts: sample.texts,
                pixels,
            })
        });
        match whole {
            Ok(sample) => seen.samples.push(sample),
            Err(error) => seen.skipped.push((error.key, error.reason.to_owned())),
        }
    }
    let left_out = seen
        .reports
        .iter()
        .filter(|report| report.severity == Severity::Skipped);
    let left_out = left_out.map(|report| (report.key.clone().expect("a sample"), report.reason.clone()));
    seen.skipped.extend(left_out);
    seen
}

impl Seen {
    fn keys(&self) -> Vec<&str> {
        self.samples.iter().map(|sample| sample.key.as_str()).collect()
    }

    fn captions(&self) -> Vec<(&str, &[String])> {
        self.samples
            .iter()
            .map(|sample| (sample.key.as_str(), sample.texts.as_slice()))
            .collect()
    }

    fn reasons(&self, severity: Severity) -> Vec<&str> {
        let reports = self.reports.iter().filter(|report| report.severity == severity);
        reports.map(|report| report.reason.as_str()).collect()
    }
}

fn from_json() -> Rules {
    Rules {
        captions: CaptionSource::Json,
        ..Rules::default()
    }
}

/// Compares a shard that is whole with its samples.
fn check_shard(check: &mut Check, cells: &Cells, path: &Path, name: &str, expected: &Value) {
    let path = path.to_str().expect("a path in UTF-8");
    let seen = see(path, Rules::default());
    let samples = list(&expected["samples"]);
    let captions: Vec<(&str, Vec<String>)> = samples
        .iter()
        .map(|sample| (text(&sample["key"]), texts(&sample["caption"])))
        .collect();
    let expected_captions: Vec<(&str, &[String])> = captions
        .iter()
        .map(|(key, texts)| (*key, texts.as_slice()))
        .collect();
    check.identical(&format!("captions/{name}"), &seen.captions(), &expected_captions);

    let mut skipped = seen.skipped.clone();
    skipped.sort();
    let mut expected_skipped: Vec<(String, String)> = list(&expected["skipped"])
        .iter()
        .map(|skipped| {
            (
                text(&skipped["key"]).to_owned(),
                text(&skipped["reason"]).to_owned(),
            )
        })
        .collect();
    expected_skipped.sort();
    check.identical(&format!("skipped/{name}"), &skipped, &expected_skipped);
    check.identical(&format!("broken/{name}"), &seen.reasons(Severity::File), &[]);
    let duplicates = list(&expected["webdataset_problems"]).len();
    check.identical(
        &format!("duplicates/{name}"),
        &vec!["member_duplicate"; duplicates],
        &seen.reasons(Severity::Warning),
    );

    for (
        Whole {
            key, bytes, pixels, ..
        },
        sample,
    ) in seen.samples.iter().zip(samples)
    {
        let what = format!("{name}:{key}");
        let image = &sample["image"];
        let hash = text(&image["bytes_sha256"]).to_owned();
        check.identical(&format!("picture/{what}"), &[sha256(bytes)], &[hash]);
        cells.check(check, &what, pixels, image);
    }

    let in_json: Vec<(String, Vec<String>)> = samples
        .iter()
        .filter_map(|sample| {
            let captions = [&sample["json_captions"], &sample["json_caption"]];
            let captions = captions.into_iter().find(|captions| !captions.is_null())?;
            Some((text(&sample["key"]).to_owned(), texts(captions)))
        })
        .collect();
    let seen_in_json: Vec<(String, Vec<String>)> = see(path, from_json())
        .samples
        .into_iter()
        .map(|sample| (sample.key, sample.texts))
        .collect();
    check.identical(&format!("captions-in-json/{name}"), &seen_in_json, &in_json);
}

#[test]
fn golden_webdataset_shards_are_read_as_webdataset_reads_them() {
    let Some((folder, expected)) = part("webdataset") else {
        return;
    };
    let cells = Cells::open();
    each(entries(&expected["archives"]), |(name, archive)| {
        let path = find(&format!("data/webdataset/{name}")).expect("the folder has its archives");
        let mut check = Check::new("data/webdataset");
        check_shard(&mut check, &cells, &path, name, archive);
    });
    each(entries(&expected["brace_expansion"]), |(braces, whole)| {
        let mut check = Check::new("data/webdataset");
        let shards: Vec<String> = texts(&whole["shards"]);
        check.identical(
            &format!("shards/{braces}"),
            &expand_braces(braces).expect("a list"),
            &shards,
        );
        let seen = see(
            folder.join(braces).to_str().expect("a path in UTF-8"),
            Rules::default(),
        );
        check.identical(
            &format!("keys/{braces}"),
            &seen.keys(),
            &texts(&whole["keys"])
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
    });
}

#[test]
fn golden_img2dataset_shards_are_read_as_webdataset_reads_them() {
    let Some((folder, expected)) = part("img2dataset") else {
        return;
    };
    let cells = Cells::open();
    let runs = entries(&expected["runs"]).filter(|(_, run)| run["output_format"] == "webdataset");
    each(runs, |(run, expected)| {
        let mut check = Check::new(&format!("data/img2dataset/{run}"));
        let mut samples = 0;
        for (name, shard) in entries(&expected["shards"]) {
            let path = find(&format!("data/img2dataset/{run}/{name}")).expect("the run has its shards");
            check_shard(&mut check, &cells, &path, name, shard);
            samples += list(&shard["samples"]).len();
            check_statistics(&mut check, &format!("data/img2dataset/{run}"), name, &path, shard);
        }
        let whole = see(
            folder.join(run).to_str().expect("a path in UTF-8"),
            Rules::default(),
        );
        check.identical(
            "samples",
            &[whole.samples.len(), samples],
            &[expected["samples"].as_u64().expect("a count") as usize; 2],
        );
    });
}

#[test]
fn golden_shards_beside_the_lists_of_sbu_are_read_as_webdataset_reads_them() {
    let Some((_, expected)) = part("sbu") else {
        return;
    };
    let (cells, mut check) = (Cells::open(), Check::new("data/sbu/images"));
    for (name, shard) in entries(&expected["files"]["images"]) {
        let path = find(&format!("data/sbu/images/{name}")).expect("the list has its shards");
        check_shard(&mut check, &cells, &path, name, shard);
        check_statistics(&mut check, "data/sbu/images", name, &path, shard);
    }
}

/// What img2dataset says it has put into the shard is there: with text or without, whole or not.
fn check_statistics(check: &mut Check, run: &str, name: &str, path: &Path, shard: &Value) {
    let stem = name.strip_suffix(".tar").expect("a plain shard");
    let statistics = json(&format!("{run}/{stem}_stats.json")).expect("a shard has its statistics");
    for (field, value) in entries(&shard["stats"]) {
        check.identical(&format!("{field}/{name}"), &[&statistics[field]], &[value]);
    }
    let rules = Rules {
        needs_text: false,
        ..Rules::default()
    };
    let seen = see(path.to_str().expect("a path in UTF-8"), rules);
    let without_text: Vec<&str> = list(&shard["pictures_without_text"])
        .iter()
        .map(|sample| text(&sample["key"]))
        .collect();
    if !without_text.is_empty() {
        check.identical(&format!("without-text/{name}"), &seen.keys(), &without_text);
    }
    let there = seen.samples.len() + seen.skipped.len();
    check.identical(
        &format!("there/{name}"),
        &[there as u64],
        &[statistics["successes"].as_u64().expect("a count")],
    );
}

#[test]
fn golden_damaged_archives_give_what_is_whole_and_say_what_is_not() {
    let Some((_, expected)) = part("damaged") else {
        return;
    };
    let cells = Cells::open();
    each(entries(&expected["cases"]), |(name, case)| {
        let path = find(&format!("data/damaged/{name}")).expect("the folder has its archives");
        let path = path.to_str().expect("a path in UTF-8");
        let careful = &case["careful"];
        let mut check = Check::new("data/damaged");
        check_care(
            &mut check,
            &cells,
            name,
            &see(path, Rules::default()),
            careful,
            &expected["whole"],
        );
        if !careful["caption_from_json"].is_null() {
            check_care_of_json(
                &mut check,
                name,
                &see(path, from_json()),
                &careful["caption_from_json"],
            );
        }
    });
}

/// Musts: `yields` in this order, `skipped`, `archive_problem`, `reports`. May: `may_yield`, `may_report`.
fn check_care(check: &mut Check, cells: &Cells, name: &str, seen: &Seen, careful: &Value, whole: &Value) {
    let yields = list(&careful["yields"]);
    let musts: Vec<&str> = yields.iter().map(|sample| text(&sample["key"])).collect();
    let may: Vec<&str> = list(&careful["may_yield"]).iter().map(text).collect();
    let keys = seen.keys();
    let given: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|key| !may.contains(key) || musts.contains(key))
        .collect();
    check.identical(&format!("yields/{name}"), &given, &musts);
    for Whole {
        key,
        texts: given,
        pixels,
        ..
    } in &seen.samples
    {
        if let Some(sample) = yields.iter().find(|sample| sample["key"] == key.as_str()) {
            check.identical(
                &format!("caption/{name}:{key}"),
                given,
                &texts(&sample["caption"]),
            );
        }
        // Every picture is one of the whole archive's, and must be the one that belongs to the key.
        let hash = yields
            .iter()
            .find(|sample| sample["key"] == key.as_str())
            .map(|sample| &sample["rgb_sha256"]);
        let hash = hash.unwrap_or_else(|| &whole[key]["image"]["rgb_sha256"]);
        if let Some((_, original)) = entries(whole).find(|(_, one)| one["image"]["rgb_sha256"] == *hash) {
            cells.check(check, &format!("{name}:{key}"), pixels, &original["image"]);
        }
    }

    let skipped: Vec<(&str, Vec<&str>)> = list(&careful["skipped"])
        .iter()
        .map(|skipped| (text(&skipped["key"]), allowed(text(&skipped["reason"]))))
        .collect();
    let missing: Vec<&(&str, Vec<&str>)> = skipped
        .iter()
        .filter(|(key, reasons)| {
            let is_listed = seen
                .skipped
                .iter()
                .any(|(of, reason)| of == key && reasons.contains(&reason.as_str()));
            !is_listed && !may.contains(key)
        })
        .collect();
    check.identical(&format!("skipped/{name}"), &missing, &[]);
    let lost: Vec<&(String, String)> = seen
        .skipped
        .iter()
        .filter(|(key, _)| musts.contains(&key.as_str()))
        .collect();
    check.identical(&format!("lost/{name}"), &lost, &[]);

    let problems = seen.reasons(Severity::File);
    let expected: Vec<&str> = careful["archive_problem"].as_str().into_iter().collect();
    let fits = expected.len() == problems.len()
        && expected
            .iter()
            .zip(&problems)
            .all(|(expected, given)| allowed(expected).contains(given));
    check.identical(
        &format!("archive_problem/{name}"),
        if fits { &expected } else { &problems },
        &expected,
    );

    let mut allowed_reports: Vec<&str> = list(&careful["may_report"]).iter().map(text).collect();
    let must_report: Vec<(&str, &str)> = list(&careful["reports"])
        .iter()
        .map(|report| (text(&report["key"]), text(&report["reason"])))
        .collect();
    allowed_reports.extend(must_report.iter().map(|(_, reason)| reason));
    let unfounded: Vec<&str> = seen
        .reasons(Severity::Warning)
        .into_iter()
        .filter(|reason| !allowed_reports.contains(reason))
        .collect();
    check.identical(&format!("unfounded/{name}"), &unfounded, &[]);
    let said: Vec<(&str, &str)> = must_report
        .iter()
        .copied()
        .filter(|(key, reason)| {
            seen.reports
                .iter()
                .any(|report| report.reason == *reason && report.key.as_deref() == Some(key))
        })
        .collect();
    check.identical(&format!("reports/{name}"), &said, &must_report);
}

fn check_care_of_json(check: &mut Check, name: &str, seen: &Seen, careful: &Value) {
    if careful["yields"].is_array() {
        check.identical(
            &format!("yields-from-json/{name}"),
            &seen.keys(),
            &list(&careful["yields"]).iter().map(text).collect::<Vec<_>>(),
        );
    }
    for skipped in list(&careful["skipped"]) {
        let expected = (
            text(&skipped["key"]).to_owned(),
            text(&skipped["reason"]).to_owned(),
        );
        let given: Vec<&(String, String)> = seen.skipped.iter().filter(|given| **given == expected).collect();
        check.identical(&format!("skipped-from-json/{name}"), &given, &[&expected]);
    }
}

/// The words by which a reason may be called: a size that cannot be is as well an archive that ends too early.
fn allowed(reason: &str) -> Vec<&str> {
    match reason {
        "member_size_impossible" => vec![reason, "archive_truncated", "archive_header_invalid"],
        _ => vec![reason],
    }
}
