//! Low-rank updates on disk as PEFT keeps them: `adapter_config.json` and `adapter_model.safetensors` in a folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use blip2_core::layers::LowRank;
use blip2_core::weights::{SafetensorsStore, TensorInfo, TensorStore, WeightError, write_safetensors};
use blip2_core::{AdaptableLayer, Initializer, LanguageModel, ModelError, files};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// In front of the name of a module.
const PREFIX: &str = "base_model.model.";
const DOWN: &str = ".lora_A.weight";
const UP: &str = ".lora_B.weight";

/// What is adapted, and by how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the updates.
    pub rank: usize,
    /// The update is multiplied with this over the rank.
    pub alpha: f64,
    /// The ends of the names of the layers that are adapted, as `transformers` has them: `["q_proj", "v_proj"]` for OPT and Llama,
    /// `["q", "v"]` for T5.
    pub targets: Vec<String>,
}

impl LoraConfig {
    /// Updates of `model` that change nothing yet.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the rank is 0, or no layer has one of the names.
    pub fn begin(
        &self,
        model: &dyn LanguageModel,
        initializer: &mut Initializer,
    ) -> Result<Vec<(String, LowRank)>, ModelError> {
        if self.rank == 0 {
            return Err(ModelError::Invalid(
                "a low-rank update needs a rank of at least 1".to_owned(),
            ));
        }
        let layers = model.adaptable_layers();
        for target in &self.targets {
            if !layers.iter().any(|layer| is_target(&layer.name, target)) {
                return Err(ModelError::Invalid(format!(
                    "no layer of the language model is called `{target}`: it has {}",
                    endings(&layers)
                )));
            }
        }
        let wanted = layers
            .into_iter()
            .filter(|layer| self.targets.iter().any(|target| is_target(&layer.name, target)));
        Ok(wanted
            .map(
                |AdaptableLayer {
                     name,
                     inputs,
                     outputs,
                 }| {
                    let update = LowRank::new(initializer, inputs, outputs, self.rank, self.scale());
                    (name, update)
                },
            )
            .collect())
    }

    fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// As PEFT finds its `target_modules`: the name itself, or what stands behind a dot at its end.
fn is_target(name: &str, target: &str) -> bool {
    let rest = name.strip_suffix(target);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The last parts of the names of `layers`, each once.
fn endings(layers: &[AdaptableLayer]) -> String {
    let mut endings: Vec<&str> = layers
        .iter()
        .filter_map(|layer| layer.name.rsplit('.').next())
        .collect();
    endings.sort_unstable();
    endings.dedup();
    match endings.is_empty() {
        true => "none that can be adapted".to_owned(),
        false => endings.join(", "),
    }
}

/// A folder with low-rank updates.
pub struct PeftFolder {
    /// What it says of them.
    pub config: LoraConfig,
    /// By the name of the layer.
    pub updates: Vec<(String, LowRank)>,
}

/// What of PEFT's configuration decides the mathematics.
#[derive(Deserialize)]
struct ConfigFile {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    target_modules: Option<Targets>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, Value>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, Value>,
    #[serde(default)]
    modules_to_save: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    Several(Vec<String>),
    /// A regular expression, which nothing here needs: the weights say which layers there are.
    Pattern(String),
}

impl ConfigFile {
    /// What of it is none of ours.
    fn unknown(&self) -> Option<&'static str> {
        [
            (self.peft_type != "LORA", "peft_type is not LORA"),
            (self.use_rslora, "use_rslora"),
            (self.use_dora, "use_dora"),
            (self.fan_in_fan_out, "fan_in_fan_out"),
            (!self.rank_pattern.is_empty(), "rank_pattern"),
            (!self.alpha_pattern.is_empty(), "alpha_pattern"),
            (
                self.modules_to_save
                    .as_ref()
                    .is_some_and(|modules| !modules.is_empty()),
                "modules_to_save",
            ),
        ]
        .into_iter()
        .find_map(|(unknown, what)| unknown.then_some(what))
    }
}

impl PeftFolder {
    /// Reads what PEFT, or [`PeftFolder::save`], wrote, onto `device`.
    ///
    /// # Errors
    /// [`WeightError`] where a file is missing or damaged, or something else than LoRA stands there.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, WeightError> {
        let path = folder.join(CONFIG);
        let text = files::read(&path).map_err(|source| WeightError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let format = |path: &PathBuf, reason: String| WeightError::Format {
            path: path.clone(),
            format: "LoRA adapter",
            reason,
        };
        let file: ConfigFile =
            serde_json::from_slice(&text).map_err(|error| format(&path, error.to_string()))?;
        if let Some(unknown) = file.unknown() {
            return Err(format(&path, format!("{unknown}: only plain LoRA is read")));
        }
        if file.r == 0 {
            return Err(format(&path, "r is 0".to_owned()));
        }
        let config = LoraConfig {
            rank: file.r,
            alpha: file.lora_alpha,
            targets: match file.target_modules {
                Some(Targets::Several(targets)) => targets,
                Some(Targets::Pattern(pattern)) => vec![pattern],
                None => Vec::new(),
            },
        };
        let weights = folder.join(WEIGHTS);
        let store = SafetensorsStore::open(&weights)?;
        let (mut updates, mut expected) = (Vec::new(), 0);
        for (down, TensorInfo { shape, .. }) in store.tensors() {
            let Some(module) = down.strip_suffix(DOWN) else {
                continue;
            };
            let up = format!("{module}{UP}");
            let other = store.tensors().get(&up).map(|info| &info.shape);
            let fits = |other: &Vec<usize>| {
                shape.len() == 2 && other.len() == 2 && shape[0] == config.rank && other[1] == config.rank
            };
            if !other.is_some_and(fits) {
                return Err(format(
                    &weights,
                    format!(
                        "`{down}` {shape:?} and `{up}` {other:?} are no update of rank {}",
                        config.rank
                    ),
                ));
            }
            let read = |name: &str| -> Result<Tensor<2>, WeightError> {
                Ok(Tensor::from_data(store.read(name)?.convert::<f32>(), device))
            };
            let update = LowRank::from_values(read(down)?, read(&up)?, config.scale());
            let name = module.strip_prefix(PREFIX).unwrap_or(module);
            updates.push((name.to_owned(), update));
            expected += 2;
        }
        if updates.is_empty() || expected != store.tensors().len() {
            return Err(format(
                &weights,
                format!(
                    "{} of its {} tensors are pairs of `{DOWN}` and `{UP}`: only plain LoRA is read",
                    expected,
                    store.tensors().len()
                ),
            ));
        }
        Ok(Self { config, updates })
    }

    /// Writes the updates of `model`, which stands at `base`, into `folder`, for PEFT to read.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the disk refuses.
    pub fn save(&self, folder: &Path, base: &Path, model: &dyn LanguageModel) -> Result<(), WeightError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| WeightError::Io {
                action: "write",
                path,
                source,
            }
        };
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        let value = |parameter: &Param<Tensor<2>>| -> TensorData { parameter.val().into_data() };
        let tensors: Vec<(String, TensorData)> = self
            .updates
            .iter()
            .flat_map(|(name, update)| {
                [
                    (format!("{PREFIX}{name}{DOWN}"), value(&update.down)),
                    (format!("{PREFIX}{name}{UP}"), value(&update.up)),
                ]
            })
            .collect();
        write_safetensors(&folder.join(WEIGHTS), &tensors, HashMap::new())?;
        // What an encoder-decoder model writes begins with a token of its own.
        let task = match model.history(&[]).is_empty() {
            true => "CAUSAL_LM",
            false => "SEQ_2_SEQ_LM",
        };
        let config = json!({
            "peft_type": "LORA",
            "task_type": task,
            "base_model_name_or_path": base,
            "r": self.config.rank,
            "lora_alpha": self.config.alpha,
            "target_modules": self.config.targets,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
        });
        let path = folder.join(CONFIG);
        std::fs::write(&path, format!("{config:#}\n")).map_err(io(&path))
    }
}
