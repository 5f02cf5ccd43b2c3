//! The words of a scene, all decided by what it shows.

use super::arrangement::{Arrangement, Group, Relation};
use super::{CONCEPTS, Concept, Repertoire, SceneSet, Split};
use blip2_data::Stream;

/// A question about a picture and its one true answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Lower case, ending in "?".
    pub question: String,
    /// A noun phrase, a number word, or a place.
    pub answer: String,
}

/// In what a distractor differs from the true caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// One relation is turned round.
    Relation,
    /// One concept is another one.
    Concept,
}

/// A caption in the same words as the true one but for one change that makes it false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distractor {
    /// What was changed.
    pub change: Change,
    /// The false caption.
    pub caption: String,
}

/// "two apples above a bicycle".
pub(super) fn caption(arrangement: &Arrangement) -> String {
    let places: Vec<String> = arrangement
        .others
        .iter()
        .map(|(relation, other)| format!(" {} {}", relation.words(), phrase(*other)))
        .collect();
    format!("{}{}", phrase(arrangement.subject), places.join(" and"))
}

/// Other true captions: with "there is", and a pair told from the other side.
pub(super) fn paraphrases(arrangement: &Arrangement) -> Vec<String> {
    let told = |told: &Arrangement| format!("there {} {}", verb(told.subject), caption(told));
    let mut all = vec![told(arrangement)];
    if let [(relation, other)] = arrangement.others[..] {
        let turned = Arrangement {
            subject: other,
            others: vec![(relation.inverse(), arrangement.subject)],
        };
        all.push(caption(&turned));
        all.push(told(&turned));
    }
    all
}

/// Questions with exactly one true answer. Of an L only the subject's sides are asked for: the ends lie diagonally.
pub(super) fn questions(arrangement: &Arrangement, repertoire: &Repertoire) -> Vec<Question> {
    let subject = arrangement.subject;
    let mut all = Vec::new();
    let mut ask = |question: String, answer: String| all.push(Question { question, answer });
    let what =
        |relation: Relation, group: Group| format!("what is {} {}?", relation.words(), definite(group));
    for (relation, other) in &arrangement.others {
        ask(what(relation.inverse(), subject), phrase(*other));
    }
    match arrangement.others[..] {
        [] => ask("what is in the picture?".into(), phrase(subject)),
        [(relation, other)] => {
            ask(what(relation, other), phrase(subject));
            for (group, relation, other) in [(subject, relation, other), (other, relation.inverse(), subject)]
            {
                let question = format!("where {} {}?", verb(group), definite(group));
                ask(question, format!("{} {}", relation.words(), definite(other)));
            }
        }
        _ => {}
    }
    // Where there is one of everything, its number is no question.
    let counted = arrangement.groups().filter(|_| repertoire.most() > 1);
    for group in counted {
        ask(
            format!("how many {} are there?", words(group).plural),
            number(group.count).to_owned(),
        );
    }
    all
}

/// False captions that differ from the true one in one relation or one concept, worded as a true one would be.
pub(super) fn distractors(arrangement: &Arrangement, set: &SceneSet, stream: &mut Stream) -> Vec<Distractor> {
    let mut all = Vec::new();
    for changed in 0..arrangement.others.len() {
        let mut turned = arrangement.clone();
        turned.others[changed].0 = turned.others[changed].0.inverse();
        if is_fair(&turned, set) {
            all.push(Distractor {
                change: Change::Relation,
                caption: caption(&turned),
            });
        }
    }
    for changed in 0..=arrangement.others.len() {
        if let Some(replaced) = replace_concept(arrangement, changed, set, stream) {
            all.push(Distractor {
                change: Change::Concept,
                caption: caption(&replaced),
            });
        }
    }
    all
}

/// The arrangement with the concept of its group `changed` (0 the subject) drawn anew; `None` where no other one fits.
pub(super) fn replace_concept(
    arrangement: &Arrangement,
    changed: usize,
    set: &SceneSet,
    stream: &mut Stream,
) -> Option<Arrangement> {
    let replaced = |concept: usize| {
        if arrangement.groups().any(|group| group.concept == concept) {
            return None;
        }
        let mut replaced = arrangement.clone();
        match changed {
            0 => replaced.subject.concept = concept,
            other => replaced.others[other - 1].1.concept = concept,
        }
        is_fair(&replaced, set).then(|| replaced.in_order())
    };
    let concepts = set.repertoire.concepts();
    concepts.iter().find_map(|concept| replaced(*concept))?;
    loop {
        if let Some(replaced) = replaced(*stream.pick(concepts)) {
            return Some(replaced);
        }
    }
}

/// Where nothing is held back, a distractor must not name what is never shown either: it could be told by that alone,
/// and in training it would teach that such captions are false.
fn is_fair(false_arrangement: &Arrangement, set: &SceneSet) -> bool {
    matches!(set.split, Split::HeldOutPairs | Split::HeldOutCombination) || set.admits(false_arrangement)
}

fn words(group: Group) -> &'static Concept {
    &CONCEPTS[group.concept]
}

/// "a fox", "two foxes".
fn phrase(group: Group) -> String {
    match group.count {
        1 => format!("{} {}", words(group).article, words(group).singular),
        count => format!("{} {}", number(count), words(group).plural),
    }
}

/// "the fox", "the foxes".
fn definite(group: Group) -> String {
    format!(
        "the {}",
        if group.count == 1 {
            words(group).singular
        } else {
            words(group).plural
        }
    )
}

fn verb(group: Group) -> &'static str {
    if group.count == 1 { "is" } else { "are" }
}

fn number(count: usize) -> &'static str {
    ["no", "one", "two", "three"][count]
}
