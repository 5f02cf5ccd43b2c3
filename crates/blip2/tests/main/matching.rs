//! Texts that are matched with a picture, as long as somebody waits for it.

use std::cell::Cell;

use blip2::{Blip2Error, GenerationError};
use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{load, picture};

#[test]
fn matching_ends_between_two_batches_where_nobody_waits_for_it() {
    let folder = fixture("hf/itm-tiny");
    let model = load(&folder).unwrap();
    let picture = picture(&folder, &Value::from("image0.png"));
    // Four batches.
    let texts: Vec<String> = (0..100).map(|number| format!("{number} cats")).collect();
    let asked = Cell::new(0);
    let while_below = |most: usize| {
        asked.set(0);
        model.match_texts_while(&picture, &texts, &|| {
            asked.set(asked.get() + 1);
            asked.get() <= most
        })
    };
    // Once before the picture, once before each batch.
    let whole = while_below(usize::MAX).unwrap();
    assert_eq!((whole.len(), asked.get()), (texts.len(), 5));
    assert_eq!(whole, model.match_texts(&picture, &texts).unwrap());
    for most in [0, 1, 3] {
        let stopped = while_below(most);
        assert!(
            matches!(stopped, Err(Blip2Error::Generation(GenerationError::Stopped))),
            "{stopped:?}"
        );
        assert_eq!(asked.get(), most + 1, "it went on");
    }
}
