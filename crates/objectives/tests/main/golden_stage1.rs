//! Stage-1 states, losses and every gradient, equal to LAVIS's own code (`lavis/stage1_*`).

use blip2_core::weights::parameters;
use blip2_golden::{Array, TensorFile, json, tolerance, variants};
use blip2_objectives::{NegativeSource, Negatives, representation_loss};
use blip2_qformer::LAVIS_REPRESENTATION;

use crate::case::Case;
use crate::gradients::{check_gradient, gradients};

fn indices(file: &TensorFile, name: &str) -> Vec<usize> {
    let indices = file.integers(name);
    indices.into_iter().map(|index| index as usize).collect()
}

#[test]
fn states_and_matching_scores_equal_lavis() {
    for encoder in variants("lavis/stage1_", "_io.safetensors") {
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
    }
}

#[test]
fn losses_and_gradients_equal_lavis() {
    for encoder in variants("lavis/stage1_", "_io.safetensors") {
        let mut case = Case::new(&encoder);
        let negatives = Negatives {
            images: indices(&case.io, "neg_image_idx"),
            texts: indices(&case.io, "neg_text_idx"),
        };
        let (features, texts) = (case.features(), case.texts());
        let given = NegativeSource::Given(negatives);
        let loss = representation_loss(&case.model, features, &texts, &case.options, given).expect("loss");
        for (name, ours) in [
            ("loss_itc", &loss.contrastive),
            ("loss_itm", &loss.matching),
            ("loss_lm", &loss.generation),
            ("loss", &loss.total()),
        ] {
            let expected = case.io.array(name);
            case.check.close(name, ours, &expected, tolerance::LOSS);
        }

        let expected = TensorFile::open(&format!("lavis/stage1_{encoder}_grads.safetensors"));
        let ours = gradients(&case.model, &loss.total().backward());
        let mut compared = 0;
        for parameter in parameters(&case.model) {
            let name = (LAVIS_REPRESENTATION.rename)(&parameter.path).expect("named");
            // There the decoder's bias and the head's are one tensor, listed under its other name.
            let name = name.replace("predictions.decoder.bias", "predictions.bias");
            let untouched = || vec![0.0; parameter.shape.iter().product()];
            let ours = ours[&parameter.path].clone().unwrap_or_else(untouched);
            check_gradient(&mut case.check, &expected, &name, &ours);
            compared += 1;
        }
        case.check
            .identical("gradients", &[compared], &[expected.names().len()]);
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
    }
}
