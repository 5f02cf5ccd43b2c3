//! What scenes show and say, proved without any drawing.

use blip2_mini::scenes::{
    CONCEPTS, Change, Group, Relation, Scene, SceneSet, Split, Style, is_held_out_combination,
    is_held_out_pair,
};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

const SEED: u64 = 11;
/// Centres closer than this on an axis show no relation on it; further apart, they do.
const LEVEL: f32 = 0.15;

fn scenes(split: Split, count: u64) -> impl Iterator<Item = Scene> {
    (0..count).map(move |index| SceneSet::of_everything(SEED, split).scene(index))
}

/// The relations that the coordinates show between groups, both ways round.
fn visible_relations(scene: &Scene) -> HashSet<(usize, Relation, usize)> {
    let mut seen = HashSet::new();
    let centre = |group: Group| {
        let members: Vec<_> = scene
            .objects
            .iter()
            .filter(|object| object.concept == group.concept)
            .collect();
        assert_eq!(members.len(), group.count);
        let mean = |axis: fn(&blip2_mini::scenes::Placed) -> f32| {
            members.iter().map(|object| axis(object)).sum::<f32>() / members.len() as f32
        };
        (mean(|object| object.x), mean(|object| object.y))
    };
    for left in scene.arrangement.groups() {
        for right in scene
            .arrangement
            .groups()
            .filter(|right| right.concept != left.concept)
        {
            let ((left_x, left_y), (right_x, right_y)) = (centre(left), centre(right));
            let mut see = |relation| seen.insert((left.concept, relation, right.concept));
            if (left_x - right_x).abs() > LEVEL {
                see(if left_x < right_x {
                    Relation::LeftOf
                } else {
                    Relation::RightOf
                });
            }
            if (left_y - right_y).abs() > LEVEL {
                see(if left_y < right_y {
                    Relation::Above
                } else {
                    Relation::Below
                });
            }
        }
    }
    seen
}

#[test]
fn a_scene_is_decided_by_seed_split_and_index() {
    for split in Split::ALL {
        let set = SceneSet::of_everything(SEED, split);
        assert_eq!(set.scene(7), set.scene(7));
        assert_ne!(set.scene(7), set.scene(8));
        assert_ne!(set.scene(7), SceneSet::of_everything(SEED + 1, split).scene(7));
    }
    let train: HashSet<String> = scenes(Split::Train, 300)
        .map(|scene| format!("{:?}", scene.objects))
        .collect();
    assert!(scenes(Split::Validation, 300).all(|scene| !train.contains(&format!("{:?}", scene.objects))));
}

/// Pins the generator: a change here changes every stored feature and every published figure.
#[test]
fn the_first_scenes_stay_what_they_are() {
    let captions: Vec<String> = scenes(Split::Train, 6).map(|scene| scene.caption).collect();
    assert_eq!(captions, FIRST_CAPTIONS);
    let mut hasher = Sha256::new();
    for split in Split::ALL {
        scenes(split, 100).for_each(|scene| hasher.update(format!("{scene:?}")));
    }
    assert_eq!(format!("{:x}", hasher.finalize()), FIRST_SCENES);
}

const FIRST_CAPTIONS: [&str; 6] = [
    "a tractor to the right of a drum and below a rocket",
    "a rocket to the left of two soccer balls",
    "a pear to the right of two buses",
    "a butterfly below two keys",
    "a cookie below a bell",
    "a sailboat below an alarm clock",
];
/// Hash of the first hundred scenes of each split, coordinates included.
const FIRST_SCENES: &str = "d926b8beba71822f0bd15617fd182e09b5a0cc3ebb271525e6e05f84f0ba260d";

#[test]
fn training_shows_nothing_that_is_held_out() {
    for scene in scenes(Split::Train, 6_000) {
        assert_ne!(scene.style, Style::HELD_OUT);
        let concepts: HashSet<usize> = scene.objects.iter().map(|object| object.concept).collect();
        for left in &concepts {
            for right in &concepts {
                assert!(!is_held_out_pair(*left, *right), "{}", scene.caption);
            }
        }
        for (subject, relation, _) in visible_relations(&scene) {
            assert!(!is_held_out_combination(subject, relation), "{}", scene.caption);
        }
    }
}

#[test]
fn each_held_out_split_shows_its_own_novelty_and_no_other() {
    for split in [
        Split::HeldOutStyle,
        Split::HeldOutPairs,
        Split::HeldOutCombination,
    ] {
        for scene in scenes(split, 400) {
            let seen = visible_relations(&scene);
            let pair = seen
                .iter()
                .any(|(left, _, right)| is_held_out_pair(*left, *right));
            let combination = seen
                .iter()
                .any(|(subject, relation, _)| is_held_out_combination(*subject, *relation));
            let found = [scene.style == Style::HELD_OUT, pair, combination];
            let expected = [
                Split::HeldOutStyle,
                Split::HeldOutPairs,
                Split::HeldOutCombination,
            ]
            .map(|one| one == split);
            assert_eq!(found, expected, "{split}: {}", scene.caption);
        }
    }
}

#[test]
fn what_is_held_out_is_known_from_elsewhere() {
    let mut met = HashSet::new();
    let mut taken = HashSet::new();
    for scene in scenes(Split::Train, 20_000) {
        for (subject, relation, _) in visible_relations(&scene) {
            taken.insert((subject, relation));
        }
        met.extend(scene.objects.iter().map(|object| (object.concept, scene.style)));
    }
    let mut pairs = 0;
    let mut combinations = 0;
    for (concept, words) in CONCEPTS.iter().enumerate() {
        for style in Style::TRAINING {
            assert!(
                met.contains(&(concept, style)),
                "{} is never drawn in {style}",
                words.singular
            );
        }
        pairs += (0..concept)
            .filter(|other| is_held_out_pair(concept, *other))
            .count();
        for relation in Relation::ALL {
            let held_out = is_held_out_combination(concept, relation);
            combinations += usize::from(held_out);
            assert_eq!(
                taken.contains(&(concept, relation)),
                !held_out,
                "{} {relation:?}",
                words.singular
            );
        }
    }
    assert!((120..240).contains(&pairs), "{pairs} of 1770 pairs are held out");
    assert!(
        (6..20).contains(&combinations),
        "{combinations} of 240 combinations are held out"
    );
}

#[test]
fn relations_can_be_seen_and_are_the_ones_told() {
    for split in Split::ALL {
        for scene in scenes(split, 1_500) {
            let told: HashSet<_> = scene
                .arrangement
                .shown()
                .into_iter()
                .flat_map(|(left, relation, right)| {
                    [(left, relation, right), (right, relation.inverse(), left)]
                })
                .collect();
            assert_eq!(
                visible_relations(&scene),
                told,
                "{}: {:?}",
                scene.caption,
                scene.objects
            );
            for (at, object) in scene.objects.iter().enumerate() {
                let half = object.side / 2.0;
                assert!(
                    object.x >= half && object.x + half <= 1.0,
                    "{object:?} leaves the picture"
                );
                assert!(
                    object.y >= half && object.y + half <= 1.0,
                    "{object:?} leaves the picture"
                );
                for other in &scene.objects[..at] {
                    let reach = half + other.side / 2.0;
                    let apart = (object.x - other.x).abs() >= reach || (object.y - other.y).abs() >= reach;
                    assert!(apart, "{object:?} overlaps {other:?} in {}", scene.caption);
                }
            }
        }
    }
}

/// Reads a caption back into what it says: the phrases and the relations between them.
fn parse(caption: &str) -> (Group, Vec<(Relation, Group)>) {
    let group = |phrase: &str| {
        let (number, name) = phrase.split_once(' ').expect("an article or number, and a name");
        let count = ["", "", "two", "three"]
            .iter()
            .position(|word| *word == number)
            .unwrap_or(1);
        let named = |concept: &blip2_mini::scenes::Concept| match count {
            1 => concept.article == number && concept.singular == name,
            _ => concept.plural == name,
        };
        let concept = CONCEPTS
            .iter()
            .position(named)
            .unwrap_or_else(|| panic!("{phrase:?} names no concept"));
        Group { concept, count }
    };
    let start = |text: &str| {
        Relation::ALL
            .into_iter()
            .filter_map(|relation| text.find(relation.words()).map(|at| (at, relation)))
            .min_by_key(|(at, _)| *at)
    };
    let Some((at, _)) = start(caption) else {
        return (group(caption), Vec::new());
    };
    let places = caption[at..].split(" and ").map(|place| {
        let (_, relation) = start(place).expect("a place starts with its relation");
        (relation, group(place[relation.words().len()..].trim()))
    });
    (group(caption[..at].trim()), places.collect())
}

#[test]
fn captions_say_what_is_shown_and_distractors_do_not() {
    for split in Split::ALL {
        for scene in scenes(split, 800) {
            let seen = visible_relations(&scene);
            let (subject, others) = parse(&scene.caption);
            assert_eq!(
                (subject, &others),
                (scene.arrangement.subject, &scene.arrangement.others)
            );
            if let [(_, other)] = others[..] {
                assert!(
                    subject.concept < other.concept,
                    "the picture must decide the subject: {}",
                    scene.caption
                );
            }
            for caption in [&scene.caption].into_iter().chain(&scene.paraphrases) {
                assert!(caption.split(' ').count() <= 16, "{caption}");
            }
            let turned = scene
                .distractors
                .iter()
                .filter(|distractor| distractor.change == Change::Relation)
                .count();
            assert!(turned <= others.len());
            let replaced = scene.distractors.len() - turned;
            assert_eq!(replaced, others.len() + 1);
            for distractor in &scene.distractors {
                assert_ne!(distractor.caption, scene.caption);
                assert!(
                    !scene.paraphrases.contains(&distractor.caption),
                    "{}",
                    distractor.caption
                );
                let (subject, others) = parse(&distractor.caption);
                let known = |group: Group| scene.arrangement.groups().any(|shown| shown == group);
                let all_known = known(subject) && others.iter().all(|(_, other)| known(*other));
                assert_eq!(
                    all_known,
                    distractor.change == Change::Relation,
                    "{}",
                    distractor.caption
                );
                let true_relations = others
                    .iter()
                    .all(|(relation, other)| seen.contains(&(subject.concept, *relation, other.concept)));
                assert!(
                    !(all_known && true_relations),
                    "{} is true of {}",
                    distractor.caption,
                    scene.caption
                );
                if split == Split::Train {
                    for (relation, other) in others {
                        assert!(
                            !is_held_out_pair(subject.concept, other.concept),
                            "{}",
                            distractor.caption
                        );
                        assert!(
                            !is_held_out_combination(subject.concept, relation),
                            "{}",
                            distractor.caption
                        );
                        assert!(
                            !is_held_out_combination(other.concept, relation.inverse()),
                            "{}",
                            distractor.caption
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn most_training_pairs_have_a_turned_distractor() {
    let pairs: Vec<Scene> = scenes(Split::Train, 2_000)
        .filter(|scene| scene.arrangement.others.len() == 1)
        .collect();
    let turned = |scene: &&Scene| {
        scene
            .distractors
            .iter()
            .any(|distractor| distractor.change == Change::Relation)
    };
    let share = pairs.iter().filter(turned).count() as f64 / pairs.len() as f64;
    assert!(share > 0.8, "only {share} have one");
}

#[test]
fn questions_have_one_true_answer() {
    let mut kinds = HashSet::new();
    for scene in scenes(Split::Train, 1_500) {
        let seen = visible_relations(&scene);
        let mut asked = HashSet::new();
        assert!(!scene.questions.is_empty());
        for question in &scene.questions {
            assert!(
                asked.insert(&question.question),
                "{} is asked twice of {}",
                question.question,
                scene.caption
            );
            let text = question.question.strip_suffix('?').expect("a question mark");
            kinds.insert(text.split(' ').next().map(str::to_owned));
            if let Some(kind) = text.strip_prefix("how many ") {
                let plural = kind.strip_suffix(" are there").expect("the one form");
                let count = scene
                    .objects
                    .iter()
                    .filter(|object| CONCEPTS[object.concept].plural == plural)
                    .count();
                assert_eq!(question.answer, ["no", "one", "two", "three"][count]);
            } else if let Some(place) = text
                .strip_prefix("what is ")
                .filter(|rest| *rest != "in the picture")
            {
                let relation = Relation::ALL
                    .into_iter()
                    .find(|relation| place.starts_with(relation.words()))
                    .expect("a relation");
                let name = place[relation.words().len()..]
                    .strip_prefix(" the ")
                    .expect("a thing");
                let fits: Vec<_> = seen
                    .iter()
                    .filter(|(_, shown, object)| {
                        *shown == relation
                            && [CONCEPTS[*object].singular, CONCEPTS[*object].plural].contains(&name)
                    })
                    .collect();
                assert_eq!(fits.len(), 1, "{} of {}", question.question, scene.caption);
                assert_eq!(parse(&question.answer).0.concept, fits[0].0);
            }
        }
    }
    assert_eq!(
        kinds,
        ["what", "where", "how"].map(|kind| Some(kind.to_owned())).into()
    );
}

#[test]
fn a_gallery_has_no_caption_twice() {
    let gallery = SceneSet::of_everything(SEED, Split::HeldOutPairs).distinct(500);
    let captions: HashSet<&str> = gallery.iter().map(|scene| scene.caption.as_str()).collect();
    assert_eq!(captions.len(), 500);
}

#[test]
fn a_variation_turns_relations_or_changes_one_concept_within_its_split() {
    let set = SceneSet::of_everything(7, Split::Train);
    let (mut turned, mut replaced) = (0, 0);
    for index in 0..300 {
        let Some(varied) = set.variation(index) else {
            continue;
        };
        let original = set.scene(index);
        assert!(set.admits(&varied.arrangement), "{index}");
        assert_ne!(varied.caption, original.caption, "{index}");
        let concepts = |scene: &Scene| {
            let mut concepts: Vec<_> = scene.arrangement.groups().map(|group| group.concept).collect();
            concepts.sort_unstable();
            concepts
        };
        let (before, after) = (concepts(&original), concepts(&varied));
        match before.iter().filter(|concept| !after.contains(concept)).count() {
            0 => turned += 1,
            1 => replaced += 1,
            more => panic!("{index}: {more} concepts changed"),
        }
    }
    assert!(
        turned > replaced && replaced > 30,
        "{turned} turned, {replaced} replaced"
    );
}
