//! The public suite: our own encoder passes, and each kind of broken encoder is found out.

use blip2_core::{Initializer, ModelError, VisionEncoder};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig, conformance};
use burn::tensor::{Device, Tensor};

const PATCH: usize = 14;
const SIDE: usize = 4 * PATCH;

fn transformer() -> VisionTransformer {
    let config = VisionTransformerConfig {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: SIDE,
        patch_size: PATCH,
        initializer_range: 0.2,
        ..VisionTransformerConfig::small()
    };
    VisionTransformer::new(&config, &mut Initializer::new(3, &Device::flex())).unwrap()
}

/// A sound encoder with one part of its behaviour replaced.
struct Broken {
    sound: VisionTransformer,
    encode: fn(&VisionTransformer, Tensor<4>) -> Result<Tensor<3>, ModelError>,
    extra_tokens: usize,
}

impl VisionEncoder for Broken {
    fn encode(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        (self.encode)(&self.sound, pixels)
    }

    fn fingerprint(&self) -> String {
        self.sound.fingerprint()
    }

    fn width(&self) -> usize {
        self.sound.width()
    }

    fn tokens(&self, height: usize, width: usize) -> Result<usize, ModelError> {
        Ok(self.sound.tokens(height, width)? + self.extra_tokens)
    }
}

fn findings(
    extra_tokens: usize,
    encode: fn(&VisionTransformer, Tensor<4>) -> Result<Tensor<3>, ModelError>,
) -> String {
    let broken = Broken {
        sound: transformer(),
        encode,
        extra_tokens,
    };
    conformance::check(&broken, SIDE, SIDE, &Device::flex())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_transformer_conforms() {
    for (height, width) in [(SIDE, SIDE), (2 * PATCH, 5 * PATCH)] {
        conformance::check(&transformer(), height, width, &Device::flex()).unwrap();
    }
}

#[test]
fn a_wrong_number_of_tokens_is_found() {
    let found = findings(1, VisionTransformer::encode);
    assert!(found.contains("tokens() and width() say"), "{found}");
    // A line for each rule that is broken, behind one that says of what.
    assert!(found.lines().count() > 1 && !found.contains('\\'), "{found}");
}

#[test]
fn a_blind_encoder_is_found() {
    let found = findings(0, |sound, pixels| sound.encode(pixels.zeros_like()));
    assert!(found.contains("the pixels do not count"), "{found}");
}

#[test]
fn an_encoder_that_mixes_its_batch_is_found() {
    let found = findings(0, |sound, pixels| {
        let features = sound.encode(pixels)?;
        Ok(features.clone() - features.mean_dim(0) * 0.1)
    });
    assert!(found.contains("alone and in a batch differ"), "{found}");
}

#[test]
fn an_encoder_that_panics_is_found() {
    let found = findings(0, |sound, pixels| {
        assert_eq!(pixels.dims()[1], 3);
        sound.encode(pixels)
    });
    assert!(found.contains("it panics for four colours"), "{found}");
}

#[test]
fn an_encoder_that_takes_what_does_not_fit_is_found() {
    let found = findings(0, |sound, pixels| {
        let [_, _, height, _] = pixels.dims();
        sound.encode(
            pixels
                .narrow(1, 0, 3)
                .narrow(2, 0, (height / PATCH).max(1) * PATCH),
        )
    });
    assert!(
        found.contains("it takes four colours") && found.contains(&format!("{} x {SIDE} pixels", SIDE + 1)),
        "{found}"
    );
}

#[test]
fn an_encoder_of_chance_is_found() {
    static CALLS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let found = findings(0, |sound, pixels| {
        let calls = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(sound.encode(pixels)? + calls as f64 * 0.1)
    });
    assert!(found.contains("other features the second time"), "{found}");
}
