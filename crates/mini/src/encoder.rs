//! The encoder of the embedded default, and the registry that knows it.

use blip2::{EncoderConfig, LoadPlan, LoadedEncoder, LoaderError, Registry};
use blip2_data::pixels::ImageProcessor;
use blip2_vision_encoder::{IMAGENET_DEVIATION, IMAGENET_MEAN, VisionTransformer};

/// Height and width of the pictures that the saliency model was trained with, in pixels.
const SALIENCY_SIDE: u32 = 518;

/// All that the library loads by `model_type`, and the encoder of the embedded default: `saliency-vit-s`.
pub fn registry() -> Registry {
    Registry::default().with_encoder("saliency-vit-s", saliency)
}

/// The encoder of the embedded default: one ONNX file, which says nothing of its pixels.
fn saliency(config: &EncoderConfig, plan: &LoadPlan) -> Result<LoadedEncoder, LoaderError> {
    let encoder = VisionTransformer::from_saliency_onnx(&config.path, plan)?;
    let side = config.image_size.unwrap_or(SALIENCY_SIDE);
    Ok(LoadedEncoder {
        encoder: Box::new(encoder.with_features(config.block, config.final_norm)?),
        processor: ImageProcessor {
            width: side,
            height: side,
            mean: IMAGENET_MEAN,
            std: IMAGENET_DEVIATION,
        },
    })
}
