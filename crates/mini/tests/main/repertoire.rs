//! Scenes of fewer things: what is chosen is shown, nothing else, and what is held out stays so.

use std::collections::HashSet;

use blip2_mini::scenes::{CONCEPTS, Combinations, Relation, Repertoire, SceneSet, ScenesError, Split};

const SEED: u64 = 5;

/// Every third concept, one over another, none twice.
fn stacked() -> Repertoire {
    let names: Vec<String> = names().map(str::to_owned).collect();
    Repertoire::new(
        Some(&names),
        Some(&[Relation::Above, Relation::Below]),
        Some(1),
        None,
        None,
    )
    .expect("enough")
}

fn names() -> impl Iterator<Item = &'static str> {
    CONCEPTS.iter().step_by(3).map(|concept| concept.singular)
}

fn set(split: Split) -> SceneSet {
    SceneSet {
        seed: SEED,
        split,
        repertoire: stacked(),
    }
}

fn refusal(names: Option<&[&str]>, relations: Option<&[Relation]>, most: Option<usize>) -> String {
    let names: Option<Vec<String>> = names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    match Repertoire::new(names.as_deref(), relations, most, None, None).expect_err("nothing to draw") {
        error @ ScenesError::Repertoire(_) => error.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn nothing_chosen_is_everything() {
    assert_eq!(
        Repertoire::new(None, None, None, None, None).expect("all"),
        Repertoire::default()
    );
    let listed: Vec<String> = CONCEPTS
        .iter()
        .rev()
        .map(|concept| concept.singular.to_owned())
        .collect();
    let listed = Repertoire::new(
        Some(&listed),
        Some(&Relation::ALL),
        Some(3),
        Some(true),
        Some(Combinations::OfOne),
    )
    .expect("all");
    assert_eq!(listed, Repertoire::default(), "whatever the order");
}

#[test]
fn scenes_and_their_words_keep_to_the_choice() {
    let chosen: HashSet<usize> = (0..CONCEPTS.len()).step_by(3).collect();
    let foreign: Vec<&str> = CONCEPTS
        .iter()
        .enumerate()
        .filter(|(index, _)| !chosen.contains(index))
        .map(|(_, concept)| concept.singular)
        .collect();
    for split in Split::ALL {
        let set = set(split);
        for index in 0..300 {
            for scene in [Some(set.scene(index)), set.variation(index)]
                .into_iter()
                .flatten()
            {
                let groups: Vec<_> = scene.arrangement.groups().collect();
                assert!(
                    groups
                        .iter()
                        .all(|group| chosen.contains(&group.concept) && group.count == 1)
                );
                assert!(
                    scene.arrangement.others.len() < 2,
                    "a corner needs all four relations"
                );
                assert!(set.admits(&scene.arrangement), "{split}: {}", scene.caption);
                let texts = [&scene.caption]
                    .into_iter()
                    .chain(scene.distractors.iter().map(|distractor| &distractor.caption))
                    .chain(
                        scene
                            .questions
                            .iter()
                            .flat_map(|asked| [&asked.question, &asked.answer]),
                    );
                for text in texts {
                    let words: Vec<&str> = text.trim_end_matches('?').split(' ').collect();
                    assert!(!words.iter().any(|word| foreign.contains(word)), "{text}");
                    assert!(
                        !["left", "right", "two", "three", "many"]
                            .iter()
                            .any(|word| words.contains(word)),
                        "{text}"
                    );
                }
            }
        }
    }
}

#[test]
fn three_things_share_a_picture_unless_told_otherwise() {
    for (corners, expected) in [(None, true), (Some(true), true), (Some(false), false)] {
        let set = SceneSet {
            repertoire: Repertoire::new(None, None, None, corners, None).expect("all"),
            ..set(Split::Train)
        };
        let scenes: Vec<_> = (0..200).map(|index| set.scene(index).arrangement).collect();
        assert_eq!(
            scenes.iter().any(|scene| scene.others.len() == 2),
            expected,
            "{corners:?}"
        );
        let told = |relation| {
            scenes
                .iter()
                .any(|scene| scene.others.iter().any(|(told, _)| *told == relation))
        };
        assert!(Relation::ALL.into_iter().all(told), "{corners:?}");
    }
}

#[test]
fn questions_of_few_things_are_not_answered_by_one_word() {
    let mut answers = std::collections::BTreeMap::<String, usize>::new();
    for scene in (0..500).map(|index| set(Split::Train).scene(index)) {
        for question in scene.questions {
            *answers.entry(question.answer).or_default() += 1;
        }
    }
    let (all, most) = (answers.values().sum::<usize>(), answers.values().max().copied());
    assert!(most < Some(all / 8), "{most:?} of {all}: {answers:?}");
}

#[test]
fn a_gallery_ends_where_the_captions_do() {
    let gallery = set(Split::HeldOutPairs).distinct(10_000);
    let captions: HashSet<&str> = gallery.iter().map(|scene| scene.caption.as_str()).collect();
    assert_eq!(captions.len(), gallery.len());
    // As many as there are: each pair that is held out, told by each relation that is not.
    let possible: HashSet<String> = (0..20_000)
        .map(|index| set(Split::HeldOutPairs).scene(index).caption)
        .collect();
    assert_eq!(captions.len(), possible.len());
}

#[test]
fn choices_that_leave_nothing_are_refused_with_the_reason() {
    assert!(refusal(Some(&["bear", "unicorn"]), None, None).contains("unicorn"));
    assert!(refusal(Some(&["bear"]), None, None).contains("train"));
    assert!(refusal(Some(&["cow", "duck", "frog"]), None, None).contains("held-out"));
    assert!(refusal(None, Some(&[Relation::Above]), None).contains("above"));
    assert!(refusal(None, Some(&[]), None).contains("train"));
    assert!(
        refusal(
            None,
            Some(&[Relation::Above, Relation::Below, Relation::Above]),
            None
        )
        .contains("once")
    );
    for most in [0, 4] {
        assert!(refusal(None, None, Some(most)).contains("1 to 3"));
    }
}

#[test]
fn combinations_of_two_are_held_out_of_pairs_that_training_shows_otherwise() {
    let names: Vec<String> = names().map(str::to_owned).collect();
    let vertical = [Relation::Above, Relation::Below];
    let two = Some(Combinations::OfTwo);
    let repertoire = Repertoire::new(Some(&names), Some(&vertical), Some(1), None, two).expect("enough");
    let facts = |split, count: u64| {
        let set = SceneSet {
            split,
            repertoire: repertoire.clone(),
            ..set(split)
        };
        let facts = (0..count).flat_map(|index| set.scene(index).arrangement.shown());
        facts.collect::<HashSet<_>>()
    };
    let trained = facts(Split::Train, 6_000);
    let held_out = facts(Split::HeldOutCombination, 400);
    assert!(held_out.len() > 10, "{held_out:?}");
    for (subject, relation, object) in held_out {
        assert!(!trained.contains(&(subject, relation, object)));
        assert!(
            trained.contains(&(subject, relation.inverse(), object)),
            "the pair is shown"
        );
        let elsewhere = |fact: &(usize, Relation, usize)| {
            (fact.0, fact.1) == (subject, relation) || (fact.2, fact.1.inverse()) == (subject, relation)
        };
        assert!(
            trained.iter().any(elsewhere),
            "the relation is known of {subject}"
        );
    }
}
