//! Stage-1 losses and every gradient, equal to LAVIS's own code (`tests/golden/lavis`).

use blip2_core::weights::{SafetensorsStore, TensorStore, parameters};
use blip2_objectives::{NegativeSource, Negatives, representation_loss};
use blip2_qformer::LAVIS_REPRESENTATION;

use crate::case::{Case, ENCODERS, largest, open, relative, values};
use crate::gradients::gradients;

fn indices(store: &SafetensorsStore, name: &str) -> Vec<usize> {
    store
        .read(name)
        .expect("golden tensor")
        .iter::<i64>()
        .map(|index| index as usize)
        .collect()
}

#[test]
fn losses_and_gradients_equal_lavis() {
    for encoder in ENCODERS {
        let case = Case::new(encoder);
        let negatives = Negatives {
            images: indices(&case.io, "neg_image_idx"),
            texts: indices(&case.io, "neg_text_idx"),
        };
        let (features, texts) = (case.raw_features(), case.texts());
        let given = NegativeSource::Given(negatives);
        let loss = representation_loss(&case.model, features, &texts, &case.options, given).expect("loss");
        for (name, ours) in [
            ("loss_itc", &loss.contrastive),
            ("loss_itm", &loss.matching),
            ("loss_lm", &loss.generation),
        ] {
            let (ours, theirs) = (ours.clone().into_scalar::<f32>(), values(&case.io, name)[0]);
            assert!(
                relative(ours, theirs) < 1e-5,
                "{encoder} {name}: {ours} instead of {theirs}"
            );
        }

        let expected = open(&format!("stage1_{encoder}_grads.safetensors"));
        let ours = gradients(&case.model, &loss.total().backward());
        let mut compared = 0;
        for parameter in parameters(&case.model) {
            let name = (LAVIS_REPRESENTATION.rename)(&parameter.path).expect("named");
            // There the decoder's bias and the head's are one tensor, listed under its other name.
            let name = name.replace("predictions.decoder.bias", "predictions.bias");
            let theirs = values(&expected, &name);
            let ours = ours[&parameter.path]
                .clone()
                .unwrap_or_else(|| vec![0.0; theirs.len()]);
            let difference = largest(ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs));
            let largest = largest(theirs.iter().copied());
            // A key's bias shifts all scores of a row alike: its gradient is rounding alone. What the contrast alone
            // trains gets a small difference of large terms: summed in f64, the reference's gradients move by up to
            // 2e-4 of the largest, and that of the temperature, whose terms are 8,000 times their sum, by 7e-4.
            let allowed = match name.as_str() {
                _ if name.ends_with("key.bias") => 1e-6,
                "temp" => 1e-3 * largest,
                _ if name.starts_with("text_proj.") || name.starts_with("vision_proj.") => 5e-4 * largest,
                _ => 1e-4 * largest,
            };
            assert!(
                difference <= allowed,
                "{encoder} {name}: {difference} of {largest}"
            );
            compared += 1;
        }
        assert_eq!(
            compared,
            expected.tensors().len(),
            "{encoder}: gradients compared"
        );
    }
}
