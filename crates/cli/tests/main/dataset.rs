//! Captions of many pictures: folders, globs, prompts, files that are gone on with.

use std::collections::BTreeSet;
#[cfg(target_os = "linux")]
use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Fixture, Stages, stderr, word};

const MODEL: [&str; 3] = ["caption", "--model", "model"];
/// Short texts, so that many pictures take a moment.
const SHORT: [&str; 4] = ["--num-beams", "2", "--max-new-tokens", "4"];

/// `count` small pictures of different colours in `photos`.
pub(crate) fn photos(fixture: &Fixture, count: u32) {
    fs::create_dir_all(fixture.path("photos")).unwrap();
    for number in 0..count {
        let colour = [number * 37 % 256, number * 101 % 256, number * 7 % 256].map(|channel| channel as u8);
        let shade = |x: u32, y: u32| Rgb(colour.map(|channel| channel.wrapping_add((3 * x + 5 * y) as u8)));
        let picture = RgbImage::from_fn(12 + number % 7, 9 + number % 5, shade);
        picture
            .save(fixture.path(&format!("photos/{number:03}.png")))
            .unwrap();
    }
}

fn lines(fixture: &Fixture, file: &str) -> Vec<String> {
    let text = fs::read_to_string(fixture.path(file)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn texts(records: &[Value]) -> Vec<&Value> {
    records.iter().map(|record| &record["text"]).collect()
}

fn images(fixture: &Fixture, arguments: &[&str]) -> Vec<String> {
    let records = fixture.records(&[&MODEL[..], arguments, &["--max-new-tokens", "1"]].concat());
    records
        .iter()
        .map(|record| record["image"].as_str().unwrap().to_owned())
        .collect()
}

/// Starts a run and kills it once its file has at least `enough` lines; false if it was over before.
pub(crate) fn killed(fixture: &Fixture, arguments: &[&str], file: &str, enough: usize) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .current_dir(fixture.folder.path())
        .env("BLIP2_HOME", fixture.path("home"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let written = || {
        fs::read(fixture.path(file))
            .unwrap_or_default()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    };
    while written() < enough && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn a_run_that_is_killed_and_resumed_writes_what_an_unbroken_one_does() {
    let fixture = Fixture::new(Stages::Both);
    photos(&fixture, 200);
    fs::write(fixture.path("photos/117.png"), "damaged").unwrap();
    let run = |out| [&MODEL[..], &["photos", "--out", out, "--batch", "4"], &SHORT].concat();
    let unbroken = fixture.run(&run("whole.jsonl"));
    assert_eq!(unbroken.status.code(), Some(1), "{}", stderr(&unbroken));
    let whole = lines(&fixture, "whole.jsonl");
    assert_eq!(whole.len(), 200);

    let resume = [&run("broken.jsonl")[..], &["--resume"]].concat();
    let mut kills = 0;
    for enough in [1, 60, 140] {
        kills += usize::from(killed(&fixture, &resume, "broken.jsonl", enough));
        // As if it had been killed in the middle of a line.
        let text = fs::read(fixture.path("broken.jsonl")).unwrap();
        fs::write(fixture.path("broken.jsonl"), &text[..text.len() - 9]).unwrap();
    }
    assert!(kills > 0, "each run was over before it could be killed");
    let output = fixture.run(&resume);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("117.png"));
    let resumed = lines(&fixture, "broken.jsonl");
    let sorted = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&resumed), sorted(&whole));
    assert_eq!(resumed.len(), whole.len(), "a line is doubled");
    let captions = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .filter(|line| line.contains("\"text\""))
            .cloned()
            .collect()
    };
    assert_eq!(captions(&resumed), captions(&whole), "the order is another one");
    assert_eq!(captions(&whole).len(), 199);

    // Mended, it is the only one that is left to do.
    fs::copy(fixture.path("red.png"), fixture.path("photos/117.png")).unwrap();
    let output = fixture.run(&resume);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("1 captions written to broken.jsonl"), "{said}");
    assert_eq!(captions(&lines(&fixture, "broken.jsonl")).len(), 200);
}

#[test]
fn a_file_of_captions_is_neither_lost_nor_mixed_with_something_else() {
    let fixture = Fixture::new(Stages::Both);
    let run = [&MODEL[..], &["red.png", "blue.png", "--out", "c.jsonl"], &SHORT].concat();
    let said = fixture.stdout(&run);
    assert!(said.starts_with("2 captions written to c.jsonl"), "{said}");
    let whole = lines(&fixture, "c.jsonl");
    fixture.assert_fails(&run, &["c.jsonl", "--resume"]);
    let resume = [&run[..], &["--resume"]].concat();
    assert!(fixture.stdout(&resume).starts_with("0 captions"));
    assert_eq!(lines(&fixture, "c.jsonl"), whole);
    // What --json says is what the file holds.
    assert_eq!(
        fixture.stdout(&[&MODEL[..], &["red.png", "blue.png", "--json"], &SHORT].concat()),
        whole.join("\n") + "\n"
    );
    // Other prompts are other captions.
    fixture.stdout(&[&resume[..], &["--prompt", &word(30)]].concat());
    assert_eq!(lines(&fixture, "c.jsonl").len(), 4);
    // More captions of one picture cost no other picture its own.
    let more = [&MODEL[..], &["red.png", "--out", "c.jsonl", "--resume"], &SHORT].concat();
    fixture.stdout(&[&more[..], &["--num-captions", "2"]].concat());
    let kept = lines(&fixture, "c.jsonl");
    let of = |name: &str| kept.iter().filter(|line| line.contains(name)).count();
    assert_eq!((of("blue.png"), of("red.png")), (2, 3), "{kept:?}");
    // Nobody else writes meanwhile.
    let held = fs::File::open(fixture.path("c.jsonl")).unwrap();
    held.lock().unwrap();
    fixture.assert_fails(&resume, &["c.jsonl", "another process"]);
    drop(held);
    for foreign in ["a list of\nsomething else\n", "my diary", "{\"image\": 1}\n"] {
        fs::write(fixture.path("c.jsonl"), foreign).unwrap();
        fixture.assert_fails(&resume, &["line 1 of c.jsonl", "neither a caption"]);
        assert_eq!(fs::read_to_string(fixture.path("c.jsonl")).unwrap(), foreign);
    }
    fs::remove_file(fixture.path("c.jsonl")).unwrap();
    fixture.assert_fails(
        &[&MODEL[..], &["red.png", "--out", "absent/c.jsonl"]].concat(),
        &["absent/c.jsonl"],
    );
}

#[test]
fn folders_and_globs_name_their_pictures_in_order() {
    let fixture = Fixture::new(Stages::Both);
    photos(&fixture, 3);
    let copy = |to: &str| {
        let path = fixture.path(to);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(fixture.path("red.png"), path).unwrap();
    };
    for picture in ["b/x.PNG", "b/c/y.png", ".hidden.png", ".trash/z.png"] {
        copy(&format!("photos/{picture}"));
    }
    fs::write(fixture.path("photos/notes.txt"), "not a picture").unwrap();
    let flat = ["photos/000.png", "photos/001.png", "photos/002.png"];
    assert_eq!(images(&fixture, &["photos"]), flat);
    let deep = [&flat[..], &["photos/b/c/y.png", "photos/b/x.PNG"]].concat();
    assert_eq!(images(&fixture, &["photos", "--recursive"]), deep);
    assert_eq!(images(&fixture, &["photos/*.png"]), flat);
    assert_eq!(
        images(&fixture, &["photos/00[02].*"]),
        ["photos/000.png", "photos/002.png"]
    );
    assert_eq!(
        images(&fixture, &["photos/**/*.png"]),
        [
            "photos/000.png",
            "photos/001.png",
            "photos/002.png",
            "photos/b/c/y.png"
        ]
    );
    assert_eq!(
        images(&fixture, &["photos/b", "photos", "red.png", "photos/001.png"]).len(),
        5,
        "a picture is named twice"
    );
    fs::copy(fixture.path("red.png"), fixture.path("a[1].png")).unwrap();
    assert_eq!(
        images(&fixture, &["a[1].png", "red.png"]),
        ["a[1].png", "red.png"]
    );
    for nothing in ["home", "photos/*.gif", "photos/[.png"] {
        fixture.assert_fails(&[&MODEL[..], &[nothing]].concat(), &[nothing]);
    }
    // A link that leads back, a pipe and a name that is no text cost the others nothing.
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;

        std::os::unix::fs::symlink("..", fixture.path("photos/b/back")).unwrap();
        let pipe = Command::new("mkfifo")
            .arg(fixture.path("photos/b/pipe.png"))
            .status();
        assert!(pipe.unwrap().success());
        let unnamed = fixture.path("photos/b").join(OsStr::from_bytes(b"\xff.png"));
        fs::copy(fixture.path("red.png"), unnamed).unwrap();
        assert_eq!(images(&fixture, &["photos", "--recursive"]), deep);
        let all = [
            "photos/**/*.png",
            "photos/*/*.png",
            "./photos/b*/c/*.png",
            "photos/b/c/**/y.*",
        ]
        .map(|glob| {
            let command = [&MODEL[..], &[glob, "--json"], &SHORT].concat();
            fixture
                .run(&command)
                .stdout
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
        });
        assert_eq!(all, [4, 0, 1, 1]);
    }
}

#[test]
fn captions_do_not_depend_on_the_batch() {
    let fixture = Fixture::new(Stages::Both);
    photos(&fixture, 7);
    for options in [
        vec!["--num-beams", "3"],
        vec!["--num-beams", "1", "--top-p", "0.9"],
        vec!["--num-beams", "3", "--top-p", "0.9", "--num-captions", "2"],
        vec!["--sample", "--num-captions", "3", "--by", "qformer"],
    ] {
        let write = |pictures: &[&str], batch| {
            fixture.records(&[&MODEL[..], pictures, &options, &["--batch", batch]].concat())
        };
        let together = write(&["photos"], "7");
        for batch in ["1", "3"] {
            let apart = write(&["photos"], batch);
            assert_eq!(texts(&together), texts(&apart), "{options:?}");
        }
        let alone = write(&["photos/005.png"], "8");
        let among = together
            .iter()
            .filter(|record| record["image"] == "photos/005.png");
        assert_eq!(
            alone.iter().map(|record| &record["ids"]).collect::<Vec<_>>(),
            among.map(|record| &record["ids"]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn several_captions_of_a_picture_are_the_best_beams_or_samples() {
    let fixture = Fixture::new(Stages::Both);
    let write = |extra: &[&str]| fixture.records(&[&MODEL[..], &["red.png", "blue.png"], extra].concat());
    let best = write(&["--num-beams", "4"]);
    let all = write(&["--num-beams", "4", "--num-captions", "4"]);
    assert_eq!(all.len(), 8);
    for (best, all) in best.iter().zip(all.chunks(4)) {
        assert_eq!(*best, all[0]);
        let scores: Vec<f64> = all
            .iter()
            .map(|record| record["score"].as_f64().unwrap())
            .collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert_eq!(
            all.iter()
                .map(|record| record["ids"].to_string())
                .collect::<BTreeSet<_>>()
                .len(),
            4
        );
    }
    // As many beams as captions, where nothing else is said.
    assert_eq!(write(&["--num-captions", "7"]).len(), 14);
    let samples = write(&["--num-captions", "5", "--temperature", "3"]);
    assert_eq!(samples.len(), 10);
    let distinct: BTreeSet<String> = samples[..5]
        .iter()
        .map(|record| record["ids"].to_string())
        .collect();
    assert!(distinct.len() > 1, "{distinct:?}");
    let plain = fixture.stdout(&[&MODEL[..], &["red.png", "--num-captions", "2"]].concat());
    assert_eq!(plain.lines().count(), 2);
}

#[test]
fn each_picture_may_have_a_prompt_of_its_own() {
    let fixture = Fixture::new(Stages::Both);
    photos(&fixture, 2);
    let line = |image: &str, prompt: &str| {
        format!("{{\"image\": \"{image}\", \"prompt\": \"{prompt}\", \"more\": 1}}\n")
    };
    let (one, two, three) = (word(20), word(40), word(50));
    let prompts = [
        line("000.png", &one),
        line("photos/001.png", &two),
        line("000.png", &three),
        "\n".to_owned(),
    ]
    .concat();
    fs::write(fixture.path("photos/prompts.jsonl"), &prompts).unwrap();
    let with = |pictures: &[&str]| {
        fixture.records(&[&MODEL[..], pictures, &["--prompts", "photos/prompts.jsonl"]].concat())
    };
    let said = |records: &[Value]| -> Vec<(String, String)> {
        let field = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
        records
            .iter()
            .map(|record| (field(record, "image"), field(record, "prompt")))
            .collect()
    };
    let pair = |image: &str, prompt: &str| (image.to_owned(), prompt.to_owned());
    let records = with(&["photos"]);
    let expected = [
        pair("photos/000.png", &one),
        pair("photos/000.png", &three),
        pair("photos/001.png", &two),
    ];
    assert_eq!(said(&records), expected);
    for record in &records {
        let alone = fixture.records(
            &[
                &MODEL[..],
                &[
                    record["image"].as_str().unwrap(),
                    "--prompt",
                    record["prompt"].as_str().unwrap(),
                ],
            ]
            .concat(),
        );
        assert_eq!(alone[0]["ids"], record["ids"]);
    }
    // Without pictures, the file names them: from here, or from where it stands.
    let expected = [
        pair("000.png", &one),
        pair("photos/001.png", &two),
        pair("000.png", &three),
    ];
    assert_eq!(said(&with(&[])), expected);
    let missing = [
        &MODEL[..],
        &["photos", "red.png", "--prompts", "photos/prompts.jsonl"],
    ]
    .concat();
    fixture.assert_fails(&missing, &["photos/prompts.jsonl", "red.png", "--prompt"]);
    let filled = fixture.records(&[&missing[..], &["--prompt", &one]].concat());
    assert_eq!(said(&filled).last(), Some(&pair("red.png", &one)));
    // One prompt that is too long costs its picture alone.
    let long = format!("{} ", word(5)).repeat(5000);
    fs::write(
        fixture.path("long.jsonl"),
        [line("red.png", &one), line("blue.png", &long)].concat(),
    )
    .unwrap();
    let output = fixture.run(&[&MODEL[..], &["--prompts", "long.jsonl", "--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        records[0]["text"].is_string() && records[1]["error"].as_str().unwrap().contains("positions"),
        "{stdout}"
    );
    for (text, reason) in [("{\"image\": 3}\n", "line 1 of bad.jsonl"), ("\n", "no prompt")] {
        fs::write(fixture.path("bad.jsonl"), text).unwrap();
        fixture.assert_fails(
            &[&MODEL[..], &["--prompts", "bad.jsonl"]].concat(),
            &["bad.jsonl", reason],
        );
    }
}

#[test]
fn the_pictures_of_a_data_set_are_named_by_their_keys() {
    let fixture = Fixture::new(Stages::Both);
    photos(&fixture, 3);
    let entry = |number| format!("{{\"image\": \"{number:03}.png\", \"id\": \"k{number}\"}}\n");
    let lines: String = [2, 1, 0].map(entry).concat();
    fs::write(fixture.path("photos/list.jsonl"), &lines).unwrap();
    let of_list = [&MODEL[..], &["--data", "jsonl:photos/list.jsonl"], &SHORT].concat();
    let records = fixture.records(&of_list);
    let keys: Vec<&str> = records
        .iter()
        .map(|record| record["image"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["k2", "k1", "k0"]);
    let files = ["photos/002.png", "photos/001.png", "photos/000.png"];
    let files = fixture.records(&[&MODEL[..], &files, &SHORT].concat());
    assert_eq!(texts(&records), texts(&files));

    fs::write(fixture.path("photos/list.jsonl"), lines + &entry(7)).unwrap();
    fixture.assert_fails(&of_list, &["k7", "007.png"]);
    let both = fixture.run(&[&MODEL[..], &["--data", "folder:photos", "photos"]].concat());
    assert_eq!(both.status.code(), Some(2));
}
