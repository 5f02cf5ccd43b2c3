//! Texts that are heard while they are written.

use blip2::GenerationConfig;
use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{load, picture};

#[test]
fn the_pieces_make_the_text() {
    for name in ["hf/opt-tiny", "hf/flant5-tiny"] {
        let folder = fixture(name);
        let blip2 = load(&folder).unwrap();
        let picture = picture(&folder, &Value::from("image1.png"));
        for num_beams in [1, 3] {
            let settings = GenerationConfig {
                num_beams,
                ..blip2.caption_settings().clone()
            };
            let mut pieces = Vec::new();
            let aloud = blip2
                .caption_aloud(&picture, "a photo of", &settings, &mut |piece| {
                    pieces.push(piece.to_owned());
                })
                .unwrap();
            let silent = blip2
                .caption(
                    std::slice::from_ref(&picture),
                    &["a photo of".to_owned()],
                    &settings,
                )
                .unwrap();
            assert_eq!(aloud, silent[0]);
            assert_eq!(pieces.concat().trim(), aloud.text, "{name}");
            assert!(
                pieces.iter().filter(|piece| !piece.is_empty()).count() > 3,
                "{pieces:?}"
            );
        }
    }
}

#[test]
fn pictures_and_prompts_are_pairs() {
    let folder = fixture("hf/opt-tiny");
    let blip2 = load(&folder).unwrap();
    let picture = picture(&folder, &Value::from("image1.png"));
    let error = blip2
        .caption(
            &[picture.clone(), picture],
            &[String::new()],
            blip2.caption_settings(),
        )
        .unwrap_err();
    assert!(error.to_string().contains("2 pictures and 1 texts"), "{error}");
}
