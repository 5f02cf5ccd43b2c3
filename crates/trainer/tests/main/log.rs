//! The run log: lines that a resumed run repeats are dropped, and a line that was cut off is left out.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use blip2_trainer::{RunLog, TrainError};
use serde_json::{Map, Value, json};

fn line(phase: &str, step: u64) -> Map<String, Value> {
    let Value::Object(line) = json!({ "phase": phase, "step": step, "loss": 1.0 / step as f64 }) else {
        panic!("an object")
    };
    line
}

fn steps(log: &RunLog) -> Vec<(String, u64)> {
    let lines = log.lines().expect("lines");
    let place = |line: &Map<String, Value>| {
        Some((
            line.get("phase")?.as_str()?.to_owned(),
            line.get("step")?.as_u64()?,
        ))
    };
    lines.iter().filter_map(place).collect()
}

fn expected(places: &[(&str, u64)]) -> Vec<(String, u64)> {
    places
        .iter()
        .map(|(phase, step)| ((*phase).to_owned(), *step))
        .collect()
}

fn written(run: &Path) -> RunLog {
    let mut log = RunLog::open(run).expect("opening");
    for (phase, step) in [
        ("stage1", 1),
        ("stage1", 2),
        ("stage1", 3),
        ("stage2", 1),
        ("stage2", 9),
    ] {
        log.write(line(phase, step)).expect("writing");
    }
    log
}

/// What a kill in the middle of a write leaves.
fn cut_off(run: &Path) {
    let mut file = OpenOptions::new()
        .append(true)
        .open(run.join("metrics.jsonl"))
        .expect("opening");
    file.write_all(br#"{"phase":"stage2","st"#).expect("writing");
}

#[test]
fn lines_come_back_as_they_were_written() {
    let run = tempfile::tempdir().expect("folder");
    let log = written(run.path());
    assert_eq!(log.lines().expect("lines")[1], line("stage1", 2));
    let again = RunLog::open(run.path()).expect("opening");
    assert_eq!(
        again.lines().expect("lines"),
        log.lines().expect("lines"),
        "opening keeps what is there"
    );
}

#[test]
fn rewinding_drops_the_later_lines_of_its_phase_alone() {
    let run = tempfile::tempdir().expect("folder");
    let mut log = written(run.path());
    log.write(Map::from_iter([("frozen".to_owned(), json!("before"))]))
        .expect("a line without phase and step");
    log.rewind("stage1", 2).expect("rewinding");
    assert_eq!(
        steps(&log),
        expected(&[("stage1", 1), ("stage1", 2), ("stage2", 1), ("stage2", 9)])
    );
    assert_eq!(
        log.lines().expect("lines").len(),
        5,
        "what belongs to no phase stays"
    );

    log.write(line("stage1", 3)).expect("writing");
    assert_eq!(
        steps(&log).last(),
        expected(&[("stage1", 3)]).last(),
        "it goes on behind what was kept"
    );
    assert_eq!(
        fs::read_dir(run.path()).expect("folder").count(),
        1,
        "no other file is left"
    );
}

#[test]
fn a_line_that_was_cut_off_is_left_out() {
    let run = tempfile::tempdir().expect("folder");
    let before = steps(&written(run.path()));
    cut_off(run.path());
    let mut log = RunLog::open(run.path()).expect("opening");
    assert_eq!(steps(&log), before);
    log.rewind("stage2", 1).expect("rewinding");
    assert_eq!(steps(&log), before[..4]);
}

#[test]
fn the_line_after_one_that_was_cut_off_is_whole() {
    let run = tempfile::tempdir().expect("folder");
    let mut before = steps(&written(run.path()));
    cut_off(run.path());
    let mut log = RunLog::open(run.path()).expect("opening");
    log.write(line("stage2", 10)).expect("writing");
    before.extend(expected(&[("stage2", 10)]));
    assert_eq!(steps(&log), before);
}

#[test]
fn a_missing_run_folder_is_named() {
    let run = tempfile::tempdir().expect("folder");
    let error = RunLog::open(&run.path().join("nowhere"))
        .err()
        .expect("a refusal");
    assert!(
        matches!(&error, TrainError::Io { path, .. } if path.ends_with("nowhere/metrics.jsonl")),
        "{error}"
    );
}

#[test]
fn rewinding_keeps_what_stays_to_the_byte() {
    let run = tempfile::tempdir().expect("folder");
    let file = run.path().join("metrics.jsonl");
    // Single precision in double: digits that a quick reader of numbers does not give back.
    let kept = "{\"itg\":10.999791145324707,\"phase\":\"stage1\",\"step\":1}\n";
    fs::write(&file, kept).expect("writing");
    let mut log = RunLog::open(run.path()).expect("opening");
    log.write(line("stage1", 2)).expect("writing");
    log.rewind("stage1", 1).expect("rewinding");
    assert_eq!(fs::read_to_string(&file).expect("reading"), kept);
}
