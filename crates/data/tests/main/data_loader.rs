//! Batches: the same whatever the threads, going on where a run was stopped, with deputies for what is damaged.

use std::sync::Arc;

use blip2_data::loader::{Batch, DataLoader, DataLoaderError, LoaderOptions, Skipped, TrainView};
use blip2_data::mixture::{Mixing, Mixture, Part};
use blip2_data::pixels::ImageProcessor;
use blip2_data::sets::{Answer, Dataset, Filter, Question, Sample, SampleError, filtered};

use crate::numbers::Numbers;

fn mixture(damaged: &[u64]) -> Arc<Mixture> {
    let mut first = Numbers::new("first", &[20, 30, 10]);
    first.damaged = damaged.to_vec();
    let weighted = |set: Numbers, weight| Part {
        weight: Some(weight),
        ..Part::new(Arc::new(set))
    };
    let parts = vec![
        weighted(first, 2.0),
        weighted(Numbers::new("second", &[25]), 1.0),
        weighted(Numbers::new("third", &[3, 4]), 0.5),
    ];
    Arc::new(Mixture::new(parts, Mixing::new(11)).expect("a mixture"))
}

fn options(threads: usize) -> LoaderOptions {
    LoaderOptions {
        threads,
        ..LoaderOptions::new(8)
    }
}

fn loader(mixture: &Arc<Mixture>, options: &LoaderOptions, position: u64) -> DataLoader {
    let transform = Arc::new(TrainView::fine_tuning(24));
    DataLoader::new(mixture.clone(), transform, options, position).expect("a loader")
}

fn batches(loader: &mut DataLoader, count: usize) -> Vec<Batch> {
    (0..count)
        .map(|_| loader.next_batch().expect("a batch"))
        .collect()
}

#[test]
fn threads_change_nothing() {
    let mixture = mixture(&[3, 17]);
    let one = batches(&mut loader(&mixture, &options(1), 0), 20);
    for threads in [2, 5] {
        assert!(
            batches(&mut loader(&mixture, &options(threads), 0), 20) == one,
            "{threads} threads"
        );
    }
    assert!(one[0].rows.iter().all(|row| row.picture.dimensions() == (24, 24)));
    assert_eq!(
        one[0].pixels(&ImageProcessor::clip_square(24)).len(),
        8 * 3 * 24 * 24
    );
}

#[test]
fn processes_share_the_rows_of_one_order() {
    let mixture = mixture(&[3]);
    let whole = batches(&mut loader(&mixture, &options(2), 0), 12);
    let mut parts = [0..3, 3..8].map(|rows| loader(&mixture, &LoaderOptions { rows, ..options(2) }, 0));
    for batch in whole {
        let [first, second] = parts.each_mut().map(|part| part.next_batch().expect("a batch"));
        assert_eq!(first.position, batch.position);
        assert!([first.rows, second.rows].concat() == batch.rows);
    }
}

#[test]
fn a_run_that_was_killed_goes_on_with_the_very_next_sample() {
    let mixture = mixture(&[3, 17, 40]);
    let whole = batches(&mut loader(&mixture, &options(2), 0), 40);
    let mut first = loader(&mixture, &options(4), 0);
    let begun = batches(&mut first, 17);
    let progress = mixture.progress(first.position());
    drop(first);
    let position = mixture.resume(&progress).expect("its own data");
    let rest = batches(&mut loader(&mixture, &options(3), position), 23);
    assert!([begun, rest].concat() == whole);
}

#[test]
fn a_caption_is_drawn_each_time() {
    let part = Part::new(Arc::new(Numbers::new("some", &[12])));
    let mixture = Arc::new(Mixture::new(vec![part], Mixing::new(2)).expect("a mixture"));
    let mut loader = loader(&mixture, &options(2), 0);
    let rows: Vec<_> = batches(&mut loader, 60)
        .into_iter()
        .flat_map(|batch| batch.rows)
        .collect();
    let drawn = |key: &str, number: u32| {
        let text = format!("caption {number} of {key}");
        rows.iter()
            .filter(|row| row.key == key && row.text.as_deref() == Some(&text))
            .count()
    };
    // Each is seen 40 times; 20 of each expected.
    assert_eq!(drawn("some 5", 0) + drawn("some 5", 1), 40);
    assert!((8..=32).contains(&drawn("some 5", 0)), "{}", drawn("some 5", 0));
    assert_eq!(drawn("some 4", 0), 40);
    assert!(rows.iter().all(|row| row.key != "some 3" || row.text.is_none()));
}

#[test]
fn damaged_samples_are_listed_counted_and_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("skipped.jsonl");
    let read = || -> Vec<Skipped> {
        let text = std::fs::read_to_string(&list).expect("the list");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line"))
            .collect()
    };
    let mixture = mixture(&[3, 17]);
    let options = LoaderOptions {
        skipped: Some(list.clone()),
        ..options(3)
    };
    let mut whole = loader(&mixture, &options, 0);
    let seen = batches(&mut whole, 30);
    let listed = read();
    assert!(!listed.is_empty());
    assert_eq!(whole.skipped(), [("first", "picture_empty", listed.len() as u64)]);
    for skipped in &listed {
        let place = mixture.at(skipped.position);
        let row = &seen[skipped.position as usize / 8].rows[skipped.position as usize % 8];
        assert_eq!((place.set, row.set, row.position), (0, 0, skipped.position));
        assert!(skipped.key == "first 3" || skipped.key == "first 17");
        assert!(row.key != "first 3" && row.key != "first 17");
    }
    drop(whole);

    // What was listed behind the position of the checkpoint comes again, and is listed once.
    let resumed = &mut loader(&mixture, &options, 80);
    assert!(batches(resumed, 20) == seen[10..]);
    assert_eq!(read(), listed);
    assert_eq!(
        resumed.skipped(),
        [("first", "picture_empty", listed.len() as u64)]
    );
}

#[test]
fn the_list_of_one_rank_is_no_damage_of_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mixture = mixture(&[3, 17]);
    let allowed = |rows| LoaderOptions {
        rows,
        skipped: Some(folder.path().join("skipped.jsonl")),
        ..options(1)
    };
    let mut whole = loader(&mixture, &allowed(0..8), 0);
    batches(&mut whole, 30);
    let all: u64 = whole.skipped().iter().map(|(_, _, count)| count).sum();
    drop(whole);
    // The first of four ranks goes on with the list.
    let quarter = loader(&mixture, &allowed(0..2), 240);
    let own: u64 = quarter.skipped().iter().map(|(_, _, count)| count).sum();
    assert!(own < all, "{own} of {all}");
}

/// Every third question has no answer.
struct Asked(Numbers);

impl Dataset for Asked {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let answers = match index % 3 {
            0 => Vec::new(),
            _ => vec![Answer {
                text: "yes".to_owned(),
                count: 1.0,
            }],
        };
        Ok(Sample {
            texts: Vec::new(),
            question: Some(Question {
                id: index.to_string(),
                text: "is it?".to_owned(),
                answers,
            }),
            ..self.0.read(index)?
        })
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

#[test]
fn a_question_without_answers_is_replaced() {
    let part = Part::new(Arc::new(Asked(Numbers::new("asked", &[30]))));
    let mixture = Mixture::new(vec![part], Mixing::new(3)).expect("a mixture");
    let options = LoaderOptions {
        max_skipped: 1.0,
        ..options(2)
    };
    let mut loader = loader(&Arc::new(mixture), &options, 0);
    for batch in batches(&mut loader, 12) {
        assert!(batch.rows.iter().all(|row| row.index % 3 != 0));
    }
    assert!(
        loader
            .skipped()
            .iter()
            .all(|(_, reason, _)| *reason == "no_answers")
    );
}

#[test]
fn a_run_ends_where_too_much_is_damaged() {
    let mixture = mixture(&(0..60).step_by(4).collect::<Vec<_>>());
    let mut loader = loader(&mixture, &options(2), 0);
    let error = (0..1000)
        .find_map(|_| loader.next_batch().err())
        .expect("too much is damaged");
    let DataLoaderError::TooManySkipped { skipped, seen, .. } = &error else {
        panic!("{error}");
    };
    assert!(*seen < 1000 && *skipped == 51, "{error}");
    assert!(error.to_string().contains("51 picture_empty in first"), "{error}");

    let strict = LoaderOptions {
        max_skipped: 0.0,
        ..options(2)
    };
    let mut strict = self::loader(&mixture, &strict, 0);
    assert!((0..10).any(|_| strict.next_batch().is_err()));
}

/// Keeps one sample of fifty, and in `nothing` none.
#[derive(Debug)]
struct Few {
    nothing: bool,
}

impl Filter for Few {
    fn reason(&self) -> &'static str {
        "not_one_of_fifty"
    }

    fn refuse(&self, sample: &Sample) -> Option<String> {
        let number: u64 = sample.key["whole ".len()..].parse().expect("a number");
        (self.nothing || !number.is_multiple_of(50)).then(|| "on purpose".to_owned())
    }
}

fn few(nothing: bool) -> DataLoader {
    let set = filtered(
        Box::new(Numbers::new("whole", &[400])),
        vec![Box::new(Few { nothing })],
    );
    let mixture = Mixture::new(vec![Part::new(Arc::from(set))], Mixing::new(0)).expect("a mixture");
    let strict = LoaderOptions {
        max_skipped: 0.0,
        ..options(2)
    };
    loader(&Arc::new(mixture), &strict, 0)
}

#[test]
fn what_a_filter_keeps_out_is_no_damage_however_much_it_is() {
    let mut loader = few(false);
    for batch in batches(&mut loader, 40) {
        assert!(batch.rows.iter().all(|row| row.index.is_multiple_of(50)));
    }
    let [(set, reason, count)] = loader.skipped()[..] else {
        panic!("one reason");
    };
    assert_eq!((set, reason), ("whole", "not_one_of_fifty"));
    assert!(count > 1000, "{count}");
    let error = few(true).next_batch().expect_err("nothing is left").to_string();
    assert!(error.contains("on purpose"), "{error}");
}

#[test]
fn a_set_of_nothing_but_damage_ends_the_run() {
    let mut set = Numbers::new("ruin", &[4]);
    set.damaged = vec![0, 1, 2, 3];
    let mixture = Arc::new(Mixture::new(vec![Part::new(Arc::new(set))], Mixing::new(0)).expect("a mixture"));
    let options = LoaderOptions {
        max_skipped: 1.0,
        ..options(2)
    };
    let error = loader(&mixture, &options, 0)
        .next_batch()
        .expect_err("nothing is whole");
    assert!(
        matches!(error, DataLoaderError::NothingLeft { tried: 65, .. }),
        "{error}"
    );
}

#[test]
fn impossible_rows_are_refused() {
    for (batch, rows) in [(0, 0..0), (8, 3..3), (8, 0..9)] {
        let options = LoaderOptions {
            batch,
            rows,
            ..options(1)
        };
        let refused = DataLoader::new(mixture(&[]), Arc::new(TrainView::pretraining(8)), &options, 0);
        assert!(matches!(refused, Err(DataLoaderError::Rows { .. })));
    }
}
