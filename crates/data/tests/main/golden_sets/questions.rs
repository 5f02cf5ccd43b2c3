//! Sets of questions: VQAv2, OK-VQA, GQA, official and as LAVIS has them; those of Visual Genome are beside its captions.

use std::collections::BTreeSet;

use blip2_data::sets::{Answer, DataSpec};
use blip2_golden::{Check, each};
use serde_json::Value;

use super::{Contents, Folder, compare_files, list, object, opened, texts, word, words};

/// Questions, their numbers and answers. LAVIS has weights in place of counts: the same shares of all, or one weight for all
/// sets of the kind.
pub(super) fn compare(check: &mut Check, contents: &Contents, samples: &[Value]) {
    let questions = contents
        .samples
        .iter()
        .map(|sample| sample.question.as_ref().expect("a question"));
    let (ids, asked): (Vec<String>, Vec<String>) = questions
        .clone()
        .map(|own| (own.id.clone(), own.text.clone()))
        .unzip();
    check.identical("question-ids", &ids, &words(samples, "question_id"));
    check.identical("questions", &asked, &words(samples, "question"));
    let ours: Vec<&[Answer]> = questions.map(|own| own.answers.as_slice()).collect();
    let (mut our_shares, mut their_shares) = (Vec::new(), Vec::new());
    let given = |sample: &Value| match (&sample["answers"], &sample["answer"]) {
        (Value::Null, Value::Null) => Vec::new(),
        (Value::Null, answer) => texts(answer),
        (answers, _) => texts(answers),
    };
    let mut theirs: Vec<Vec<String>> = Vec::new();
    let mut counts: Vec<Vec<f64>> = Vec::new();
    for (own, sample) in ours.iter().zip(samples) {
        let given = given(sample);
        let mut distinct: Vec<String> = Vec::new();
        given.iter().for_each(|answer| {
            if !distinct.contains(answer) {
                distinct.push(answer.clone());
            }
        });
        let times = |answer: &String| given.iter().filter(|own| *own == answer).count() as f64;
        match sample["weights"].as_array() {
            Some(weights) if weights.len() > 1 => {
                let all: f64 = own.iter().map(|answer| answer.count).sum();
                our_shares.extend(own.iter().map(|answer| answer.count / all));
                their_shares.extend(weights.iter().filter_map(Value::as_f64));
                counts.push(own.iter().map(|answer| answer.count).collect());
            }
            _ => counts.push(distinct.iter().map(times).collect()),
        }
        theirs.push(distinct);
    }
    let answers = |own: &&[Answer]| own.iter().map(|answer| answer.text.clone()).collect::<Vec<_>>();
    check.identical("answers", &ours.iter().map(answers).collect::<Vec<_>>(), &theirs);
    let counted = |own: &&[Answer]| own.iter().map(|answer| answer.count).collect::<Vec<_>>();
    check.identical(
        "counts-of-answers",
        &ours.iter().map(counted).collect::<Vec<_>>(),
        &counts,
    );
    if !our_shares.is_empty() {
        check.absolute("shares-of-answers", &our_shares, &their_shares, 1e-12);
    }
}

#[test]
fn questions() {
    let Some(folder) = Folder::find("vqa") else { return };
    let coco = "../coco/images";
    each(object(&folder.expected["files"]), |(file, expected)| {
        let Some((set, _)) = file.split_once('/') else {
            // A note that says where Visual Genome's questions are.
            return;
        };
        let images = if set == "gqa" { "gqa/images" } else { coco };
        let mut check = folder.check(file);
        if let Some(ids) = expected["question_ids"].as_array() {
            let set = opened(&folder.spec(set, file, images));
            // Its pictures need not be here.
            let keys: Vec<String> = (0..set.len()).filter_map(|index| set.key(index).ok()).collect();
            check.identical("question-ids", &keys, &ids.iter().map(word).collect::<Vec<_>>());
            return;
        }
        let samples = list(&expected["samples"]);
        let mut spec = folder.spec(set, file, images);
        if let Some(questions) = expected["questions"].as_str() {
            let (below, _) = file.rsplit_once('/').expect("a file of a set");
            spec = DataSpec {
                annotations: Some(folder.path(file)),
                ..folder.spec(set, &format!("{below}/{questions}"), images)
            };
        }
        let contents = Contents::of(&*opened(&spec));
        compare(&mut check, &contents, samples);
        check.identical("skipped", &contents.skipped(), &[]);
        if samples.iter().any(|sample| !sample["image_id"].is_null()) {
            check.identical("ids", &contents.image_ids(), &words(samples, "image_id"));
        }
        compare_files(&folder, &contents, samples);
        if samples.iter().any(|sample| !sample["balanced"].is_null()) {
            let balanced: Vec<Value> = samples
                .iter()
                .filter(|sample| sample["balanced"] == true)
                .cloned()
                .collect();
            let spec = DataSpec {
                split: Some("balanced".into()),
                ..spec
            };
            let ids = words(&balanced, "question_id");
            check.identical("balanced", &Contents::of(&*opened(&spec)).keys(), &ids);
        }
    });
    candidates(&folder);
}

/// `answer_list.json`: the answers among which LAVIS ranks, all of which someone gave.
fn candidates(folder: &Folder) {
    let (mut given, mut counts, mut lists) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for (file, expected) in object(&folder.expected["files"]) {
        for sample in expected["samples"].as_array().into_iter().flatten() {
            given.extend(sample["answers"].as_array().into_iter().flatten().map(word));
        }
        if let (Some(count), Some((below, _))) = (expected["answer_list"].as_u64(), file.rsplit_once('/')) {
            counts.push(count);
            lists.insert(format!("{below}/answer_list.json"));
        }
    }
    for file in lists {
        let content = std::fs::read(folder.path(&file)).expect("a list");
        let answers: Vec<String> = serde_json::from_slice(&content).expect("texts");
        let mut check = folder.check(&file);
        check.identical("count", &vec![answers.len() as u64; counts.len()], &counts);
        let unknown: Vec<&String> = answers.iter().filter(|answer| !given.contains(*answer)).collect();
        check.identical("answers-that-nobody-gave", &unknown, &[]);
    }
}
