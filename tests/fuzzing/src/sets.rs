//! Data sets, each sample of them.

use std::path::Path;

use blip2_data::sets::{Cache, DataSpec, OpenOptions, open};

use crate::in_folder;

/// The most samples that are read of a set: what is made up may claim billions.
const MOST_SAMPLES: u64 = 64;
/// How gzip begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Opens `file` in each of the `formats` and reads its samples.
fn read(data: &[u8], file: &str, formats: &[&str]) {
    in_folder(&[(file, data)], |folder| {
        for format in formats {
            read_samples(folder, file, format);
        }
    });
}

fn read_samples(folder: &Path, file: &str, format: &str) {
    let options = OpenOptions {
        cache: Some(Cache::new(folder.join("cache"), 1 << 24)),
        textless: true,
    };
    let spec = DataSpec::new(format, folder.join(file).display().to_string());
    let Ok(set) = open(&spec, &options) else {
        return;
    };
    for index in 0..set.len().min(MOST_SAMPLES) {
        let _ = set.key(index);
        let _ = set.read(index);
    }
}

/// Shards of webdatasets, packed or not.
pub fn shards(data: &[u8]) {
    let file = if data.starts_with(GZIP) {
        "shard.tar.gz"
    } else {
        "shard.tar"
    };
    read(data, file, &["webdataset"]);
}

/// Parquet files.
pub fn parquet(data: &[u8]) {
    read(data, "part.parquet", &["parquet"]);
}

/// Annotations in JSON, by every format that knows such.
pub fn annotations(data: &[u8]) {
    let formats = [
        "coco",
        "flickr30k",
        "gqa",
        "karpathy",
        "lavis",
        "nocaps",
        "okvqa",
        "sbu",
        "vg-qa",
        "visual-genome",
        "vizwiz",
        "vqav2",
    ];
    read(data, "annotations.json", &formats);
}

/// Lines: tables, JSON lines, lists of captions.
pub fn tables(data: &[u8]) {
    for (file, format) in [
        ("table.csv", "csv"),
        ("table.tsv", "tsv"),
        ("lines.jsonl", "jsonl"),
        ("results_20130124.token", "flickr30k"),
    ] {
        read(data, file, &[format]);
    }
}
