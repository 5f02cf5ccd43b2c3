//! Learning rates by where a parameter's first value comes from.

use crate::StageRecipe;

/// The parameter path of the learned queries, in stage 1 and 2.
const QUERY_TOKENS: &str = "qformer.query_tokens";

/// What a parameter is as training begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Random.
    New,
    /// Trained before.
    Pretrained,
    /// The learned queries: many steps of the full rate are larger than they are, and all of them would run the same way.
    Queries,
}

impl Origin {
    /// Of `path` before stage 1, in [`RepresentationModel`](blip2_qformer::RepresentationModel) and
    /// [`Bridge`](blip2_qformer::Bridge): BERT has given the embeddings, self-attention and both feed-forward networks.
    pub fn from_bert(path: &str) -> Self {
        match path {
            QUERY_TOKENS => Self::Queries,
            _ if path.starts_with("qformer.") && !path.contains("cross_attention") => Self::Pretrained,
            _ => Self::New,
        }
    }

    /// Of `path` in a bridge after stage 1: all is pretrained but the projection.
    pub fn from_stage1(path: &str) -> Self {
        match path {
            QUERY_TOKENS => Self::Queries,
            _ if path.starts_with("projection.") => Self::New,
            _ => Self::Pretrained,
        }
    }

    /// Of `path` in a bridge that was trained before, projection included.
    pub fn from_stage2(path: &str) -> Self {
        match path {
            QUERY_TOKENS => Self::Queries,
            _ => Self::Pretrained,
        }
    }

    /// The learning rate where the schedule says `rate`.
    pub(crate) fn rate(self, rate: f64, stage: &StageRecipe) -> f64 {
        match self {
            Self::New => rate,
            Self::Pretrained => rate * stage.pretrained_rate,
            Self::Queries => rate * stage.query_rate,
        }
    }
}
