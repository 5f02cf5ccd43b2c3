//! Captions written, ranked with a data set's own, and kept.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use blip2_data::sets::{DataSpec, OpenOptions, open};
use blip2_golden::fixture;
use serde_json::{Value, json};

use crate::support::{Fixture, Stages, copy_folder, number, picture, stderr};

const PICTURES: usize = 12;
/// The picture that is cut off.
const DAMAGED: &str = "07.png";
const MODELS: [&str; 4] = ["--captioner", "model", "--ranker", "model"];

/// A model, and a folder `photos` of pictures with a caption each.
fn place(stages: Stages) -> Fixture {
    let place = Fixture::new(stages);
    fs::create_dir(place.path("photos")).unwrap();
    for index in 0..PICTURES {
        let (hue, name) = (index as u8 * 20, format!("photos/{index:02}.png"));
        picture(&place.path(&name), 40 + index as u32, 50, [hue, 255 - hue, 90]);
        caption(&place, index, &format!("the picture of number {index}"));
    }
    place
}

fn caption(place: &Fixture, index: usize, text: &str) {
    fs::write(place.path(&format!("photos/{index:02}.txt")), text).unwrap();
}

fn damage(place: &Fixture) {
    let path = place.path("photos").join(DAMAGED);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
}

fn arguments<'a>(out: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    let begin = ["capfilt", "folder:photos", "--number", "3", "--out", out];
    [&begin[..], &MODELS, extra].concat()
}

/// Both files of `out`.
fn files(place: &Fixture, out: &str) -> [String; 2] {
    ["captions.jsonl", "skipped.jsonl"].map(|name| fs::read_to_string(place.path(out).join(name)).unwrap())
}

fn run(place: &Fixture, out: &str, extra: &[&str]) -> Vec<Value> {
    place.stdout(&arguments(out, extra));
    let [captions, _] = files(place, out);
    let lines = captions.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(record: &Value) -> Vec<&str> {
    let texts = record["captions"].as_array().unwrap();
    texts.iter().map(|text| text.as_str().unwrap()).collect()
}

fn scores(record: &Value) -> Vec<f64> {
    let scores = record["scores"].as_array().unwrap();
    scores.iter().map(|score| score.as_f64().unwrap()).collect()
}

#[test]
fn the_best_are_kept_whoever_wrote_them() {
    let place = place(Stages::Both);
    let all = run(&place, "all", &["--keep", "99"]);
    let kept = run(&place, "kept", &[]);
    assert_eq!((all.len(), kept.len()), (PICTURES, PICTURES));
    for (all, kept) in all.iter().zip(&kept) {
        assert!(scores(all).is_sorted_by(|left, right| left >= right), "{all}");
        assert_eq!(texts(kept), texts(all)[..2]);
        assert_eq!(scores(kept), scores(all)[..2]);
        assert_eq!(kept["key"], all["key"]);
    }
    let one = &all[3];
    let matches = place.records(
        &[
            &["match", "--model", "model", "photos/03.png", "--text"][..],
            &texts(one),
        ]
        .concat(),
    );
    for (score, found) in scores(one).iter().zip(&matches) {
        assert!((score - found["itc"].as_f64().unwrap()).abs() < 1e-4, "{found}");
    }
}

#[test]
fn what_a_retrieval_model_finds_unlike_its_picture_is_kept_out_and_counted() {
    let place = place(Stages::First);
    let scored = [
        "capfilt",
        "folder:photos",
        "--number",
        "0",
        "--ranker",
        "model",
        "--out",
        "scored",
    ];
    place.stdout(&scored);
    let [lines, _] = files(&place, "scored");
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), PICTURES);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(texts(record), [format!("the picture of number {index}")]);
        assert_eq!(record["origins"], json!(["web"]));
    }
    let mut all: Vec<f64> = records.iter().flat_map(scores).collect();
    all.sort_by(f64::total_cmp);
    let least = (all[4] + all[5]) / 2.0;
    let out = place.stdout(&[
        "data",
        "check",
        &format!("folder:photos#similarity={least},scores=scored/captions.jsonl"),
    ]);
    assert!(
        out.contains("7 can be used") && out.contains("similarity"),
        "{out}"
    );
    let without = [
        "capfilt",
        "folder:photos",
        "--number",
        "1",
        "--ranker",
        "model",
        "--out",
        "x",
    ];
    place.assert_fails(&without, &["no captioner"]);
}

#[test]
fn a_caption_that_fits_stays_and_another_goes() {
    // The Q-Former writes, whose words the ranker knows.
    let place = place(Stages::First);
    let before = run(&place, "before", &["--keep", "99"]);
    let mut expected = [None; PICTURES];
    for (index, record) in before.iter().enumerate() {
        let (texts, scores) = (texts(record), scores(record));
        let worst = scores.len() - 1;
        let written = (0..worst).filter(|place| record["origins"][place] == "model");
        let better = written.filter(|place| scores[*place] > scores[worst]).count();
        // Every second picture gets the best of what was written for it, the others the worst where two are better.
        if index % 2 == 0 || better >= 2 {
            caption(&place, index, texts[if index % 2 == 0 { 0 } else { worst }]);
            expected[index] = Some(index % 2 == 0);
        }
    }
    for fits in [true, false] {
        assert!(expected.contains(&Some(fits)), "{before:?}");
    }
    for (index, record) in run(&place, "after", &[]).iter().enumerate() {
        let own = fs::read_to_string(place.path(&format!("photos/{index:02}.txt"))).unwrap();
        let found = texts(record).contains(&own.as_str());
        if let Some(expected) = expected[index] {
            assert_eq!(found, expected, "{record} with {own} after {}", before[index]);
        }
        assert_eq!(
            found && record["origins"][0] == "web",
            found && texts(record)[0] == own
        );
    }
}

#[test]
fn what_is_drawn_depends_on_seed_and_key() {
    let place = place(Stages::Both);
    let usual = run(&place, "usual", &[]);
    assert_ne!(usual, run(&place, "seed", &["--seed", "1"]));
    fs::copy(place.path("photos/02.png"), place.path("photos/99.png")).unwrap();
    caption(&place, 99, "the picture of number 2");
    let more = run(&place, "more", &[]);
    assert_eq!(more[..PICTURES], usual, "what stands beside a picture counts");
    assert_ne!(texts(&more[PICTURES]), texts(&more[2]), "the key does not count");
}

#[test]
fn a_damaged_picture_costs_itself_alone() {
    let place = place(Stages::Both);
    let whole = run(&place, "whole", &[]);
    damage(&place);
    let output = place.run(&arguments("out", &["--json"]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains(DAMAGED), "{}", stderr(&output));
    let [captions, skipped] = files(&place, "out");
    let others = whole.iter().filter(|record| record["key"] != DAMAGED);
    let found = captions
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(found.eq(others.cloned()));
    let record: Value = serde_json::from_str(&skipped).unwrap();
    assert_eq!((&record["key"], &record["index"]), (&json!(DAMAGED), &json!(7)));
    assert!(
        record["reason"].as_str().unwrap().starts_with("picture_"),
        "{record}"
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), PICTURES);
}

#[test]
fn a_run_that_was_killed_goes_on_as_if_it_had_not_been() {
    let place = place(Stages::Both);
    damage(&place);
    run(&place, "whole", &[]);
    let whole = files(&place, "whole");

    let mut child = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments("killed", &[]))
        .current_dir(place.folder.path())
        .env("BLIP2_HOME", place.path("home"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = place.path("killed/captions.jsonl");
    while fs::read(&lines).is_ok_and(|bytes| bytes.is_empty()) || !lines.exists() {
        assert!(child.try_wait().unwrap().is_none_or(|status| status.success()));
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    place.stdout(&arguments("killed", &["--resume"]));
    assert_eq!(files(&place, "killed"), whole);

    // Cut off within any line, before and behind the damaged picture.
    for line in [0, 2, 7, 10] {
        let kept: usize = whole[0].split_inclusive('\n').take(line).map(str::len).sum();
        fs::write(&lines, &whole[0][..kept + 9]).unwrap();
        place.stdout(&arguments("killed", &["--resume"]));
        assert_eq!(files(&place, "killed"), whole, "cut within line {line}");
    }
    let again = place.stdout(&arguments("killed", &["--resume"]));
    assert!(again.contains("1 skipped"), "{again}");
    assert_eq!(files(&place, "killed"), whole);
}

#[test]
fn only_the_same_job_goes_on() {
    let place = place(Stages::Both);
    run(&place, "out", &["--shard", "1/12"]);
    place.assert_fails(&arguments("out", &["--shard", "1/12"]), &["--resume", "out"]);
    let other = arguments("out", &["--shard", "1/12", "--resume", "--seed", "5"]);
    place.assert_fails(&other, &["another `seed`"]);
    picture(&place.path("photos/50.png"), 9, 9, [1, 2, 3]);
    let grown = arguments("out", &["--shard", "1/12", "--resume"]);
    place.assert_fails(&grown, &["another `fingerprint`"]);
}

#[test]
fn parts_joined_are_the_whole() {
    let place = place(Stages::Both);
    damage(&place);
    run(&place, "whole", &[]);
    let mut joined = [String::new(), String::new()];
    for part in ["1/5", "2/5", "3/5", "4/5", "5/5"] {
        let out = part.replace('/', "-of-");
        place.stdout(&arguments(&out, &["--shard", part]));
        for (joined, file) in joined.iter_mut().zip(files(&place, &out)) {
            joined.push_str(&file);
        }
    }
    assert_eq!(joined, files(&place, "whole"));
}

#[test]
fn a_data_set_reads_them_and_so_it_does_shards() {
    let place = place(Stages::Both);
    damage(&place);
    let records = run(&place, "out", &["--shards", "shards"]);
    let path = |name: &str| place.path(name).display().to_string();
    let mut spec = DataSpec::new("folder", path("photos"));
    spec.captions = Some(place.path("out/captions.jsonl"));
    let set = open(&spec, &OpenOptions::default()).unwrap();
    let shards = DataSpec::new("webdataset", path("shards/00000.tar"));
    let options = OpenOptions {
        cache: Some(blip2_data::sets::Cache::new(place.path("cache"), 1 << 20)),
        textless: false,
    };
    let shards = open(&shards, &options).unwrap();
    assert_eq!(shards.len() as usize, records.len());
    for (place, record) in records.iter().enumerate() {
        let sample = set.read(record["index"].as_u64().unwrap()).unwrap();
        assert_eq!(sample.key, record["key"].as_str().unwrap());
        assert_eq!(sample.texts, texts(record));
        let packed = shards.read(place as u64).unwrap();
        assert_eq!(packed.texts, sample.texts);
        assert_eq!(packed.picture, sample.picture);
    }
}

#[test]
fn a_recipe_says_the_same_as_options() {
    let place = place(Stages::Both);
    let expected = run(&place, "options", &["--seed", "4", "--keep", "3"]);
    let recipe = "[capfilt]\ncaptioner = 'model'\nranker = 'model'\nnumber = 3\nkeep = 1\nseed = 4\n\
                  [[data]]\nformat = 'folder'\npath = 'photos'\n";
    fs::write(place.path("recipe.toml"), recipe).unwrap();
    place.stdout(&[
        "capfilt",
        "--recipe",
        "recipe.toml",
        "--out",
        "recipe",
        "--keep",
        "3",
    ]);
    let [captions, _] = files(&place, "recipe");
    let found = captions
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(found.eq(expected));

    fs::write(
        place.path("twice.toml"),
        format!("{recipe}[[data]]\nformat = 'folder'\npath = 'photos'\n"),
    )
    .unwrap();
    place.assert_fails(
        &["capfilt", "--recipe", "twice.toml", "--out", "twice"],
        &["several data sets"],
    );
    place.assert_fails(
        &[
            "capfilt",
            "folder:photos",
            "--captioner",
            "model",
            "--out",
            "none",
        ],
        &["--ranker"],
    );
    let wrong = place.run(&arguments("wrong", &["--shard", "3/2"]));
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
}

/// The models of the paper, tiny: their vocabularies are made up.
#[test]
fn blip_writes_and_clip_ranks() {
    let place = place(Stages::Both);
    copy_folder(&fixture("parts/blip-captioner"), &place.path("blip"));
    write_blip_files(&place.path("blip"));
    copy_folder(&fixture("parts/clip"), &place.path("clip"));
    write_clip_tokenizer(&place.path("clip"));
    let arguments = [
        "capfilt",
        "folder:photos",
        "--captioner",
        "blip",
        "--ranker",
        "clip",
    ];
    place.stdout(&[&arguments[..], &["--keep", "99", "--out", "out"]].concat());
    let [captions, skipped] = files(&place, "out");
    assert_eq!((captions.lines().count(), skipped.as_str()), (PICTURES, ""));
    for line in captions.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let (texts, scores) = (texts(&record), scores(&record));
        assert!(texts.len() > 1 && texts.len() <= 11, "{record}");
        assert!(scores.iter().all(|score| score.abs() <= 1.0 + 1e-6), "{record}");
        assert!(scores.is_sorted_by(|left, right| left >= right), "{record}");
        let origins = record["origins"].as_array().unwrap();
        assert_eq!(origins.iter().filter(|origin| *origin == "web").count(), 1);
    }
    place.assert_fails(
        &[
            &[
                "capfilt",
                "folder:photos",
                "--captioner",
                "clip",
                "--ranker",
                "blip",
            ][..],
            &["--out", "no"],
        ]
        .concat(),
        &["clip", "model_type"],
    );
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn write_blip_files(folder: &Path) {
    let config = config(folder);
    let id = |key: &str| config["text_config"][key].as_u64().unwrap() as usize;
    let mut tokens: Vec<String> = (0..id("vocab_size")).map(|id| format!("word{id}")).collect();
    let special = [
        ("bos_token_id", "[DEC]"),
        ("sep_token_id", "[SEP]"),
        ("pad_token_id", "[PAD]"),
    ];
    special
        .iter()
        .for_each(|(key, token)| tokens[id(key)] = (*token).to_owned());
    let mut free = (0..tokens.len()).filter(|place| special.iter().all(|(key, _)| id(key) != *place));
    for token in ["[UNK]", "[CLS]"] {
        tokens[free.next().unwrap()] = token.to_owned();
    }
    fs::write(folder.join("vocab.txt"), tokens.join("\n")).unwrap();
    let side = &config["vision_config"]["image_size"];
    let processor = json!({"size": {"height": side, "width": side}, "resample": 3});
    fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
}

/// A word an id; the end token stands behind each text, as CLIP's own tokenizer puts it there.
fn write_clip_tokenizer(folder: &Path) {
    let config = config(folder);
    let id = |key: &str| config["text_config"][key].as_u64().unwrap();
    let words = id("vocab_size");
    let end = match id("eos_token_id") {
        2 => words - 1,
        id => id,
    };
    let word = |id: u64| {
        if id == end {
            "<end>".to_owned()
        } else {
            format!("word{id}")
        }
    };
    let vocabulary: serde_json::Map<_, _> = (0..words).map(|id| (word(id), json!(id))).collect();
    let special = json!({"<end>": {"id": "<end>", "ids": [end], "tokens": ["<end>"]}});
    let [text, behind] = ["A", "B"].map(|id| json!({"Sequence": {"id": id, "type_id": 0}}));
    let end_piece = json!({"SpecialToken": {"id": "<end>", "type_id": 0}});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [{"id": end, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "TemplateProcessing", "single": [text, end_piece],
                           "pair": [text, end_piece, behind, end_piece], "special_tokens": special},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": word(u64::from(end == 0))},
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    assert!(number(&folder.join("config.json"), "projection_dim") > 0);
}
