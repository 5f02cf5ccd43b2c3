//! A report that cannot be believed or shown is not written, and the error says why.

use std::error::Error;
use std::fs;

use blip2_report::Report;
use serde_json::json;

use crate::example;

/// The error of writing the example after `spoil`; nothing may have been written.
fn refusal(spoil: impl FnOnce(&mut Report)) -> String {
    let run = example::run();
    fs::write(run.path().join("pictures/text.png"), "no picture").unwrap();
    let mut report = example::report();
    spoil(&mut report);
    let error = report.write(run.path()).unwrap_err();
    assert!(!run.path().join("report.json").exists() && !run.path().join("report.html").exists());
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn figures_that_json_cannot_hold() {
    let error = refusal(|report| report.losses[1].points[7].1 = f64::NAN);
    assert_eq!(
        error,
        "stage 1 itm at step 7 is NaN, but a finite number is needed"
    );
    let error = refusal(|report| report.ablation[0].reference = Some(f64::INFINITY));
    assert!(error.contains("with stage 1 of the reference is inf"), "{error}");
    let error = refusal(|report| report.summary.push(("list".into(), json!([1, 2]))));
    assert_eq!(error, r#"the summary's "list" is [1,2]: give a number or text"#);
}

#[test]
fn shares_that_are_per_cent() {
    let error = refusal(|report| report.retrieval[0].text_to_image[2] = 43.0);
    assert_eq!(
        error,
        "the recall of by contrast on new style is 43, but a share from 0 to 1 is needed"
    );
    let error = refusal(|report| report.generation[1].f1 = -0.5);
    assert!(
        error.starts_with("the caption of most frequent on unseen pairs is -0.5"),
        "{error}"
    );
}

#[test]
fn attention_that_does_not_cover_its_grid() {
    let error = refusal(|report| report.looks[0].queries[1].truncate(5));
    assert_eq!(
        error,
        "query 1 of the look at car.png has 5 weights, but its grid of 2 by 3 needs 6"
    );
    let error = refusal(|report| report.looks[0].grid = [0, 3]);
    assert!(error.contains("its grid of 0 by 3"), "{error}");
    let error = refusal(|report| report.looks[0].queries[0][0] = -1.0);
    assert!(
        error.contains("a weight of query 0 of the look at car.png is -1"),
        "{error}"
    );
}

#[test]
fn pictures_that_are_none() {
    let missing = refusal(|report| report.samples[0].picture = "hen.png".into());
    assert!(
        missing.contains("cannot read") && missing.contains("hen.png: "),
        "{missing}"
    );
    for name in ["../fox.png", "/fox.png", "a/fox.png", "fox.png/", "..", ""] {
        let error = refusal(|report| report.looks[0].picture = name.into());
        assert!(
            error.starts_with(&format!("{name:?} is no name of a file")),
            "{error}"
        );
    }
    let text = refusal(|report| report.samples[0].picture = "text.png".into());
    assert!(text.contains("text.png is not a PNG"), "{text}");
}

#[test]
fn a_folder_that_is_not_there() {
    let run = example::run();
    let report = Report {
        samples: vec![],
        looks: vec![],
        ..example::report()
    };
    let error = report.write(&run.path().join("nowhere")).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot write ") && error.ends_with("report.json"),
        "{error}"
    );
}

#[test]
fn an_old_report_survives_a_refusal() {
    let run = example::run();
    let mut report = example::report();
    report.write(run.path()).unwrap();
    let before = fs::read(run.path().join("report.html")).unwrap();
    report.samples[0].picture = "hen.png".into();
    report.write(run.path()).unwrap_err();
    assert_eq!(fs::read(run.path().join("report.html")).unwrap(), before);
}
