//! What a report holds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All that is reported of a run. Sections without content are left out of the page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// The figures that matter, name and number or text, in the order in which they are shown; an object in the JSON.
    #[serde(with = "crate::ordered")]
    pub summary: Vec<(String, Value)>,
    /// The resolved recipe, TOML.
    pub recipe: String,
    /// Where and how long it ran, one line.
    pub machine: String,
    /// Which kernels `BLIP2_KERNELS` asked for; empty: the best of the processor.
    #[serde(default)]
    pub kernels: String,
    /// Seconds of training of each phase.
    #[serde(default)]
    pub seconds: Vec<(String, f64)>,
    /// Each loss over the steps of its phase.
    pub losses: Vec<LossCurve>,
    /// Recall of each model on each split.
    pub retrieval: Vec<RetrievalRow>,
    /// How true the generated words are, of each model on each split.
    pub generation: Vec<GenerationRow>,
    /// The same loss under different beginnings, drawn into one plot (the paper's Figure 5): `name` says which.
    pub ablation: Vec<LossCurve>,
    /// Held-out pictures with true and generated words.
    pub samples: Vec<Sample>,
    /// Where the queries look.
    pub looks: Vec<Look>,
}

/// One loss over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    /// Such as `stage 1`.
    pub phase: String,
    /// Such as `itc`.
    pub name: String,
    /// The loss of what knows nothing of the picture.
    pub reference: Option<f64>,
    /// What that is, such as `ln(batch)`.
    pub reference_label: String,
    /// Step and loss, by rising step.
    pub points: Vec<(u64, f64)>,
}

/// Recall of one model on one split. Shares from 0 to 1, at 1, 5 and 10.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RetrievalRow {
    /// Which held-out pictures.
    pub split: String,
    /// Who ranked them.
    pub model: String,
    /// Recall of texts by picture.
    pub image_to_text: [f64; 3],
    /// Recall of pictures by text.
    pub text_to_image: [f64; 3],
    /// Share of pictures whose true caption stands above the one with a relation turned round; none without relations.
    pub relations: Option<f64>,
    /// Pictures in the gallery.
    pub images: usize,
    /// Texts in the gallery.
    pub texts: usize,
}

/// How true the words of one model are on one split. Shares from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerationRow {
    /// Which held-out pictures.
    pub split: String,
    /// `caption` or `answer`.
    pub task: String,
    /// Who wrote them.
    pub model: String,
    /// Share that says exactly the truth.
    pub exact: f64,
    /// Mean token F1.
    pub f1: f64,
    /// How many were written.
    pub count: usize,
}

impl GenerationRow {
    /// Who writes behind the bridge of both stages.
    pub const BOTH_STAGES: &'static str = "stage 1 and 2";
    /// The same, with another picture than the one asked about.
    pub const SWAPPED: &'static str = "picture swapped";
    /// Who always writes the most frequent words of training.
    pub const MOST_FREQUENT: &'static str = "most frequent";
}

impl RetrievalRow {
    /// Who ranks by contrast.
    pub const BY_CONTRAST: &'static str = "Q-Former, ITC";
    /// The same, its best candidates ranked again by matching.
    pub const RERANKED: &'static str = "Q-Former, ITC then ITM";
}

/// A held-out picture and what was written of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which held-out pictures.
    pub split: String,
    /// File name of the PNG in the folder `pictures` of the run.
    pub picture: String,
    /// The true caption.
    pub truth: String,
    /// The caption that the Q-Former itself writes after stage 1.
    pub written_by_qformer: Option<String>,
    /// The caption of the language model, or of who else is named.
    pub caption: String,
    /// What `caption` is, where the language model did not write it: such as `Best text`.
    #[serde(default)]
    pub caption_is: Option<String>,
    /// What the language model writes if another picture stands in front of it.
    #[serde(default)]
    pub caption_of_another: Option<String>,
    /// A question about the picture.
    pub question: String,
    /// Its true answer.
    pub answer: String,
    /// The answer of the language model.
    pub predicted: String,
}

/// Where the queries look in one picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// File name of the PNG in the folder `pictures` of the run.
    pub picture: String,
    /// Its caption.
    pub caption: String,
    /// Rows and columns of the encoder's patches.
    pub grid: [usize; 2],
    /// For each query its attention to the patches, row by row; only the ratios within a query matter.
    pub queries: Vec<Vec<f32>>,
}
