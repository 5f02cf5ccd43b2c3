//! Stage-1 states, losses and every gradient, equal to LAVIS's own code (`lavis/stage1_*`).

use blip2_core::weights::parameters;
use blip2_golden::{Array, TensorFile, each, json, tolerance, variants};
use blip2_objectives::{NegativeSource, Negatives, RepresentationLoss, representation_loss};
use blip2_qformer::{LAVIS_REPRESENTATION, RepresentationModel};
use burn::tensor::Tensor;

use crate::case::Case;
use crate::gradients::{Gradient, gradients, resolved};

fn indices(file: &TensorFile, name: &str) -> Vec<usize> {
    let indices = file.integers(name);
    indices.into_iter().map(|index| index as usize).collect()
}

#[test]
fn states_and_matching_scores_equal_lavis() {
    each(variants("lavis/stage1_", "_io.safetensors"), |encoder| {
        let mut case = Case::new(&encoder);
        let texts = case.texts();
        let context = case.model.image_context(case.features()).expect("context");
        let images = case.io.shape("image")[0];
        let queries = case.model.qformer.query_pass(&context, images).hidden;
        let expected = case.io.array("query_output");
        case.check
            .close("query_output", &queries, &expected, tolerance::FEATURES);

        // Padding is trimmed in ours and means nothing in theirs.
        let read = case.model.qformer.text_pass(&texts, None).expect("states");
        let [_, tokens, width] = read.dims();
        let read: Vec<f64> = read.into_data().iter::<f64>().collect();
        let Array { shape, values } = case.io.array("text_output");
        for (row, ids) in case.io.texts("input_ids", "attention_mask").iter().enumerate() {
            let real = ids.len() * width;
            case.check.close(
                &format!("text_output/{row}"),
                &read[row * tokens * width..][..real],
                &values[row * shape[1] * width..][..real],
                tolerance::FEATURES,
            );
        }

        // The score of the original is the logit of a match.
        let logits = case.model.matching_logits(&context, &texts).expect("logits");
        let scores = logits.narrow(1, 1, 1).squeeze_dim::<1>(1);
        let expected = case.io.array("itm_match_score");
        case.check
            .close("itm_match_score", &scores, &expected, tolerance::FEATURES);
    });
}

fn total(loss: &RepresentationLoss) -> Tensor<1> {
    loss.terms.total().expect("a term has a weight")
}

/// The recorded step, taken by us.
pub(crate) fn step(case: &Case) -> (RepresentationLoss, Vec<Gradient>) {
    let negatives = Negatives {
        images: indices(&case.io, "neg_image_idx"),
        texts: indices(&case.io, "neg_text_idx"),
    };
    let (features, texts) = (case.features(), case.texts());
    let loss = |model: &RepresentationModel| {
        let given = NegativeSource::Given(negatives.clone());
        representation_loss(model, features.clone(), &texts, &case.options, given).expect("loss")
    };
    let of = |model: &RepresentationModel| gradients(model, &total(&loss(model)).backward());
    let mut gradients = resolved(&case.model, of, |path| {
        // There the decoder's bias and the head's are one tensor, listed under its other name.
        let name = (LAVIS_REPRESENTATION.rename)(path).expect("named");
        name.replace("predictions.decoder.bias", "predictions.bias")
    });
    // The temperature's is a sum of similarities over its square, up to twice as large together. Weights that move, move all of
    // them; that each is rounded by itself does not show.
    let temperature = f64::from(case.model.temperature.val().into_scalar::<f32>());
    for gradient in gradients.iter_mut().filter(|gradient| gradient.name == "temp") {
        gradient.resolved = f64::from(f32::EPSILON) / temperature.powi(2);
    }
    (loss(&case.model), gradients)
}

#[test]
fn losses_and_gradients_equal_lavis() {
    each(variants("lavis/stage1_", "_io.safetensors"), |encoder| {
        let mut case = Case::new(&encoder);
        let (loss, ours) = step(&case);
        for (name, theirs) in [("itc", "loss_itc"), ("itm", "loss_itm"), ("itg", "loss_lm")] {
            let expected = case.io.array(theirs);
            let ours = loss.terms.get(name).expect("a term of the loss");
            case.check.close(theirs, &ours, &expected, tolerance::LOSS);
        }
        let expected = case.io.array("loss");
        case.check
            .close("loss", &total(&loss), &expected, tolerance::LOSS);

        let expected = TensorFile::open(&format!("lavis/stage1_{encoder}_grads.safetensors"));
        ours.iter()
            .for_each(|gradient| gradient.check(&mut case.check, &expected));
        case.check
            .identical("gradients", &[ours.len()], &[expected.names().len()]);
        let trainable: usize = parameters(&case.model)
            .iter()
            .map(|parameter| parameter.shape.iter().product::<usize>())
            .sum();
        if let Some(report) = json("lavis/report.json") {
            let recorded = &report[format!("stage1_{encoder}")];
            let count = |name: &str| recorded[name].as_u64().expect("a count") as usize;
            let theirs = count("params") - count("frozen");
            case.check
                .identical("trainable-parameters", &[trainable], &[theirs]);
        }
    });
}
