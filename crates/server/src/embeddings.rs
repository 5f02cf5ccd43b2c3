//! `/v1/embeddings`: texts and pictures as vectors that lie near each other where they belong together.

use std::sync::Arc;

use axum::extract::State as Shared;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blip2::TextEmbeddings;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::error::{ErrorBody, Refusal};
use crate::json::{Json, only};
use crate::pictures::is_data_url;
use crate::state::State;

/// Parameters of OpenAI's that change nothing here.
const HARMLESS: [&str; 1] = ["user"];

/// Texts and pictures.
#[derive(Deserialize, ToSchema)]
pub(crate) struct EmbeddingRequest {
    /// The model.
    model: String,
    /// What is embedded.
    input: Inputs,
    /// How numbers are written.
    encoding_format: Option<Encoding>,
    #[serde(flatten)]
    #[schema(ignore)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "input is neither a text, nor a picture, nor a list of those"
)]
enum Inputs {
    One(Input),
    Several(Vec<Input>),
}

/// A text, or a data URL that begins with `data:image/`; or either by its name.
#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "an input is a text, or {\"text\": ...}, or {\"image\": ...}"
)]
enum Input {
    Plain(String),
    Text { text: String },
    Image { image: String },
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// Their bytes, of little end, in Base64.
    Base64,
}

/// Vectors.
#[derive(Serialize, ToSchema)]
pub(crate) struct Embeddings {
    /// `list`.
    object: &'static str,
    /// In the order of the input.
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, ToSchema)]
struct Embedding {
    /// `embedding`.
    object: &'static str,
    index: usize,
    /// Of unit length. A picture's is the mean of those of its queries: one vector where an index can hold no more.
    embedding: Vector,
    /// Of a picture: those of its queries. The model itself scores a text by the one that is nearest to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    query_embeddings: Option<Vec<Vector>>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize, ToSchema)]
struct EmbeddingUsage {
    /// Of all texts.
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds texts and pictures.
#[utoipa::path(post, path = "/v1/embeddings", tag = "openai", request_body = EmbeddingRequest,
    responses((status = 200, body = Embeddings), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(crate) async fn embeddings(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<EmbeddingRequest>,
) -> Result<axum::Json<Embeddings>, Refusal> {
    only(&request.rest, &HARMLESS)?;
    state.check_model(&request.model)?;
    let inputs = match request.input {
        Inputs::One(input) => vec![input],
        Inputs::Several(inputs) => inputs,
    };
    let encoding = request.encoding_format.unwrap_or_default();
    let limits = &state.options.limits;
    state.check_count("input", inputs.len(), limits.texts)?;
    let inputs: Vec<Input> = inputs.into_iter().map(Input::told_apart).collect();
    let texts = inputs.iter().filter_map(|input| match input {
        Input::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let pictures = inputs.len() - texts.clone().count();
    if pictures > limits.pictures {
        state.check_count("input", pictures, limits.pictures)?;
    }
    state.check_texts(texts)?;
    let (mut data, mut tokens) = (Vec::with_capacity(inputs.len()), 0);
    for (index, input) in inputs.into_iter().enumerate() {
        let (vector, queries, read) = match input {
            Input::Image { image } => {
                let found = state.with_picture(image, |state, picture| {
                    let picture = state.model.encode_picture(picture, &state.pictures)?;
                    Ok(state.model.embed_encoded(&picture)?)
                });
                let found = found.await?;
                (mean(&found), Some(found), 0)
            }
            Input::Plain(text) | Input::Text { text } => {
                let found = state.work(move |state| {
                    let TextEmbeddings { embeddings, mask, .. } = state.model.embed_texts(&[text])?;
                    let read = mask.sum().into_scalar::<f32>();
                    Ok((embeddings.into_data().iter().collect(), read as usize))
                });
                let (vector, read) = found.await?;
                (vector, None, read)
            }
        };
        tokens += read;
        let written = |vector| encoding.write(vector);
        data.push(Embedding {
            object: "embedding",
            index,
            embedding: written(vector),
            query_embeddings: queries.map(|queries| queries.into_iter().map(written).collect()),
        });
    }
    Ok(axum::Json(Embeddings {
        object: "list",
        data,
        model: request.model,
        usage: EmbeddingUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    }))
}

impl Input {
    fn told_apart(self) -> Self {
        match self {
            Self::Plain(image) if is_data_url(&image) => Self::Image { image },
            Self::Plain(text) => Self::Text { text },
            named => named,
        }
    }
}

impl Encoding {
    fn write(self, vector: Vec<f32>) -> Vector {
        match self {
            Self::Float => Vector::Numbers(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// The direction of the mean of `vectors`.
fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let width = vectors.first().map_or(0, Vec::len);
    let sum = (0..width).map(|index| vectors.iter().map(|vector| vector[index]).sum());
    let sum: Vec<f32> = sum.collect();
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    sum.iter()
        .map(|value| value / length.max(f32::MIN_POSITIVE))
        .collect()
}
