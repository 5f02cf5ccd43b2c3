//! `/v1/models`: the one model, and what it can do.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ErrorBody, Refusal};
use crate::state::State;

/// All models.
#[derive(Serialize, ToSchema)]
pub(crate) struct Models {
    /// `list`.
    object: &'static str,
    data: Vec<Model>,
}

/// The model.
#[derive(Serialize, ToSchema)]
pub(crate) struct Model {
    /// As requests name it.
    id: String,
    /// `model`.
    object: &'static str,
    /// Seconds since 1970 when it was loaded.
    created: u64,
    /// Nobody in particular.
    owned_by: &'static str,
    /// What it cannot do, and why: of `caption`, `chat`, `match`, `embeddings`, `attention`, and `words` of the latter.
    lacks: BTreeMap<&'static str, &'static str>,
}

/// The model that is served.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = Models)))]
pub(crate) async fn models(Shared(state): Shared<Arc<State>>) -> Json<Models> {
    Json(Models {
        object: "list",
        data: vec![Model::of(&state)],
    })
}

/// The same by its name.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "models",
    params(("model" = String, Path, description = "Its name")),
    responses((status = 200, body = Model), (status = 404, body = ErrorBody)))]
pub(crate) async fn model(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
) -> Result<Json<Model>, Refusal> {
    state.check_model(&name)?;
    Ok(Json(Model::of(&state)))
}

impl Model {
    fn of(state: &State) -> Self {
        let (bridge, representation) = (state.model.has_bridge(), state.model.has_representation());
        let mut lacks = BTreeMap::new();
        if !bridge {
            lacks.insert(
                "chat",
                "only a model of stage 2 answers: this one has no language model behind it",
            );
            if !state.model.writes_by_qformer() {
                lacks.insert(
                    "caption",
                    "neither a language model nor the Q-Former's own head was trained",
                );
            }
        }
        if !representation {
            for what in ["match", "embeddings", "words"] {
                lacks.insert(
                    what,
                    "only a model of stage 1 matches and embeds: this one holds stage 2 alone",
                );
            }
        }
        Self {
            id: state.options.model.clone(),
            object: "model",
            created: state.started,
            owned_by: "blip2",
            lacks,
        }
    }
}

impl State {
    /// # Errors
    /// [`Refusal`] where `name` is not that of the model.
    pub(crate) fn check_model(&self, name: &str) -> Result<(), Refusal> {
        let own = &self.options.model;
        match name == own {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "model_not_found",
                format!("this server has no model of that name; it serves `{own}`"),
            )),
        }
    }
}
