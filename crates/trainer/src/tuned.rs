//! Models that are trained together with what is else frozen: the image encoder in front of them, low-rank updates of the language
//! model behind.

use blip2::LoadedEncoder;
use blip2_core::VisionEncoder;
use blip2_data::pixels::ImageProcessor;
use blip2_qformer::{Bridge, RepresentationModel};
use blip2_vision_encoder::VisionTransformer;
use burn::module::{Module, ModuleDisplay, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};

use crate::{Adapters, Batch, FeatureSource, Row, TrainError};

/// What an objective asks of a module in training: the model that learns from image features, and the features.
pub trait Sighted: Module {
    /// The model behind the features.
    type Model: Module;

    /// It.
    fn model(&self) -> &Self::Model;

    /// The same module with its model changed.
    fn map_model(self, change: impl FnOnce(Self::Model) -> Self::Model) -> Self;

    /// Features `[rows, tokens, width]` of the rows of these numbers in the global `batch`, with a graph where the encoder is
    /// trained.
    ///
    /// # Errors
    /// [`TrainError`] where a picture is needed and not there, or does not fit the encoder.
    fn features(&self, batch: &Batch, rows: &[usize]) -> Result<Tensor<3>, TrainError>;

    /// Whether it makes the features itself, from pictures.
    fn makes_features(&self) -> bool {
        false
    }

    /// What is trained beside the language model, if anything.
    fn adapters(&self) -> Option<&Adapters> {
        None
    }
}

/// A model that reads features of a frozen encoder, which come with the batch.
macro_rules! reads_features {
    ($($model:ty),*) => { $(
        impl Sighted for $model {
            type Model = Self;

            fn model(&self) -> &Self {
                self
            }

            fn map_model(self, change: impl FnOnce(Self) -> Self) -> Self {
                change(self)
            }

            fn features(&self, batch: &Batch, rows: &[usize]) -> Result<Tensor<3>, TrainError> {
                Ok(batch.features_of(rows))
            }
        }
    )* };
}
reads_features!(RepresentationModel, Bridge);

/// A model with an encoder that is trained, too, or with a language model that is adapted, or with both.
#[derive(Module, Debug)]
pub struct Tuned<M: Module> {
    /// In front, where it is trained.
    pub encoder: Option<VisionTransformer>,
    /// The model.
    pub model: M,
    /// Beside the language model.
    pub adapters: Option<Adapters>,
    #[module(skip)]
    processor: ImageProcessor,
}

impl<M: Module> Tuned<M> {
    /// `model` behind a frozen encoder that looks at pictures as `loaded` does.
    pub fn new(loaded: &LoadedEncoder, model: M) -> Self {
        Self {
            encoder: None,
            model,
            adapters: None,
            processor: loaded.processor.clone(),
        }
    }

    /// The same with `encoder` to be trained, on `device`, which has autodiff: best with positions for the pictures that it is
    /// given ([`LoadedEncoder::vision_transformer`]).
    ///
    /// # Errors
    /// [`TrainError::Model`] where `drop_path` is no share.
    pub fn with_encoder(
        self,
        encoder: VisionTransformer,
        drop_path: f64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let encoder = encoder.with_drop_path(drop_path)?.map(&mut Thaw(device));
        Ok(Self {
            encoder: Some(encoder),
            ..self
        })
    }
}

/// Lets every parameter be trained on an autodiff device.
struct Thaw<'a>(&'a Device);

impl ModuleMapper for Thaw<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = parameter.consume();
        let value = match value.device().is_autodiff() {
            true => value.inner(),
            false => value,
        };
        let value = Tensor::from_inner(value).to_device(self.0).require_grad();
        Param::from_mapped_value(id, value, mapper)
    }
}

impl<M: Module + ModuleDisplay> Sighted for Tuned<M> {
    type Model = M;

    fn model(&self) -> &M {
        &self.model
    }

    fn map_model(self, change: impl FnOnce(M) -> M) -> Self {
        Self {
            model: change(self.model),
            ..self
        }
    }

    fn features(&self, batch: &Batch, rows: &[usize]) -> Result<Tensor<3>, TrainError> {
        let Some(encoder) = &self.encoder else {
            return Ok(batch.features_of(rows));
        };
        let device = batch.features.device();
        let pictures = rows
            .iter()
            .map(|row| batch.rows[*row].seen())
            .collect::<Result<Vec<_>, _>>()?;
        let pixels = self.processor.batch(&pictures, &device.clone().inner())?;
        let pixels = match device.is_autodiff() {
            true => Tensor::from_inner(pixels).to_device(&device),
            false => pixels,
        };
        Ok(encoder.encode(pixels)?)
    }

    fn makes_features(&self) -> bool {
        self.encoder.is_some()
    }

    fn adapters(&self) -> Option<&Adapters> {
        self.adapters.as_ref()
    }
}

/// In the place of features where the encoder is trained: it makes them anew in every step, within the graph.
pub struct WithinGraph;

impl FeatureSource for WithinGraph {
    /// Nothing: `[rows, 1, 1]` zeros.
    fn features(&self, rows: &[Row], device: &Device) -> Result<Tensor<3>, TrainError> {
        Ok(Tensor::zeros([rows.len(), 1, 1], device))
    }
}
