use std::error::Error;
use std::fs;

use blip2_report::Report;

use crate::example;

#[test]
fn what_is_written_is_read_back() {
    let run = example::run();
    let report = example::report();
    report.write(run.path()).unwrap();
    let text = fs::read_to_string(run.path().join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn the_summary_is_an_object_in_its_own_order() {
    let text = serde_json::to_string(&example::report()).unwrap();
    assert!(
        text.contains(r#""summary":{"steps":900,"a recall":0.4375,"encoder":"small"}"#),
        "{text}"
    );
}

#[test]
fn a_figure_that_stands_there_twice_is_refused() {
    let text = serde_json::to_string(&example::report())
        .unwrap()
        .replace("a recall", "steps");
    let error = serde_json::from_str::<Report>(&text).unwrap_err().to_string();
    assert!(
        error.contains(r#"the figure "steps" stands there twice"#),
        "{error}"
    );
}

#[test]
fn writing_replaces_the_old_report_and_leaves_nothing_beside_it() {
    let run = example::run();
    let mut report = example::report();
    report.write(run.path()).unwrap();
    report.title = "Another run".into();
    let page = report.write(run.path()).unwrap();
    assert_eq!(page, run.path().join("report.html"));
    assert!(fs::read_to_string(page).unwrap().contains("<h1>Another run</h1>"));
    let mut names: Vec<String> = fs::read_dir(run.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["pictures", "report.html", "report.json"]);
}

#[test]
fn the_summary_is_read_alone() {
    let run = example::run();
    let report = example::report();
    report.write(run.path()).unwrap();
    assert_eq!(Report::read_summary(run.path()).unwrap(), report.summary);
}

#[test]
fn what_is_no_report_is_named() {
    let run = example::run();
    let error = || {
        let error = Report::read_summary(run.path()).unwrap_err();
        (error.to_string(), error.source().unwrap().to_string())
    };
    assert!(error().0.starts_with("cannot read") && error().0.ends_with("report.json"));
    for (text, cause) in [
        ("{}", "missing field `summary`"),
        ("[", "EOF"),
        (r#"{"summary": 3}"#, "an object of figures"),
    ] {
        fs::write(run.path().join("report.json"), text).unwrap();
        let (message, source) = error();
        assert!(
            message.contains("report.json is not the report of a run"),
            "{message}"
        );
        assert!(source.contains(cause), "{source}");
    }
}
