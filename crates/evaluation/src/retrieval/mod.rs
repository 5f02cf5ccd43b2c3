//! Recall in a gallery, and re-ranking its best by a second, dearer score (LAVIS `compute_sim_matrix`: contrastive
//! similarity over all, image-text matching over the best k).

mod both_ways;
mod reranking;

use serde::{Deserialize, Serialize};

use crate::EvaluationError;

pub use both_ways::{BothWays, Captions, ranks};
pub use reranking::Reranking;

/// The longest text, in tokens, special ones included: what LAVIS evaluates with, whatever a model was trained with.
pub const MAX_TEXT_TOKENS: usize = 35;

/// What an item that was not re-ranked scores, as in LAVIS.
const NOT_RERANKED: f32 = -100.0;

/// The share of queries, 0 to 1, for which a positive is among the best 1, 5 and 10 of the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// A positive comes first.
    pub r1: f64,
    /// A positive is among the best five.
    pub r5: f64,
    /// A positive is among the best ten.
    pub r10: f64,
}

/// Recall of `scores` `[queries, gallery]` (higher is better), where `positives[query]` are the items that belong to a
/// query.
///
/// Ties count against the model: a positive stands behind every other item of the same score, so that a constant score
/// earns nothing. Infinite scores are ordered like any others.
///
/// # Errors
/// No queries, rows of unequal length, a query without a positive, an index outside of the gallery, a NaN.
pub fn recall(scores: &[Vec<f32>], positives: &[Vec<usize>]) -> Result<Recall, EvaluationError> {
    let gallery = scores.first().map_or(0, Vec::len);
    same_length("queries with a list of positives", scores.len(), positives.len())?;
    check_positives(gallery, positives)?;
    check_matrix("scores", scores, gallery)?;

    let ranks = scores
        .iter()
        .zip(positives)
        .map(|(row, positives)| rank(row, positives));
    Ok(mean_recall(
        ranks.map(|rank| [1, 5, 10].map(|k| if rank < k { 1.0 } else { 0.0 })),
        scores.len(),
    ))
}

/// The recall that an order drawn at random has on average, for the `positives` of the queries in a gallery of `gallery`
/// items.
///
/// # Errors
/// No queries, a query without a positive, an index outside of the gallery.
pub fn chance(gallery: usize, positives: &[Vec<usize>]) -> Result<Recall, EvaluationError> {
    check_positives(gallery, positives)?;
    let hits = positives.iter().map(|positives| {
        let negatives = gallery - distinct(positives).len();
        [1, 5, 10].map(|k| 1.0 - all_negative(gallery, negatives, k))
    });
    Ok(mean_recall(hits, positives.len()))
}

/// The indices of the `k` best items of each row of `first` `[queries, gallery]`, best first; all of them where the
/// gallery is smaller. Equal scores keep the order of the gallery. A NaN counts as the best, so that it reaches
/// [`with_reranked`], which refuses it.
pub fn rerank(first: &[Vec<f32>], k: usize) -> Vec<Vec<usize>> {
    first
        .iter()
        .map(|row| {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| {
                row[b]
                    .is_nan()
                    .cmp(&row[a].is_nan())
                    .then_with(|| row[b].total_cmp(&row[a]))
            });
            order.truncate(k);
            order
        })
        .collect()
}

/// The scores `[queries, gallery]` after re-ranking: the sum of `first` `[queries, gallery]` and `second` for the
/// `candidates` of each query, -100 for all other items. `second[query][n]` belongs to `candidates[query][n]`. In LAVIS
/// the first is the cosine of ITC and the second the logit of ITM.
///
/// # Errors
/// Lists that do not fit together, an index outside of the gallery, a NaN, a candidate that does not come out above the
/// items that are none.
pub fn with_reranked(
    first: &[Vec<f32>],
    candidates: &[Vec<usize>],
    second: &[Vec<f32>],
) -> Result<Vec<Vec<f32>>, EvaluationError> {
    same_length("queries with candidates", first.len(), candidates.len())?;
    same_length("queries with second scores", first.len(), second.len())?;
    let mut scores = Vec::with_capacity(first.len());
    for (query, ((row, candidates), second)) in first.iter().zip(candidates).zip(second).enumerate() {
        same_length(
            &format!("second scores of query {query}"),
            candidates.len(),
            second.len(),
        )?;
        let mut reranked = vec![NOT_RERANKED; row.len()];
        for (&item, &second) in candidates.iter().zip(second) {
            let first = row.get(item).ok_or(EvaluationError::OutOfGallery {
                query,
                item,
                gallery: row.len(),
            })?;
            let score = first + second;
            if score.is_nan() {
                return Err(EvaluationError::NotANumber { query, item });
            }
            if score <= NOT_RERANKED {
                return Err(EvaluationError::BelowFloor {
                    query,
                    item,
                    score,
                    floor: NOT_RERANKED,
                });
            }
            reranked[item] = score;
        }
        scores.push(reranked);
    }
    Ok(scores)
}

/// How many items stand before the best positive.
fn rank(row: &[f32], positives: &[usize]) -> usize {
    let best = positives
        .iter()
        .map(|&item| row[item])
        .fold(f32::NEG_INFINITY, f32::max);
    let ahead = row.iter().filter(|&&score| score >= best).count();
    let positives_ahead = distinct(positives)
        .into_iter()
        .filter(|&item| row[item] >= best)
        .count();
    ahead - positives_ahead
}

/// The chance that `k` items, drawn without putting back from `gallery`, are all among its `negatives`.
fn all_negative(gallery: usize, negatives: usize, k: usize) -> f64 {
    (0..k.min(gallery))
        .map(|drawn| negatives.saturating_sub(drawn) as f64 / (gallery - drawn) as f64)
        .product()
}

fn distinct(items: &[usize]) -> Vec<usize> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items.dedup();
    items
}

fn mean_recall(hits: impl Iterator<Item = [f64; 3]>, queries: usize) -> Recall {
    let sum = hits.fold([0.0; 3], |sum, hit| std::array::from_fn(|k| sum[k] + hit[k]));
    let [r1, r5, r10] = sum.map(|sum| sum / queries as f64);
    Recall { r1, r5, r10 }
}

fn same_length(what: &str, expected: usize, actual: usize) -> Result<(), EvaluationError> {
    if expected == actual {
        return Ok(());
    }
    Err(EvaluationError::Length {
        what: what.to_owned(),
        expected,
        actual,
    })
}

fn check_positives(gallery: usize, positives: &[Vec<usize>]) -> Result<(), EvaluationError> {
    if positives.is_empty() {
        return Err(EvaluationError::Empty { what: "queries" });
    }
    match positives.iter().position(Vec::is_empty) {
        Some(query) => Err(EvaluationError::NoPositive { query }),
        None => check_within(gallery, positives),
    }
}

fn check_within(gallery: usize, positives: &[Vec<usize>]) -> Result<(), EvaluationError> {
    for (query, positives) in positives.iter().enumerate() {
        if let Some(&item) = positives.iter().find(|&&item| item >= gallery) {
            return Err(EvaluationError::OutOfGallery { query, item, gallery });
        }
    }
    Ok(())
}

fn check_matrix(what: &str, scores: &[Vec<f32>], gallery: usize) -> Result<(), EvaluationError> {
    for (query, row) in scores.iter().enumerate() {
        same_length(&format!("{what} of query {query}"), gallery, row.len())?;
        if let Some(item) = row.iter().position(|score| score.is_nan()) {
            return Err(EvaluationError::NotANumber { query, item });
        }
    }
    Ok(())
}
