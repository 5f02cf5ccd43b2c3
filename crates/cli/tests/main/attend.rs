//! Where the queries look: weights and sheet.

use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{Fixture, QUERIES, Stages, stderr};

/// Rows and columns of the tiny encoder's patches, and what a record holds of them.
fn weights(record: &Value, list: &str) -> Vec<f64> {
    let patches = record["grid"][0].as_u64().unwrap() * record["grid"][1].as_u64().unwrap();
    let rows = record[list].as_array().unwrap();
    let flat: Vec<&Value> = match rows[0].is_array() {
        true => rows.iter().flat_map(|row| row.as_array().unwrap()).collect(),
        false => rows.iter().collect(),
    };
    assert_eq!(flat.len() as u64 % patches, 0);
    flat.into_iter().map(|weight| weight.as_f64().unwrap()).collect()
}

#[test]
fn each_stage_tells_where_its_queries_look() {
    let fixture = Fixture::new(Stages::Both);
    for (options, stage) in [
        (&["--stage", "1"][..], "first"),
        (&["--stage", "2"], "second"),
        (&[], "second"),
    ] {
        let records = fixture.records(&[&["attend", "--model", "model", "red.png"], options].concat());
        // Of two layers, the first reads the picture.
        assert_eq!(records.len(), 1);
        assert_eq!(
            (&records[0]["stage"], &records[0]["layer"]),
            (&stage.into(), &0.into())
        );
        let weights = weights(&records[0], "queries");
        for query in weights.chunks(weights.len() / QUERIES) {
            let sum: f64 = query.iter().sum();
            assert!(
                query.iter().all(|weight| *weight >= 0.0) && sum < 1.0 && sum > 0.0,
                "{sum}"
            );
        }
    }
}

#[test]
fn words_have_maps_of_their_own_and_the_sheet_shows_them() {
    let fixture = Fixture::new(Stages::Both);
    let text = "Two cats, on a table!";
    let arguments = ["attend", "--model", "model", "red.png", "--text", text];
    let records = fixture.records(&[&arguments[..], &["--out", "heat.png"]].concat());
    let words: Vec<&Value> = records
        .iter()
        .filter(|record| record["word"].is_string())
        .collect();
    let spelled: Vec<&str> = words
        .iter()
        .map(|record| record["word"].as_str().unwrap())
        .collect();
    // As captions are cleaned, and whole, however many pieces a word is cut into.
    assert_eq!(spelled, ["two", "cats", ",", "on", "a", "table"]);
    let maps: Vec<Vec<f64>> = words.iter().map(|record| weights(record, "weights")).collect();
    assert!(maps.iter().flatten().all(|weight| *weight >= 0.0));
    assert!(maps.iter().any(|map| map.iter().any(|weight| *weight > 0.0)));
    assert_ne!(maps[0], maps[1]);
    let matched = fixture.records(&["match", "--model", "model", "red.png", "--text", text]);
    let whole = records
        .iter()
        .find(|record| record["itm_probability"].is_number())
        .unwrap();
    let apart = whole["itm_probability"].as_f64().unwrap() - matched[0]["itm_probability"].as_f64().unwrap();
    assert!(apart.abs() < 1e-6, "{apart}");
    assert_eq!(
        records[0]["stage"], "first",
        "the text stands beside the queries that read it"
    );

    let sheet = image::open(fixture.path("heat.png")).unwrap().to_rgb8();
    // The picture, all queries and each, then the match and each word.
    assert_eq!(sheet.dimensions(), (6 * 240 + 16, 4 * (128 + 24 + 16) + 16));
    let picture = image::open(fixture.path("red.png")).unwrap().to_rgb8();
    let shown = sheet.get_pixel(16 + 200, 16 + 100);
    assert!(
        shown.0[0].abs_diff(picture.get_pixel(62, 31).0[0]) < 12,
        "{shown:?}"
    );
}

#[test]
fn what_a_model_cannot_look_for_is_said() {
    let fixture = Fixture::new(Stages::Second);
    fixture.stdout(&["attend", "--model", "model", "red.png", "--out", "heat.png"]);
    let text = [
        "attend", "--model", "model", "red.png", "--text", "a dog", "--out", "t.png",
    ];
    fixture.assert_fails(&text, &["reads no text"]);
    fixture.assert_fails(
        &["attend", "--model", "model", "red.png", "--stage", "1", "--json"],
        &["stage 1"],
    );
    let fixture = Fixture::new(Stages::First);
    fixture.assert_fails(
        &[&text[..], &["--layer", "1"]].concat(),
        &["layer 1", "does not read the image", "[0]"],
    );
    let output = fixture.run(&["attend", "--model", "model", "red.png"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn an_instruction_stands_beside_the_queries_that_read_it() {
    let fixture_model = fixture("parts/instructblip-llama");
    let fixture = Fixture::new(Stages::First);
    let model = fixture_model.display().to_string();
    let look = |text: &str| fixture.records(&["attend", "--model", &model, "red.png", "--text", text]);
    let [one, other] = ["a dog", "two cats"].map(look);
    assert_eq!(one[0]["stage"], "second");
    assert_ne!(
        weights(one.last().unwrap(), "queries"),
        weights(other.last().unwrap(), "queries")
    );
    assert!(
        one.iter().all(|record| record["word"].is_null()),
        "it does not match"
    );
}
