//! Weights of another architecture than the configuration says: one error with up to 20 names of each kind, and the counts.

use std::fs;

use blip2_core::weights::WeightError;
use blip2_golden::fixture;
use blip2_vision_encoder::{EncoderError, VisionTransformer};
use burn::tensor::Device;

use crate::meter::frugal;
use crate::{chain, copy};

/// How many names of a kind a message lists.
const LISTED: usize = 20;

#[test]
fn weights_of_another_architecture_are_one_error_that_lists_and_counts() {
    let folder = copy("parts/dinov2");
    let other = fixture("parts/clip/model.safetensors");
    fs::copy(&other, folder.path().join("model.safetensors")).expect("a copy");
    let loaded = frugal("another architecture", || {
        VisionTransformer::from_hugging_face(folder.path(), &Device::flex()).map(|_| ())
    });
    let error = loaded.expect_err("another architecture");
    let message = chain(&error);
    let EncoderError::Weights(WeightError::Mismatch {
        missing, unexpected, ..
    }) = error
    else {
        panic!("{message}");
    };
    assert!(missing.len() > LISTED, "{}", missing.len());
    assert!(unexpected.len() > LISTED, "{}", unexpected.len());
    for (kind, names) in [("missing", &missing), ("unexpected", &unexpected)] {
        assert!(
            message.contains(&format!("{} {kind}: ", names.len())),
            "{message}"
        );
        assert!(
            message.contains(&format!("and {} more", names.len() - LISTED)),
            "{message}"
        );
        let listed = names
            .iter()
            .filter(|name| message.contains(&format!(" {name},")))
            .count();
        assert_eq!(listed, LISTED, "{message}");
    }
}

#[test]
fn the_same_architecture_in_another_size_is_listed_by_shape() {
    let folder = copy("parts/dinov2");
    crate::edit(&folder.path().join("config.json"), |config| {
        let ratio = config["mlp_ratio"].as_u64().expect("a ratio");
        config["mlp_ratio"] = (ratio + 1).into();
    });
    let error = VisionTransformer::from_hugging_face(folder.path(), &Device::flex())
        .map(|_| ())
        .expect_err("another size");
    let message = chain(&error);
    let EncoderError::Weights(WeightError::Mismatch {
        missing,
        unexpected,
        misshapen,
        ..
    }) = error
    else {
        panic!("{message}");
    };
    assert!(missing.is_empty() && unexpected.is_empty(), "{message}");
    assert!(
        message.contains(&format!("{} of another shape", misshapen.len())),
        "{message}"
    );
    assert!(
        misshapen
            .iter()
            .all(|line| line.contains("in the file") && line.contains("in the model"))
    );
}
