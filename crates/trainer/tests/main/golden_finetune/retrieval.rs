//! Stage 1 with an encoder that is trained, and on a batch that shows one picture twice.

use blip2_core::VisionEncoder;
use blip2_data::text::{BertTokenizer, Padding};
use blip2_golden::{device, find, tolerance};
use blip2_objectives::{
    Embeddings, NegativeSource, NegativeWeights, Negatives, RepresentationOptions, itm_logits,
    negative_weights, representation_loss, similarities,
};
use blip2_qformer::{LAVIS_REPRESENTATION, RepresentationModel, TextBatch};
use blip2_vision_encoder::VisionTransformer;
use burn::module::Module;
use burn::tensor::Tensor;

use super::{Run, list, number, numbers, text};
use crate::case::stage1;
use crate::gradients::Gradient;

const TERMS: [(&str, &str); 3] = [("itc", "loss_itc"), ("itm", "loss_itm"), ("itg", "loss_lm")];

/// The inputs of the recorded step.
struct Step {
    texts: TextBatch,
    negatives: Negatives,
    options: RepresentationOptions,
}

impl Step {
    fn total(&self, model: &RepresentationModel, features: Tensor<3>) -> Tensor<1> {
        let given = NegativeSource::Given(self.negatives.clone());
        representation_loss(model, features, &self.texts, &self.options, given)
            .expect("a loss")
            .terms
            .total()
            .expect("weights")
    }
}

impl Run {
    /// Reads the step; the ids are also those that our tokenizer makes of the captions.
    fn step(&mut self, options: RepresentationOptions) -> Step {
        let vocabulary = find("lavis-finetune/bert-vocab.txt").expect("the folder has its vocabulary");
        let tokenizer = BertTokenizer::from_file(&vocabulary).expect("a vocabulary");
        let captions: Vec<&str> = list(&self.report["captions"]).iter().map(text).collect();
        let length = number(&self.sizes["max_txt_len"]) as usize;
        let batch = tokenizer
            .encode(&captions, length, Padding::MaxLength)
            .expect("tokens");
        let masks: Vec<Vec<u32>> = batch
            .mask
            .iter()
            .map(|row| row.iter().map(|real| u32::from(*real)).collect())
            .collect();
        self.check
            .identical("input_ids", &batch.ids, &self.io.ids("input_ids"));
        self.check
            .identical("attention_mask", &masks, &self.io.ids("attention_mask"));
        let texts = self.io.texts("input_ids", "attention_mask");
        let [images, wrong] = ["neg_image_idx", "neg_text_idx"].map(|name| {
            let drawn: Vec<f64> = self.io.array(name).values;
            self.check.identical(name, &drawn, &numbers(&self.report[name]));
            drawn.into_iter().map(|row| row as usize).collect()
        });
        Step {
            texts: TextBatch::new(texts, &device().autodiff()).expect("texts"),
            negatives: Negatives { images, texts: wrong },
            // Release 1.0.2 adds a floor to the weights of negatives.
            options: RepresentationOptions {
                negatives: NegativeWeights::SoftmaxFloor,
                ..options
            },
        }
    }

    /// What `model` makes of `features`: everything that was recorded but the gradients.
    fn compare_step(&mut self, model: &RepresentationModel, features: &Tensor<3>, step: &Step) {
        let near = tolerance::FEATURES;
        self.close("vit_features", features, near);
        let normalised = model.normalise(features.clone()).expect("features");
        self.close("image_embeds", &normalised, near);
        let [images, _, _] = features.dims();
        let context = model.image_context(features.clone()).expect("features");
        let queries = model.qformer.query_pass(&context, images).hidden;
        let own = Embeddings {
            images: model.image_embeddings(queries),
            texts: model.text_embeddings(&step.texts).expect("texts"),
        };
        self.close("image_feats", &own.images, near);
        self.close("text_feat", &own.texts, near);
        let alike = similarities(&own, &own, model.temperature.val());
        for (name, alike) in [
            ("weights_t2i", &alike.text_to_image),
            ("weights_i2t", &alike.image_to_text),
        ] {
            let ours = negative_weights(alike, 0, step.options.negatives).expect("weights");
            self.check.close(name, &ours.concat(), &self.io.array(name), near);
        }
        let logits = itm_logits(model, &context, &step.texts, &step.negatives).expect("logits");
        self.close("itm_logits", &logits, near);

        let given = NegativeSource::Given(step.negatives.clone());
        let loss = representation_loss(model, features.clone(), &step.texts, &step.options, given);
        let terms = loss.expect("a loss").terms;
        for (name, theirs) in TERMS {
            let ours = terms.get(name).expect("a term");
            self.close(theirs, &ours, tolerance::LOSS);
            let reported = [number(&self.report[theirs])];
            self.check.close(
                &format!("reported/{theirs}"),
                &ours,
                reported.as_slice(),
                tolerance::LOSS,
            );
        }
        self.close("loss", &terms.total().expect("weights"), tolerance::LOSS);
    }
}

/// The temperature's gradient is a sum of similarities over its square.
fn temperature_resolves(model: &RepresentationModel) -> impl Fn(&mut Gradient) + use<> {
    let temperature = f64::from(model.temperature.val().into_scalar::<f32>());
    move |gradient| {
        if gradient.name == "temp" {
            gradient.resolved = f64::from(f32::EPSILON) / temperature.powi(2);
        }
    }
}

#[test]
fn stage_1_with_an_encoder_that_is_trained_equals_lavis() {
    Run::each("unfrozen", |mut run| {
        let (model, options) = stage1(&run.sizes, &run.weights);
        let step = run.step(options);
        let adjust = temperature_resolves(&model);
        let whole = run.unfrozen(model);
        run.compare_step(&whole.model, &whole.seen(), &step);
        let of = |whole: &super::Whole<_>| step.total(&whole.model, whole.seen()).backward();
        run.compare_gradients(&whole, of, LAVIS_REPRESENTATION.rename, adjust);
        run.compare_groups(&whole, Some(&whole.encoder), LAVIS_REPRESENTATION.rename);
    });
}

#[test]
fn a_picture_that_a_batch_shows_twice_is_as_in_lavis() {
    Run::each("retrieval-duplicates", |mut run| {
        let (model, options) = stage1(&run.sizes, &run.weights);
        let step = run.step(options);
        let encoder = run.encoder();
        let frozen = blip2_core::weights::fingerprint(&encoder);
        let features = encoder.encode(run.io.tensor("image")).expect("features");
        let features = Tensor::from_data(features.into_data(), &device().autodiff());
        run.compare_step(&model, &features, &step);
        let of = |model: &RepresentationModel| step.total(model, features.clone()).backward();
        let adjust = temperature_resolves(&model);
        run.compare_gradients(&model, of, LAVIS_REPRESENTATION.rename, adjust);
        run.compare_groups(&model, None::<&VisionTransformer>, LAVIS_REPRESENTATION.rename);
        run.compare_duplicates(&step);
        let still = blip2_core::weights::fingerprint(&encoder);
        run.check.identical("frozen-encoder", &[still], &[frozen]);
        drop(encoder.freeze());
    });
}

impl Run {
    /// LAVIS 1.0.2 takes no notice of the ids: pairs of one picture are each other's negatives, in both directions.
    fn compare_duplicates(&mut self, step: &Step) {
        let ids = self.io.integers("image_id");
        let reported: Vec<i64> = numbers(&self.report["image_id"])
            .into_iter()
            .map(|id| id as i64)
            .collect();
        self.check.identical("image_id", &ids, &reported);
        for (name, drawn) in [
            ("duplicate_drawn_as_negative_image", &step.negatives.images),
            ("duplicate_drawn_as_negative_text", &step.negatives.texts),
        ] {
            let rows = drawn.iter().enumerate();
            let twice = rows.filter(|(row, other)| ids[*row] == ids[**other]);
            let ours: Vec<f64> = twice.map(|(row, _)| row as f64).collect();
            self.check.identical(name, &ours, &numbers(&self.report[name]));
        }
    }
}
