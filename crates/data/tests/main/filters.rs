//! What filters keep out, and that it is told.

use blip2_data::sets::{DataSpec, Filter, OpenOptions, Sample, WordList, filtered, open};

use crate::sets::{Place, opened};

fn spec(place: &Place, options: &str) -> DataSpec {
    let lines = [
        ("seen", "a dog", "one two"),
        ("seen", "a dog and a cat on a table", "three"),
        ("seen", "Bloody-minded, this one is", "four"),
        ("wide", "a wide thing", "five"),
    ];
    let lines: String = lines
        .iter()
        .map(|(image, text, key)| {
            format!("{{\"image\": \"{image}.png\", \"text\": \"{text}\", \"id\": \"{key}\"}}\n")
        })
        .collect();
    image::RgbImage::new(31, 10)
        .save(place.path("images/wide.png"))
        .expect("a picture");
    let file = place.write("lines.jsonl", lines);
    let images = place.path("images");
    format!("jsonl:{file}#images={images},{options}")
        .parse()
        .expect("a data set")
}

/// Reasons by key; empty where the sample may be used.
fn reasons(spec: &DataSpec) -> Vec<&'static str> {
    let set = opened(spec).expect("a data set");
    (0..set.len())
        .map(|index| set.read(index).err().map_or("", |error| error.reason))
        .collect()
}

#[test]
fn each_filter_refuses_what_it_is_about_and_says_so() {
    let place = Place::new();
    assert_eq!(
        reasons(&spec(&place, "words=3-6")),
        ["caption_length", "caption_length", "", ""]
    );
    assert_eq!(reasons(&spec(&place, "aspect=3")), ["", "", "", "aspect"]);
    assert_eq!(reasons(&spec(&place, "aspect=3.1")), ["", "", "", ""]);
    let list = place.write(
        "list.txt",
        "# notes say nothing: dog\nminded this\nbloody\n\n?!\n",
    );
    assert_eq!(
        reasons(&spec(&place, &format!("list={list}"))),
        ["", "", "listed_word", ""]
    );
    // The first that refuses is told.
    let all = spec(&place, &format!("words=3-6,aspect=2,list={list}"));
    assert_eq!(
        reasons(&all),
        ["caption_length", "caption_length", "listed_word", "aspect"]
    );
    let set = opened(&all).expect("a data set");
    let error = set.read(2).expect_err("refused");
    assert_eq!(error.key, "four");
    assert!(error.problem.contains("minded this"), "{error}");
    // Keys are still those of the data set, whose identity the filters are part of.
    assert_eq!(set.key(0).expect("a key"), "one two");
    let plain = opened(&spec(&place, "")).expect("a data set");
    let fingerprints = [
        plain.fingerprint(),
        set.fingerprint(),
        opened(&spec(&place, "words=3-7"))
            .expect("a data set")
            .fingerprint(),
        opened(&spec(&place, "words=3-6"))
            .expect("a data set")
            .fingerprint(),
    ];
    for (place, one) in fingerprints.iter().enumerate() {
        assert!(!fingerprints[place + 1..].contains(one));
    }
    let toml = toml::to_string(&all).expect("TOML");
    assert_eq!(toml::from_str::<DataSpec>(&toml).expect("an entry"), all);
}

#[test]
fn captions_are_kept_out_by_the_scores_of_a_retrieval_model() {
    let place = Place::new();
    let scored = |key: &str, captions: &[&str], scores: &[f64]| {
        let line = serde_json::json!({"key": key, "captions": captions, "scores": scores, "origins": []});
        format!("{line}\n")
    };
    let lines = [
        scored("one two", &["another", "A dog!"], &[0.9, 0.25]),
        scored("three", &["a dog and a cat on a table"], &[0.2]),
        scored("five", &["another"], &[0.9]),
    ];
    let file = place.write("scores.jsonl", lines.concat());
    let kept = |least: f64| spec(&place, &format!("similarity={least},scores={file}"));
    // What cleaning makes equal has one score; what has none is kept out.
    let unknown = "similarity";
    assert_eq!(reasons(&kept(0.25)), ["", "similarity", unknown, unknown]);
    assert_eq!(
        reasons(&kept(0.26)),
        ["similarity", "similarity", unknown, unknown]
    );
    assert_eq!(reasons(&kept(-1.0)), ["", "", unknown, unknown]);
    let set = opened(&kept(0.25)).expect("a data set");
    let problem = |index| set.read(index).expect_err("refused").problem;
    assert!(problem(1).contains("0.200, below 0.25") && problem(1).contains("cat"));
    assert!(problem(2).contains("does not know"));
    let fingerprint = |spec: &DataSpec| opened(spec).expect("a data set").fingerprint();
    assert_eq!(fingerprint(&kept(0.25)), set.fingerprint());
    let before = [fingerprint(&kept(0.25)), fingerprint(&kept(0.26))];
    assert_ne!(before[0], before[1]);
    place.write("scores.jsonl", lines[..2].concat());
    assert_ne!(fingerprint(&kept(0.25)), before[0]);

    let uneven = place.write("uneven.jsonl", scored("three", &["a", "b"], &[0.2]));
    for (options, said) in [
        ("similarity=0.2".to_owned(), "`scores`"),
        (format!("scores={file}"), "`similarity`"),
        (format!("similarity=2,scores={file}"), "-1 to 1"),
        (format!("similarity=0.2,scores={uneven}"), "line 1"),
        ("similarity=0.2,scores=absent.jsonl".to_owned(), "absent.jsonl"),
    ] {
        let error = opened(&spec(&place, &options)).err().expect("a refusal");
        assert!(error.to_string().contains(said), "{options}: {error}");
    }
}

#[test]
fn limits_that_nothing_keeps_are_refused() {
    let place = Place::new();
    let empty = place.write("empty.txt", "# nothing\n");
    for (options, said) in [
        ("words=5-3".to_owned(), "fewest"),
        ("aspect=0.5".to_owned(), "1 or more"),
        (format!("list={empty}"), "no word"),
        ("list=absent.txt".to_owned(), "absent.txt"),
    ] {
        let error = opened(&spec(&place, &options))
            .err()
            .expect("a refusal")
            .to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!("folder:x#words=many".parse::<DataSpec>().is_err());
}

#[test]
fn phrases_are_found_as_whole_words_whatever_stands_between() {
    let list = WordList::new(["Hot dog", "ass", "née"]);
    for (text, found) in [
        ("a HOT-DOG!", Some("hot dog")),
        ("hot  ,dog", Some("hot dog")),
        ("hot dogs", None),
        ("the grass", None),
        ("Née X", Some("née")),
        ("", None),
    ] {
        assert_eq!(list.found(text), found, "{text}");
    }
}

/// A filter of one's own.
#[derive(Debug)]
struct Shouting;

impl Filter for Shouting {
    fn reason(&self) -> &'static str {
        "shouting"
    }

    fn refuse(&self, sample: &Sample) -> Option<String> {
        sample
            .texts
            .iter()
            .find(|text| text.contains('!'))
            .map(|text| format!("`{text}` is shouted"))
    }
}

#[test]
fn an_own_filter_is_used_as_those_here() {
    let place = Place::new();
    let file = place.write(
        "shout.jsonl",
        "{\"image\": \"seen.png\", \"text\": \"a dog!\"}\n{\"image\": \"seen.png\", \"text\": \"a dog\"}",
    );
    let spec = format!("jsonl:{file}#images={}", place.path("images"))
        .parse()
        .expect("a data set");
    let set = open(&spec, &OpenOptions::default()).expect("a data set");
    let set = filtered(set, vec![Box::new(Shouting)]);
    assert_eq!(set.read(0).expect_err("refused").reason, "shouting");
    assert_eq!(set.read(1).expect("a sample").texts, ["a dog"]);
}
