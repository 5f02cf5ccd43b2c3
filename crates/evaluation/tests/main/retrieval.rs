use blip2_evaluation::EvaluationError;
use blip2_evaluation::retrieval::{
    Captions, Recall, Reranking, chance, ranks, recall, rerank, with_reranked,
};
use proptest::prelude::*;

/// A gallery of twelve in which item `i` scores `-i`, so that its rank is its index.
fn descending() -> Vec<f32> {
    (0..12).map(|item| -(item as f32)).collect()
}

#[test]
fn recall_counts_the_best_positive_of_each_query() {
    let scores = vec![descending(); 4];
    let positives = vec![vec![0], vec![4], vec![11, 9], vec![10]];
    assert_eq!(
        recall(&scores, &positives).unwrap(),
        Recall {
            r1: 0.25,
            r5: 0.5,
            r10: 0.75
        }
    );
}

#[test]
fn the_place_in_the_gallery_does_not_help() {
    let scores = vec![vec![0.1, 0.9, 0.5], vec![0.9, 0.1, 0.5]];
    assert_eq!(recall(&scores, &[vec![1], vec![1]]).unwrap().r1, 0.5);
}

#[test]
fn ties_count_against_the_positive() {
    let constant = vec![vec![0.5; 12]];
    assert_eq!(
        recall(&constant, &[vec![0]]).unwrap(),
        Recall {
            r1: 0.0,
            r5: 0.0,
            r10: 0.0
        }
    );
    // Ten positives stand behind two negatives, not behind one another.
    let many = recall(&constant, &[(0..10).collect()]).unwrap();
    assert_eq!(
        many,
        Recall {
            r1: 0.0,
            r5: 1.0,
            r10: 1.0
        }
    );
    // A positive named twice is one positive.
    assert_eq!(recall(&[vec![0.5; 2]], &[vec![1, 1]]).unwrap().r1, 0.0);
}

#[test]
fn infinite_scores_are_ordered() {
    let scores = vec![vec![f32::NEG_INFINITY, f32::INFINITY]; 2];
    assert_eq!(recall(&scores, &[vec![1], vec![0]]).unwrap().r1, 0.5);
}

#[test]
fn bad_input_of_recall_is_named() {
    let error = |scores: &[Vec<f32>], positives: &[Vec<usize>]| recall(scores, positives).unwrap_err();
    assert_eq!(error(&[], &[]), EvaluationError::Empty { what: "queries" });
    assert_eq!(
        error(&[vec![1.0], vec![1.0]], &[vec![0], vec![]]),
        EvaluationError::NoPositive { query: 1 }
    );
    let outside = EvaluationError::OutOfGallery {
        query: 0,
        item: 3,
        gallery: 2,
    };
    assert_eq!(error(&[vec![1.0, 2.0]], &[vec![0, 3]]), outside);
    assert_eq!(
        error(&[vec![1.0, f32::NAN]], &[vec![0]]),
        EvaluationError::NotANumber { query: 0, item: 1 }
    );
    let ragged = error(&[vec![1.0, 2.0], vec![1.0]], &[vec![0], vec![0]]);
    assert_eq!(ragged.to_string(), "scores of query 1: 1 where 2 are needed");
    let short = error(&[vec![1.0], vec![1.0]], &[vec![0]]);
    assert_eq!(
        short.to_string(),
        "queries with a list of positives: 1 where 2 are needed"
    );
}

#[test]
fn chance_is_drawing_without_putting_back() {
    let one = chance(20, &[vec![7]]).unwrap();
    assert!((one.r1 - 0.05).abs() < 1e-12 && (one.r5 - 0.25).abs() < 1e-12 && (one.r10 - 0.5).abs() < 1e-12);
    // Two of four: 1/2 at the first draw; five draws empty the gallery.
    assert_eq!(
        chance(4, &[vec![0, 1]]).unwrap(),
        Recall {
            r1: 0.5,
            r5: 1.0,
            r10: 1.0
        }
    );
    // Two of six within five draws: all but one stay, so one of the two is always drawn.
    assert_eq!(chance(6, &[vec![0, 5]]).unwrap().r5, 1.0);
    // Queries with one and with three of ten: the mean of 0.1 and 0.3.
    assert!((chance(10, &[vec![0], vec![1, 2, 3]]).unwrap().r1 - 0.2).abs() < 1e-12);
    assert_eq!(
        chance(3, &[vec![]]).unwrap_err(),
        EvaluationError::NoPositive { query: 0 }
    );
    assert_eq!(
        chance(3, &[]).unwrap_err(),
        EvaluationError::Empty { what: "queries" }
    );
}

#[test]
fn rerank_gives_the_best_first_and_never_more_than_there_are() {
    let first = vec![vec![0.1, 0.7, 0.3], vec![0.5, 0.5, 0.9]];
    assert_eq!(rerank(&first, 2), vec![vec![1, 2], vec![2, 0]]);
    assert_eq!(rerank(&first, 9), vec![vec![1, 2, 0], vec![2, 0, 1]]);
    assert_eq!(rerank(&first, 0), vec![Vec::<usize>::new(); 2]);
}

#[test]
fn reranking_adds_both_scores_and_leaves_the_rest_at_the_floor() {
    let first = vec![vec![0.25, 0.75, 0.5]];
    let scores = with_reranked(&first, &[vec![1, 2]], &[vec![-2.0, 1.0]]).unwrap();
    assert_eq!(scores, vec![vec![-100.0, -1.25, 1.5]]);
    assert_eq!(recall(&first, &[vec![2]]).unwrap().r1, 0.0);
    assert_eq!(recall(&scores, &[vec![2]]).unwrap().r1, 1.0);
}

#[test]
fn bad_input_of_reranking_is_named() {
    let first = vec![vec![0.0, 0.0]];
    let error = |candidates: &[Vec<usize>], second: &[Vec<f32>]| {
        with_reranked(&first, candidates, second).unwrap_err().to_string()
    };
    assert_eq!(
        error(&[], &[vec![]]),
        "queries with candidates: 0 where 1 are needed"
    );
    assert_eq!(
        error(&[vec![0]], &[]),
        "queries with second scores: 0 where 1 are needed"
    );
    assert_eq!(
        error(&[vec![0]], &[vec![]]),
        "second scores of query 0: 0 where 1 are needed"
    );
    assert_eq!(
        error(&[vec![2]], &[vec![1.0]]),
        "query 0 names item 2, but the gallery holds 2"
    );
    assert!(error(&[vec![1]], &[vec![f32::NAN]]).contains("query 0 and item 1 is not a number"));
    assert!(error(&[vec![1]], &[vec![-100.0]]).contains("candidate 1 of query 0 scores -100"));
    // A diverged first score is found even where it would have been no candidate by its order.
    let diverged = vec![vec![0.5, f32::NAN, -f32::NAN]];
    assert!(with_reranked(&diverged, &rerank(&diverged, 1), &[vec![0.0]]).is_err());
}

#[test]
fn an_image_without_a_text_is_a_miss_and_counts() {
    let captions = Captions::new(3, vec![0, 2, 0]).unwrap();
    assert_eq!(captions.texts_of(), [vec![0, 2], vec![], vec![1]]);
    let to_text = vec![vec![0.1, 0.9, 0.95], vec![0.0; 3], vec![0.0, 1.0, 2.0]];
    assert_eq!(
        ranks(&to_text, captions.texts_of()).unwrap(),
        [Some(0), None, Some(1)]
    );
    let to_image = vec![vec![1.0, 0.0, 0.0], vec![0.5, 0.5, 0.5], vec![0.0, 2.0, 3.0]];
    let figures = captions.both_ways(&to_text, &to_image).unwrap();
    let third = 100.0 / 3.0;
    assert_eq!((figures.txt_r1, figures.txt_r5), (third, 200.0 / 3.0));
    assert_eq!((figures.img_r1, figures.img_r5), (third, 100.0));
    assert_eq!(figures.agg_metrics, figures.txt_r_mean);
    assert_eq!(
        Captions::new(2, vec![0, 2]).unwrap_err(),
        EvaluationError::OutOfGallery {
            query: 1,
            item: 2,
            gallery: 2
        }
    );
    assert!(captions.both_ways(&to_text[..2], &to_image).is_err());
}

#[test]
fn a_pair_of_both_ways_is_matched_once() {
    let similarities = vec![vec![0.9, 0.1, 0.2], vec![0.8, 0.3, 0.1]];
    let reranking = Reranking::new(similarities.clone(), 1).unwrap();
    // Both images prefer text 0; text 0 and 2 prefer image 0, text 1 image 1.
    assert_eq!(reranking.pairs(), [vec![0, 2], vec![0, 1]]);
    let [to_text, to_image] = reranking.scores(&[vec![1.0, 2.0], vec![3.0, 4.0]]).unwrap();
    assert_eq!(to_text, [[1.9, -100.0, -100.0], [3.8, -100.0, -100.0]]);
    assert_eq!(to_image, [[1.9, -100.0], [-100.0, 4.3], [2.2, -100.0]]);
    assert!(reranking.scores(&[vec![1.0], vec![3.0, 4.0]]).is_err());
    assert!(reranking.scores(&[]).is_err());

    let alone = Reranking::new(similarities.clone(), 0).unwrap();
    let [to_text, to_image] = alone.scores(&[vec![], vec![]]).unwrap();
    assert_eq!(to_text, similarities);
    assert_eq!(to_image, [[0.9, 0.8], [0.1, 0.3], [0.2, 0.1]]);
    let all = Reranking::new(similarities, 128).unwrap();
    assert_eq!(all.pairs(), [vec![0, 1, 2], vec![0, 1, 2]]);
    assert!(Reranking::new(vec![vec![]], 1).is_err());
    assert!(Reranking::new(vec![vec![1.0], vec![1.0, 2.0]], 1).is_err());
}

prop_compose! {
    /// Scores without two equal values in a row, and one positive a query.
    fn galleries()(queries in 1_usize..6, gallery in 1_usize..30)(
        scores in prop::collection::vec(Just((0..gallery).map(|value| value as f32).collect::<Vec<_>>()).prop_shuffle(), queries),
        positives in prop::collection::vec(prop::collection::vec(0..gallery, 1..4), queries),
    ) -> (Vec<Vec<f32>>, Vec<Vec<usize>>) {
        (scores, positives)
    }
}

proptest! {
    #![proptest_config(crate::same_every_time())]

    #[test]
    fn recall_agrees_with_sorting((scores, positives) in galleries()) {
        let sorted = rerank(&scores, usize::MAX);
        let share = |k: usize| {
            let hits = sorted.iter().zip(&positives).filter(|(order, positives)| {
                order.iter().take(k).any(|item| positives.contains(item))
            });
            hits.count() as f64 / scores.len() as f64
        };
        let expected = Recall { r1: share(1), r5: share(5), r10: share(10) };
        prop_assert_eq!(recall(&scores, &positives).unwrap(), expected);
    }

    #[test]
    fn recall_does_not_change_under_a_rising_function((scores, positives) in galleries()) {
        let stretched: Vec<Vec<f32>> =
            scores.iter().map(|row| row.iter().map(|score| score * score * score - 7.0).collect()).collect();
        prop_assert_eq!(recall(&stretched, &positives).unwrap(), recall(&scores, &positives).unwrap());
    }

    #[test]
    fn recall_and_chance_rise_with_k((scores, positives) in galleries()) {
        for found in [recall(&scores, &positives).unwrap(), chance(scores[0].len(), &positives).unwrap()] {
            prop_assert!(0.0 <= found.r1 && found.r1 <= found.r5 && found.r5 <= found.r10);
            prop_assert!(found.r10 <= 1.0 + 1e-12);
        }
    }

    #[test]
    fn reranking_by_nothing_new_keeps_the_best_in_order((scores, _) in galleries(), k in 1_usize..12) {
        let candidates = rerank(&scores, k);
        let second: Vec<Vec<f32>> = candidates.iter().map(|row| vec![0.0; row.len()]).collect();
        let again = with_reranked(&scores, &candidates, &second).unwrap();
        prop_assert_eq!(rerank(&again, k), candidates);
    }
}

/// The mean over every order of a gallery is the chance, counted rather than computed.
#[test]
fn chance_is_the_mean_recall_over_all_orders() {
    let positives = vec![vec![1, 4]];
    let mut orders = vec![Vec::new()];
    for item in 0..6_usize {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, item);
                    longer
                })
            })
            .collect();
    }
    assert_eq!(orders.len(), 720);
    let found: Vec<Recall> = orders
        .iter()
        .map(|order| recall(&[order.iter().map(|&place| place as f32).collect()], &positives).unwrap())
        .collect();
    let mean = found.iter().map(|found| found.r1).sum::<f64>() / 720.0;
    assert!((mean - chance(6, &positives).unwrap().r1).abs() < 1e-12);
}
