//! What can only be proved with the real drawings and the real vocabulary, which `cargo xtask assets` puts under
//! `$BLIP2_HOME`.

use blip2_data::text::{BertTokenizer, Padding};
use blip2_mini::scenes::{EmojiAssets, EmojiNames, SceneArtist, SceneSet, Split, Style};
use std::path::PathBuf;

/// The assets' home, if the named file is there; else the skipped test says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn home(needed: &str) -> Option<PathBuf> {
    let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
    let found = home.filter(|home| home.join(needed).is_file());
    if found.is_none() {
        eprintln!("SKIPPED: $BLIP2_HOME/{needed} is absent; run `cargo xtask assets` and set BLIP2_HOME");
    }
    found
}

#[test]
fn every_concept_is_drawn_in_every_style() {
    let Some(home) = home("assets/openmoji/icons.json") else {
        return;
    };
    let artist = SceneArtist::load(&EmojiAssets::in_home(&home)).expect("four whole sets");
    for split in Split::ALL {
        for index in 0..60 {
            let scene = SceneSet::of_everything(3, split).scene(index);
            let picture = artist.render(&scene, 64).expect("a known concept");
            assert_eq!(picture.dimensions(), (64, 64));
        }
    }
}

#[test]
fn the_long_tail_has_its_names_in_all_styles() {
    let Some(home) = home("assets/cldr/annotations.json") else {
        return;
    };
    let names = EmojiNames::load(&EmojiAssets::in_home(&home)).expect("four whole sets");
    let (training, held_out) = (names.training(), names.held_out());
    assert!(
        training.len() > 4_000 && held_out.len() > 1_500,
        "{} and {}",
        training.len(),
        held_out.len()
    );
    assert!(training.iter().all(|emoji| emoji.style != Style::HELD_OUT));
    assert!(held_out.iter().all(|emoji| emoji.style == Style::HELD_OUT));
    assert!(
        training
            .iter()
            .all(|emoji| !emoji.text.is_empty() && !emoji.icon.contains("skin-tone"))
    );
    for emoji in held_out.iter().step_by(400) {
        let picture = names.render(emoji, 3, 48).expect("a whole drawing");
        assert_eq!(picture, names.render(emoji, 3, 48).expect("a whole drawing"));
        let ground = picture.get_pixel(0, 0);
        assert!(picture.pixels().any(|pixel| {
            pixel
                .0
                .iter()
                .zip(ground.0)
                .any(|(left, right)| left.abs_diff(right) > 60)
        }));
    }
}

#[test]
fn captions_and_questions_are_short_in_word_pieces() {
    let Some(home) = home("assets/bert/vocab.txt") else {
        return;
    };
    let tokenizer = BertTokenizer::from_file(&home.join("assets/bert/vocab.txt")).expect("bert-base-uncased");
    assert_eq!(
        (tokenizer.vocabulary_size(), tokenizer.decode_id()),
        (30_523, 30_522)
    );
    let mut lengths = Vec::new();
    for index in 0..4_000 {
        let scene = SceneSet::of_everything(3, Split::Train).scene(index);
        let questions = scene.questions.iter().map(|question| question.question.clone());
        let texts: Vec<String> = [scene.caption]
            .into_iter()
            .chain(scene.paraphrases)
            .chain(questions)
            .collect();
        let batch = tokenizer.encode(&texts, 64, Padding::Longest).expect("tokens");
        assert!(
            batch.ids.iter().flatten().all(|id| *id != 100),
            "an unknown word in {texts:?}"
        );
        assert!(batch.shape()[1] <= 20, "{} tokens in {texts:?}", batch.shape()[1]);
        lengths.push(batch.mask[0].iter().filter(|real| **real).count());
    }
    lengths.sort_unstable();
    assert!(
        lengths[lengths.len() * 9 / 10] <= 16,
        "one caption in ten is longer than 16 tokens"
    );
}
