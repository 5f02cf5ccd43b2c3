use std::fs;

use blip2_report::{LossCurve, Report};
use serde_json::Value;

use crate::example;

const HEADINGS: [&str; 8] = [
    "<h2>What it says of pictures it has never seen</h2>",
    "<h2>Figures</h2>",
    "<h2>Losses</h2>",
    "<h2>Retrieval</h2>",
    "<h2>Generated words</h2>",
    "<h2>What stage 1 is worth</h2>",
    "<h2>Where the queries look</h2>",
    "<summary>Recipe</summary>",
];

fn page(report: &Report) -> String {
    let run = example::run();
    fs::read_to_string(report.write(run.path()).unwrap()).unwrap()
}

/// That every tag that opens also closes, in order.
fn assert_well_formed(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag that never ends");
        let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "closed out of order");
        } else if !matches!(name, "!DOCTYPE" | "meta" | "img") && !tag.ends_with('/') {
            open.push(name);
        }
        assert!(
            tag.matches('"').count() % 2 == 0,
            "a quote that never ends: {tag}"
        );
    }
    assert_eq!(open, Vec::<&str>::new(), "tags never closed");
}

#[test]
fn every_section_stands_there_once_and_in_order() {
    let page = page(&example::report());
    assert_well_formed(&page);
    let places: Vec<usize> = HEADINGS
        .iter()
        .map(|heading| page.find(heading).expect(heading))
        .collect();
    assert!(places.is_sorted());
    assert!(HEADINGS.iter().all(|heading| page.matches(heading).count() == 1));
    assert_eq!(
        page.matches("<svg").count(),
        3 + 1,
        "a chart for each loss and one for the ablation"
    );
    assert_eq!(
        page.matches("class=\"tile look0\"").count(),
        2,
        "a tile for each query"
    );
    let first = page.find("<section").unwrap();
    let shown = page.find("<article><img src=").unwrap();
    assert!(
        first < shown && shown < places[1],
        "pictures come before any figure"
    );
    for (term, words) in [
        ("Language model, with another picture", "buses"),
        ("Language model", "above"),
    ] {
        let line = page.split(&format!("<dt>{term}</dt>")).nth(1).expect(term);
        assert!(
            line.split("</dd>").next().expect("words").contains(words),
            "{term}"
        );
    }
    assert!(page.contains("<dt>a recall</dt><dd>0.4375</dd>") && page.contains("<dt>steps</dt><dd>900</dd>"));
}

#[test]
fn empty_sections_are_left_out() {
    let empty = page(&Report {
        title: "Nothing yet".into(),
        ..Report::default()
    });
    assert_well_formed(&empty);
    assert!(!empty.contains("<section") && !empty.contains("class=\"cards\"") && !empty.contains("<h2>"));

    let full = example::report();
    let fill: [fn(&mut Report, &Report); 8] = [
        |report, full| report.samples = full.samples.clone(),
        |report, full| report.summary = full.summary.clone(),
        |report, full| report.losses = full.losses.clone(),
        |report, full| report.retrieval = full.retrieval.clone(),
        |report, full| report.generation = full.generation.clone(),
        |report, full| report.ablation = full.ablation.clone(),
        |report, full| report.looks = full.looks.clone(),
        |report, full| report.recipe = full.recipe.clone(),
    ];
    for (fill, heading) in fill.iter().zip(HEADINGS) {
        let mut report = Report::default();
        fill(&mut report, &full);
        let page = page(&report);
        assert_eq!(page.matches("<section").count(), 1);
        assert!(page.contains(heading));
    }
}

#[test]
fn a_curve_without_points_is_no_chart() {
    let curve = LossCurve {
        phase: "stage 1".into(),
        ..LossCurve::default()
    };
    let page = page(&Report {
        losses: vec![curve.clone()],
        ablation: vec![curve],
        ..Report::default()
    });
    assert!(!page.contains("<svg") && !page.contains("<section"));
}

#[test]
fn a_single_step_is_a_chart_of_finite_places() {
    let curve = LossCurve {
        points: vec![(7, 2.0)],
        ..LossCurve::default()
    };
    let page = page(&Report {
        losses: vec![curve],
        ..Report::default()
    });
    assert!(page.contains("<svg") && !page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn nothing_comes_from_elsewhere() {
    let page = page(&example::report());
    for foreign in [
        "http:", "https:", "file:", "<script", "<link", "@import", "<iframe",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for opening in ["src=\"", "href=\"", "url("] {
        for address in page.split(opening).skip(1) {
            assert!(
                address.starts_with("data:image/png;base64,"),
                "{opening}{address:.60}"
            );
        }
    }
    assert!(page.contains("src=\"data:") && page.contains("url(data:"));
    assert!(page.contains("default-src 'none'"));
}

/// Adds to every text of the report, but for the names of files, what would be a tag if it were not escaped.
fn poison(value: &mut Value) -> usize {
    match value {
        Value::String(text) => {
            text.push_str(" <i title='\">&amp;");
            1
        }
        Value::Array(items) => items.iter_mut().map(poison).sum(),
        Value::Object(entries) => entries
            .iter_mut()
            .filter(|(name, _)| *name != "picture")
            .map(|(_, value)| poison(value))
            .sum(),
        _ => 0,
    }
}

#[test]
fn all_text_is_escaped() {
    let mut value = serde_json::to_value(example::report()).unwrap();
    let texts = poison(&mut value);
    let report: Report = serde_json::from_value(value).unwrap();
    let page = page(&report);
    assert!(texts > 30);
    assert!(
        !page.contains("<i ") && !page.contains("'\">"),
        "text became a tag"
    );
    assert!(page.matches("&lt;i").count() >= texts / 2, "text was lost");
    assert!(
        page.contains("&amp;amp;"),
        "text that is escaped already is escaped again"
    );
    assert_well_formed(&page);
}

#[test]
fn texts_that_no_sample_has_are_left_out() {
    let mut report = example::report();
    let sample = &mut report.samples[0];
    sample.written_by_qformer = None;
    sample.caption_of_another = None;
    sample.question.clear();
    assert!(!page(&report).contains("Q-Former") && !page(&report).contains("<dt>Answer</dt>"));
    assert!(page(&report).contains("Language model"));
    // Before stage 2 nobody has written a caption; after it, an empty one is a wrong one.
    report.samples[0].caption.clear();
    assert!(!page(&report).contains("Language model"));
    report.samples.push(example::report().samples.remove(0));
    assert_eq!(page(&report).matches("<em>nothing</em>").count(), 1);
}
