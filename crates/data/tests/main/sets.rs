//! How data sets are named, and what becomes of files that are not what they should be.

use std::fs;

use blip2_data::sets::{DataSpec, Dataset, OpenOptions, Sample, SampleError, SetError, open};
use tempfile::TempDir;

/// A folder with a picture `seen.png` and another one beside it, outside.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("images/below")).expect("a folder");
        for name in ["images/seen.png", "images/below/deep.png", "outside.png"] {
            image::RgbImage::from_fn(4, 3, |x, y| image::Rgb([x as u8, y as u8, name.len() as u8]))
                .save(folder.path().join(name))
                .expect("a picture");
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.0.path().join(name), content).expect("room");
        self.path(name)
    }

    /// `format` of a new file with `content`, and pictures in `images`.
    fn spec(&self, format: &str, name: &str, content: impl AsRef<[u8]>) -> DataSpec {
        DataSpec {
            images: vec![self.path("images").into()],
            ..DataSpec::new(format, self.write(name, content))
        }
    }
}

pub(crate) fn opened(spec: &DataSpec) -> Result<Box<dyn Dataset>, SetError> {
    open(spec, &OpenOptions::default())
}

pub(crate) fn samples(spec: &DataSpec) -> Vec<Result<Sample, SampleError>> {
    let set = opened(spec).unwrap_or_else(|error| panic!("{error}"));
    (0..set.len()).map(|index| set.read(index)).collect()
}

fn refusal(spec: &DataSpec) -> String {
    match opened(spec) {
        Ok(set) => panic!("{} samples", set.len()),
        Err(error) => error.to_string(),
    }
}

/// Keys and reasons of what is left out.
fn left_out(spec: &DataSpec) -> Vec<(String, String)> {
    let set = opened(spec).unwrap_or_else(|error| panic!("{error}"));
    let reports = set.reports().into_iter();
    reports
        .map(|report| (report.key.unwrap_or_default(), report.reason))
        .collect()
}

#[test]
fn a_line_and_an_entry_name_the_same() {
    let line =
        "coco:ann/{train,val}.json#images=a,images=b,split=x+y,weight=0.5,outside=true,name=mine,strip=/far/";
    let line: DataSpec = line.parse().expect("a data set");
    assert_eq!(line.splits(), ["x", "y"]);
    let place = Place::new();
    let file = place.write(
        "two.toml",
        "seed = 3\n[[data]]\nname = 'mine'\nformat = 'coco'\npath = 'ann/{train,val}.json'\nimages = ['a', 'b']\n\
         split = 'x+y'\nweight = 0.5\noutside = true\nstrip = '/far/'\n[[data]]\nformat = 'folder'\npath = 'c:d'\nimages = 'e'\n",
    );
    let both = DataSpec::all(&file).expect("two data sets");
    assert_eq!(both[0], line);
    assert_eq!(
        (both[1].name(), both[1].images.len()),
        ("folder:c:d".to_owned(), 1)
    );
    let written = toml::to_string(&line).expect("TOML");
    assert_eq!(toml::from_str::<DataSpec>(&written).expect("an entry"), line);
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_could() {
    let cases = [
        ("photos", "format:path"),
        ("folder:", "no path"),
        ("folder:x#splitt=a", "`splitt` is no key"),
        ("folder:x#weight=many", "a number"),
        ("folder:x#outside", "key=value"),
    ];
    for (text, said) in cases {
        let error = text.parse::<DataSpec>().expect_err("no data set").to_string();
        assert!(error.contains(said) && error.contains(text), "{error}");
    }
    let error = refusal(&DataSpec::new("cocoa", "x.json"));
    assert!(
        error.contains("cocoa") && error.contains("coco, csv") && error.contains("vqav2"),
        "{error}"
    );
    let place = Place::new();
    for (content, said) in [
        ("[[data]]\nformat = 'coco'\n", "path"),
        ("seed = 1\n", "[[data]]"),
        ("[[data]]\nx", "line 2"),
    ] {
        let file = place.write("wrong.toml", content);
        let error = DataSpec::all(&file).expect_err("no data set").to_string();
        assert!(error.contains(said) && error.contains("wrong.toml"), "{error}");
    }
    for path in ["{open.json", "closed}.json"] {
        assert!(refusal(&DataSpec::new("coco", path)).contains(path), "{path}");
    }
}

#[test]
fn names_do_not_lead_out_of_the_pictures() {
    let place = Place::new();
    let outside = place.path("outside.png");
    let within = place.path("images/seen.png");
    let names = [
        "seen.png",
        "below/../seen.png",
        "../outside.png",
        &outside,
        &within,
        "",
        "gone.png",
        "below",
    ];
    let lines: String = names
        .iter()
        .map(|name| format!("{}\n", serde_json::json!({"image": name, "text": "t"})))
        .collect();
    let spec = place.spec("jsonl", "list.jsonl", &lines);
    let reasons = |spec: &DataSpec| -> Vec<&'static str> {
        samples(spec)
            .into_iter()
            .map(|sample| sample.map_or_else(|error| error.reason, |_| "read"))
            .collect()
    };
    let wanted = [
        "read",
        "picture_outside",
        "picture_outside",
        "picture_outside",
        "read",
        "picture_outside",
        "picture_missing",
        "picture_unreadable",
    ];
    assert_eq!(reasons(&spec), wanted);
    let allowed = reasons(&DataSpec {
        outside: true,
        ..spec
    });
    assert_eq!(
        allowed,
        [
            "read",
            "read",
            "read",
            "read",
            "read",
            "picture_unreadable",
            "picture_missing",
            "picture_unreadable"
        ]
    );
    let stripped = place.spec(
        "jsonl",
        "list.jsonl",
        "{\"image\": \"/export/set/seen.png\", \"text\": \"t\"}\n",
    );
    assert_eq!(reasons(&stripped), ["picture_outside"]);
    assert_eq!(
        reasons(&DataSpec {
            strip: Some("/export/set/".into()),
            ..stripped
        }),
        ["read"]
    );
}

#[test]
fn files_that_are_something_else_are_refused_at_their_place() {
    let place = Place::new();
    let coco = r#"{"images": [{"id": 1, "file_name": "seen.png"}, {"id": -0.5, "file_name": "b.png"}], "annotations": []}"#;
    let cases: [(&str, &str, &[u8], &str); 17] = [
        ("coco", "a.json", b"", "EOF"),
        ("coco", "a.json", b"{\"images\": [", "images"),
        ("coco", "a.json", coco.as_bytes(), "images[1].id"),
        ("coco", "a.json", b"[]", "a.json"),
        (
            "karpathy",
            "a.json",
            b"{\"images\": [{\"filename\": 3}]}",
            "images[0].filename",
        ),
        (
            "lavis",
            "a.json",
            b"[{\"image\": \"a\", \"caption\": \"b\"}, {\"caption\": \"c\"}]",
            "[1]",
        ),
        (
            "lavis",
            "a.json",
            b"[{\"image\": \"a\", \"caption\": \"b\"}] x",
            "behind its end",
        ),
        (
            "visual-genome",
            "a.json",
            b"[{\"id\": 1, \"regions\": {}}]",
            "[0].regions",
        ),
        ("vqav2", "a.json", b"{\"questions\": []}", "data_subtype"),
        ("gqa", "a.json", b"{\"1\": {\"question\": \"q\"}}", "imageId"),
        ("vizwiz", "a.json", b"[{\"image\": \"a\"}]", "question"),
        ("flickr30k", "a.token", b"a.jpg#0\tx\nno tab", "line 2"),
        (
            "jsonl",
            "a.jsonl",
            b"{\"image\": \"a\", \"text\": \"b\"}\n{\"image\": ",
            "line 2",
        ),
        (
            "jsonl",
            "a.jsonl",
            b"{\"picture\": \"a\", \"text\": \"b\"}",
            "there are picture, text",
        ),
        ("csv", "a.csv", b"image,text\na,b\nc\n", "line 3"),
        ("csv", "a.csv", b"image,text\na,\xff\n", "line 2"),
        ("parquet", "a.parquet", b"PAR1 nothing PAR1", "Parquet"),
    ];
    for (format, name, content, said) in cases {
        let error = refusal(&place.spec(format, name, content));
        assert!(error.contains(said) && error.contains(name), "{format}: {error}");
    }
    let deep = place.spec("coco", "deep.json", "[".repeat(100_000));
    assert!(refusal(&deep).contains("deep.json"));
}

#[test]
fn a_table_says_what_it_says() {
    let place = Place::new();
    let content = "\u{feff}image,caption\r\nseen.png,\"two\r\nlines, \"\"quoted\"\"\"\r\nbelow/deep.png,\r\nseen.png,NaN";
    let spec = place.spec("csv", "table.csv", content);
    let texts: Vec<String> = samples(&spec)
        .into_iter()
        .flat_map(|sample| sample.expect("a sample").texts)
        .collect();
    assert_eq!(texts, ["two\r\nlines, \"quoted\"", "", "NaN"]);
    let lines = "{\"image\": \"seen.png\", \"texts\": [\"a\", \"b\"], \"id\": 7, \"image_id\": 9007199254740993}\n\n\
        {\"image\": \"seen.png\", \"question\": \"what?\", \"answers\": [\"x\", \"y\", \"x\"]}\n\
        {\"image\": \"seen.png\", \"text\": null}\n{\"image\": \"seen.png\", \"text\": []}\n{\"image\": \"seen.png\"}\n";
    let spec = place.spec("jsonl", "lines.jsonl", lines);
    let read = samples(&spec);
    let first = read[0].as_ref().expect("a sample");
    assert_eq!(
        (first.key.as_str(), first.texts.len(), first.image_id.as_deref()),
        ("7", 2, Some("9007199254740993"))
    );
    let question = read[1]
        .as_ref()
        .expect("a sample")
        .question
        .clone()
        .expect("a question");
    let answers: Vec<(&str, f64)> = question
        .answers
        .iter()
        .map(|answer| (answer.text.as_str(), answer.count))
        .collect();
    assert_eq!(answers, [("x", 2.0), ("y", 1.0)]);
    let reasons: Vec<String> = left_out(&spec).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["text_null", "no_captions", "no_text"]);
    let textless = open(
        &spec,
        &OpenOptions {
            textless: true,
            ..OpenOptions::default()
        },
    )
    .expect("a set");
    assert_eq!((read.len(), textless.len()), (2, 5));
}

#[test]
fn a_folder_has_texts_beside_its_pictures() {
    let place = Place::new();
    place.write("images/seen.txt", "as it is \n");
    place.write("images/below/deep.txt", b"\xe9t\xe9");
    place.write("images/lonely.png", "no text, and no picture either");
    place.write("images/._seen.png", "what a Mac leaves behind");
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere.png", place.path("images/link.png")).expect("a link");
    let spec = DataSpec::new("folder", place.path("images"));
    let read = samples(&spec);
    let error = read[0].as_ref().expect_err("latin-1");
    assert_eq!(
        (error.key.as_str(), error.reason),
        ("below/deep.png", "text_not_utf8")
    );
    assert_eq!(read[1].as_ref().expect("a sample").texts, ["as it is \n"]);
    let skipped = left_out(&spec);
    assert!(skipped.contains(&("lonely.png".to_owned(), "no_text".to_owned())));
    assert_eq!((skipped.len(), read.len()), (1 + usize::from(cfg!(unix)), 2));
    place.write("images/seen.txt", vec![b'x'; 2 << 20]);
    assert_eq!(
        samples(&spec)[1].as_ref().expect_err("a book").reason,
        "text_too_large"
    );
    assert!(refusal(&DataSpec::new("folder", place.path("nowhere"))).contains("nowhere"));

    place.write(
        "images/seen.json",
        "{\"similarity\": NaN, \"caption\": \"NaN and so on\"}",
    );
    place.write("images/below/deep.json", "{\"caption\": null}");
    let json = DataSpec {
        text: Some("json".into()),
        ..spec
    };
    let read = samples(&json);
    assert_eq!(read[0].as_ref().expect_err("null").reason, "text_null");
    assert_eq!(read[1].as_ref().expect("a sample").texts, ["NaN and so on"]);
}

#[test]
fn captions_of_another_file_take_the_place_of_those_of_the_set() {
    let place = Place::new();
    let lines = "{\"image\": \"seen.png\", \"id\": \"a\"}\n{\"image\": \"seen.png\", \"id\": \"b\"}\n";
    let captions =
        "{\"key\": \"b\", \"caption\": \"one\"}\n{\"key\": \"b\", \"captions\": [\"two\", \"three\"]}\n";
    let spec = place.spec("jsonl", "pictures.jsonl", lines);
    let spec = DataSpec {
        captions: Some(place.write("captions.jsonl", captions).into()),
        ..spec
    };
    let read = samples(&spec);
    assert_eq!(read[0].as_ref().expect_err("no caption").reason, "no_captions");
    assert_eq!(read[1].as_ref().expect("a sample").texts, ["one", "two", "three"]);
    let written = "{\"image\": \"a\", \"prompt\": \"\", \"text\": \"seen\"}\n{\"image\": \"b\", \"error\": \"no picture\"}\n";
    let ours = DataSpec {
        captions: Some(place.write("written.jsonl", written).into()),
        ..spec.clone()
    };
    let read = samples(&ours);
    assert_eq!(read[0].as_ref().expect("a sample").texts, ["seen"]);
    assert!(read[1].is_err());
    let plain = DataSpec {
        captions: None,
        ..spec.clone()
    };
    assert!(refusal(&plain).contains("texts"), "without them there is no text");
    // What CapFilt wrote of two pictures with one key would give each the other's captions.
    let twice = "{\"index\": 3, \"key\": \"b\", \"captions\": [\"one\"]}\n{\"index\": 9, \"key\": \"b\", \"captions\": [\"two\"]}\n";
    let twice = DataSpec {
        captions: Some(place.write("twice.jsonl", twice).into()),
        ..spec.clone()
    };
    let problem = refusal(&twice);
    assert!(
        problem.contains("key b") && problem.contains("number 3 and number 9"),
        "{problem}"
    );
    let wrong = DataSpec {
        captions: Some(place.write("wrong.jsonl", "{\"key\": 1}\n").into()),
        ..spec
    };
    assert!(refusal(&wrong).contains("line 1"));
}

#[test]
fn a_fingerprint_changes_with_what_is_said() {
    let place = Place::new();
    let print = |name: &str, text: &str| {
        let spec = place.spec(
            "jsonl",
            name,
            format!("{{\"image\": \"seen.png\", \"text\": \"{text}\"}}\n"),
        );
        opened(&spec).expect("a set").fingerprint()
    };
    assert_eq!(print("a.jsonl", "x"), print("b.jsonl", "x"));
    assert_ne!(print("a.jsonl", "x"), print("a.jsonl", "y"));
}

#[test]
fn several_files_are_one_set() {
    let place = Place::new();
    for (name, text) in [
        ("part-08.jsonl", "a"),
        ("part-09.jsonl", "b"),
        ("part-10.jsonl", "c"),
    ] {
        place.write(
            name,
            format!("{{\"image\": \"seen.png\", \"text\": \"{text}\"}}\n"),
        );
    }
    let texts = |path: &str| -> Vec<String> {
        let images = vec![place.path("images").into()];
        let spec = DataSpec {
            images,
            ..DataSpec::new("jsonl", place.path(path))
        };
        samples(&spec)
            .into_iter()
            .flat_map(|sample| sample.expect("a sample").texts)
            .collect()
    };
    assert_eq!(texts("part-{08..10}.jsonl"), ["a", "b", "c"]);
    assert_eq!(texts("part-{10,08}.jsonl"), ["c", "a"]);
    assert_eq!(texts("part-*.jsonl"), ["a", "b", "c"]);
    assert_eq!(texts(""), ["a", "b", "c"]);
}
