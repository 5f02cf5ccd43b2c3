//! `blip2 data`: formats, checks, indices.

use std::fs;
use std::process::{Command, Output};

use blip2_golden::fixture;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder to run in, with its own home.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
        let command = command.arg("data").args(arguments).current_dir(self.0.path());
        command
            .env("BLIP2_HOME", self.0.path().join("home"))
            .env_remove("RUST_LOG")
            .output()
            .unwrap()
    }

    /// The lines of a run that must succeed.
    fn records(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What a run says that must fail with `code`.
    fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }
}

fn golden(path: &str) -> String {
    fixture("data").join(path).display().to_string()
}

/// COCO's captions with what is expected of them.
fn coco() -> (String, Value) {
    let expected: Value = serde_json::from_slice(&fs::read(golden("coco/expected.json")).unwrap()).unwrap();
    let files = expected["files"].as_object().unwrap();
    let (file, expected) = files.iter().find(|(_, file)| file["root"].is_string()).unwrap();
    let images = golden(&format!("coco/{}", expected["root"].as_str().unwrap()));
    (
        format!(
            "coco:{}#images={images}",
            golden(&format!("coco/annotations/{file}"))
        ),
        expected.clone(),
    )
}

#[test]
fn a_check_counts_samples_and_what_is_wrong() {
    let place = Place::new();
    let (spec, expected) = coco();
    let summary = &place.records(&["check", &spec, "--json", "--sheet", "page.html"])[0];
    let samples = expected["samples"].as_array().unwrap();
    assert_eq!(summary["usable"], samples.len());
    assert_eq!(summary["skipped"], json!({"picture_missing": 1}));
    assert_eq!(
        summary["left_out"],
        json!({"image_not_listed": 1, "no_captions": 1})
    );
    let texts = samples
        .iter()
        .map(|sample| sample["captions"].as_array().unwrap().len());
    assert_eq!(summary["texts"]["most"], texts.clone().max().unwrap());
    let words = samples
        .iter()
        .flat_map(|sample| sample["captions"].as_array().unwrap());
    let words = words.map(|text| text.as_str().unwrap().split_whitespace().count());
    assert_eq!(summary["words"]["most"], words.clone().max().unwrap());
    assert_eq!(summary["blank_texts"], words.filter(|words| *words == 0).count());
    let widths = samples
        .iter()
        .map(|sample| sample["image"]["size"][0].as_u64().unwrap());
    assert_eq!(summary["width"]["least"], widths.min().unwrap());
    assert_eq!(summary["examples"].as_array().unwrap().len(), 3);
    let page = fs::read_to_string(place.0.path().join("page.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,").count(), samples.len());
    assert!(
        page.contains("picture_missing") || page.contains("is not in"),
        "{page}"
    );
    assert_eq!(
        place.records(&["check", &spec, "--json", "--samples", "2"])[0]["samples"],
        2
    );
    let told = String::from_utf8(place.run(&["check", &spec]).stdout).unwrap();
    assert!(
        told.contains("1 picture_missing") && told.contains("words a text"),
        "{told}"
    );
}

#[test]
fn what_comes_twice_is_counted() {
    let place = Place::new();
    let photos = place.0.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for (name, shade) in [("a", 1), ("b", 1), ("c", 2)] {
        image::RgbImage::from_pixel(3, 2, image::Rgb([shade; 3]))
            .save(photos.join(format!("{name}.png")))
            .unwrap();
        fs::write(photos.join(format!("{name}.txt")), "<one> & two").unwrap();
    }
    let summary = &place.records(&["check", "folder:photos", "--json", "--sheet", "page.html"])[0];
    assert_eq!(
        (&summary["repeated_pictures"], &summary["repeated_keys"]),
        (&json!(1), &json!(0))
    );
    let page = fs::read_to_string(place.0.path().join("page.html")).unwrap();
    assert!(page.contains("&lt;one&gt; &amp; two") && !page.contains("<one>"));
}

#[test]
fn a_file_names_several_data_sets() {
    let place = Place::new();
    let (spec, _) = coco();
    let (path, images) = spec
        .strip_prefix("coco:")
        .unwrap()
        .split_once("#images=")
        .unwrap();
    let lists = golden("coco/annotations/coco_karpathy_train.json");
    let text = format!(
        "steps = 3\n[[data]]\nname = 'first'\nformat = 'coco'\npath = '{path}'\nimages = '{images}'\n\
         [[data]]\nformat = 'lavis'\npath = '{lists}'\nimages = ['{}']\n",
        golden("coco/images")
    );
    fs::write(place.0.path().join("recipe.toml"), text).unwrap();
    let records = place.records(&["index", "recipe.toml", "--json"]);
    assert_eq!((records.len(), &records[0]["name"]), (2, &json!("first")));
    let again = place.records(&["index", "recipe.toml", "--json"]);
    assert_eq!(records[1]["fingerprint"], again[1]["fingerprint"]);
    assert_ne!(records[0]["fingerprint"], records[1]["fingerprint"]);
}

#[test]
fn shards_are_indexed_in_the_home_folder() {
    let place = Place::new();
    let spec = format!("webdataset:{}", golden("webdataset/basic-000000.tar"));
    let record = &place.records(&["index", &spec, "--json"])[0];
    assert!(record["samples"].as_u64().unwrap() > 0);
    assert!(fs::read_dir(place.0.path().join("home/data")).unwrap().count() > 0);
}

#[test]
fn wrong_names_are_told_what_is_right() {
    let place = Place::new();
    fs::write(
        place.0.path().join("broken.json"),
        "{\"images\": [{\"id\": true}]}",
    )
    .unwrap();
    for (spec, said) in [
        ("photos", "format:path"),
        ("cocoa:x", "vqav2"),
        ("folder:nowhere", "nowhere"),
        ("coco:broken.json", "images[0].id"),
        ("nowhere.toml", "nowhere.toml"),
    ] {
        let error = place.failure(&["check", spec], 1);
        assert!(error.contains(said), "{error}");
    }
    place.failure(&["check"], 2);
    place.failure(&["check", "folder:x", "--samples", "0"], 2);
    let formats = place.records(&["formats", "--json"]);
    assert!(formats.iter().any(|format| format["format"] == "webdataset"));
}
