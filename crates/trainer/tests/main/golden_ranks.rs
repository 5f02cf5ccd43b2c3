//! Stage 1 of LAVIS's own code on several processes (`lavis-ranks`), taken again on one device in as many parts, and on as many
//! ranks: what each rank computed, the averaged gradients, and the weights after the recorded steps of AdamW.

use blip2_core::weights::{LoadOptions, SafetensorsStore, collect, load, parameters};
use blip2_core::{ModelError, VisionEncoder};
use blip2_data::text::{BertTokenizer, Padding};
use blip2_distributed::{Threads, WATCHDOG};
use blip2_golden::{Check, TensorFile, device, each, find, json, root, tolerance, variants};
use blip2_objectives::{
    Embeddings, NegativeSource, NegativeWeights, Negatives, RepresentationOptions, RepresentationStep,
    StepGradients, SumOrder, itm_logits, negative_weights, similarities,
};
use blip2_qformer::{LAVIS_REPRESENTATION, RepresentationModel, TextBatch};
use blip2_trainer::{
    Batch, Optimizer, OptimizerConfig, Row, StepContext, is_decayed, representation_gradients,
};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;

use crate::case::{encoder, stage1, store};
use crate::gradients::{Gradient, gradients, resolved};

/// Of the way that a weight went, how far off its end may be: Adam makes a whole step of any gradient, however small, and the sign
/// of some that are next to nothing is rounding.
const PATH: f64 = 5e-2;
/// A loss, relative, once weights have gone that way.
const LATER: f64 = 5e-5;
const TERMS: [(&str, &str); 3] = [("itc", "loss_itc"), ("itm", "loss_itm"), ("itg", "loss_lm")];

/// How near the losses of a step must be.
fn near_losses(step: usize) -> f64 {
    if step == 0 { tolerance::LOSS } else { LATER }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn texts(value: &Value) -> Vec<&str> {
    list(value)
        .iter()
        .map(|value| value.as_str().expect("a text"))
        .collect()
}

fn rows(values: Vec<i64>) -> Vec<usize> {
    values.into_iter().map(|row| row as usize).collect()
}

/// As LAVIS calls the parameter at `path`: there the decoder's bias and the head's are one tensor.
fn named(path: &str) -> String {
    let name = (LAVIS_REPRESENTATION.rename)(path).expect("named");
    name.replace("predictions.decoder.bias", "predictions.bias")
}

/// The folder of one number of ranks and one kind of encoder.
struct Run<'a> {
    sizes: &'a Value,
    report: Value,
    folder: String,
    ranks: Vec<TensorFile>,
    options: RepresentationOptions,
    check: Check,
    /// Each part on a rank of its own, in place of all on one device.
    over_ranks: bool,
}

/// One recorded step, all ranks together.
struct Step {
    /// Of the global batch, with the gradients' device.
    features: Tensor<3>,
    texts: Vec<Vec<u32>>,
    negatives: Negatives,
}

impl Step {
    fn of(&self) -> impl FnMut(&[usize]) -> Result<Tensor<3>, ModelError> + '_ {
        |rows| {
            let row = |row: &usize| self.features.clone().narrow(0, *row, 1);
            Ok(Tensor::cat(rows.iter().map(row).collect(), 0))
        }
    }
}

impl Run<'_> {
    fn parts(&self) -> usize {
        self.ranks.len()
    }

    /// A tensor of a rank in a step; `image_feats` is compared under that name.
    fn close<const D: usize>(&mut self, step: usize, rank: usize, name: &str, ours: &Tensor<D>, near: f64) {
        let expected = self.ranks[rank].array(&format!("s{step}.{name}"));
        let what = format!("{name}/{step}.{rank}");
        self.check.close(&what, ours, &expected, near);
    }

    /// Reads a step, and compares what needs no weights of the step.
    fn read(&mut self, step: usize, weights: &SafetensorsStore, tokenizer: &BertTokenizer) -> Step {
        let kind = self.report["vit"].as_str().expect("a kind of encoder").to_owned();
        let encoder = encoder(&kind, self.sizes, weights);
        let captions = texts(&self.sizes["captions"][step]);
        let length = number(&self.sizes["max_txt_len"]) as usize;
        let pairs = captions.len() / self.parts();
        let (mut features, mut ids) = (Vec::new(), Vec::new());
        let (mut images, mut wrong) = (Vec::new(), Vec::new());
        for rank in 0..self.parts() {
            let own = &captions[rank * pairs..][..pairs];
            let recorded = self.report["steps"][step]["ranks"][rank].clone();
            let what = |name: &str| format!("{name}/{step}.{rank}");
            let at = |name: &str| format!("s{step}.{name}");
            let io = &self.ranks[rank];
            let of_rank = encoder.encode(io.tensor(&at("image"))).expect("features");
            let expected = io.array(&at("vit_features"));
            self.check
                .close(&what("vit_features"), &of_rank, &expected, tolerance::FEATURES);
            features.push(of_rank);

            let batch = tokenizer.encode(own, length, Padding::MaxLength).expect("tokens");
            let masks: Vec<Vec<u32>> = batch
                .mask
                .iter()
                .map(|row| row.iter().map(|real| u32::from(*real)).collect())
                .collect();
            self.check
                .identical(&what("input_ids"), &batch.ids, &io.ids(&at("input_ids")));
            self.check
                .identical(&what("attention_mask"), &masks, &io.ids(&at("attention_mask")));
            self.check
                .identical(&what("captions"), own, &texts(&recorded["captions"]));
            let of_rank = io.texts(&at("input_ids"), &at("attention_mask"));
            let predicted: usize = of_rank.iter().map(|text| text.len() - 1).sum();
            self.check.identical(
                &what("lm_tokens"),
                &[predicted as f64],
                &[number(&recorded["lm_tokens"])],
            );
            ids.extend(of_rank);

            for (name, all) in [("neg_image_idx", &mut images), ("neg_text_idx", &mut wrong)] {
                let drawn = rows(io.integers(&at(name)));
                let reported: Vec<usize> = list(&recorded[name])
                    .iter()
                    .map(|row| number(row) as usize)
                    .collect();
                self.check.identical(&what(name), &drawn, &reported);
                all.extend(drawn);
            }
        }
        let features = Tensor::cat(features, 0).into_data();
        Step {
            features: Tensor::from_data(features, &device().autodiff()),
            texts: ids,
            negatives: Negatives { images, texts: wrong },
        }
    }

    fn begin<'m>(&'m self, model: &'m RepresentationModel, step: &'m Step) -> RepresentationStep<'m> {
        let given = NegativeSource::Given(step.negatives.clone());
        RepresentationStep::new(model, &self.options, &step.texts, self.parts(), given, 0).expect("a step")
    }

    /// What each rank computed in step number `index`.
    fn compare_ranks(&mut self, index: usize, model: &RepresentationModel, step: &Step) {
        let (near, pairs) = (tolerance::FEATURES, step.texts.len() / self.parts());
        let of_losses = near_losses(index);
        let temperature = model.temperature.val();
        let untracked = model.clone().freeze();
        let embed = |rank| self.begin(model, step).embed(&untracked, rank, &mut step.of());
        let embeddings = (0..self.parts()).map(|rank| embed(rank).expect("embeddings"));
        let embeddings: Vec<Embeddings> = embeddings.collect();
        let all = Embeddings::gathered(embeddings.clone());
        let everything = step.features.clone();
        for (rank, own) in embeddings.iter().enumerate() {
            let first = rank * pairs;
            let features = everything.clone().narrow(0, first, pairs);
            let normalised = model.normalise(features.clone()).expect("features");
            self.close(index, rank, "temp", &temperature, near);
            self.close(index, rank, "image_embeds", &normalised, near);
            self.close(index, rank, "image_feats", &own.images, near);
            self.close(index, rank, "text_feat", &own.texts, near);

            let alike = similarities(own, &all, temperature.clone());
            for (name, alike) in [
                ("weights_t2i", &alike.text_to_image),
                ("weights_i2t", &alike.image_to_text),
            ] {
                let ours = negative_weights(alike, first, self.options.negatives).expect("weights");
                let expected = self.ranks[rank].array(&format!("s{index}.{name}"));
                let what = format!("{name}/{index}.{rank}");
                self.check.close(&what, &ours.concat(), &expected, near);
            }

            // The own pairs, and behind them the whole batch to take wrong partners from.
            let both = Tensor::cat(vec![features, everything.clone()], 0);
            let context = model.image_context(both).expect("features");
            let own_texts = step.texts[first..first + pairs].iter().chain(&step.texts);
            let own_texts = TextBatch::new(own_texts.cloned().collect(), &model.qformer.device());
            let placed = |rows: &[usize]| rows[first..first + pairs].iter().map(|row| pairs + row).collect();
            let negatives = Negatives {
                images: placed(&step.negatives.images),
                texts: placed(&step.negatives.texts),
            };
            let logits = itm_logits(model, &context, &own_texts.expect("texts"), &negatives).expect("logits");
            self.close(index, rank, "itm_logits", &logits, near);

            let begun = self.begin(model, step).against(all.clone(), rank..rank + 1);
            let loss = begun
                .expect("negatives")
                .part(rank, &mut step.of())
                .expect("a loss");
            for (name, theirs) in TERMS {
                let ours = loss.terms.get(name).expect("a term");
                self.close(index, rank, theirs, &ours, of_losses);
            }
            let total = loss.terms.total().expect("weights");
            self.close(index, rank, "loss", &total, of_losses);
            let recorded = &step.negatives.texts[first..first + pairs];
            self.check.identical(
                &format!("negatives/{index}.{rank}"),
                &loss.negatives.texts,
                recorded,
            );
        }
    }

    /// The gradients of all parts, and the model that they belong to: `model` or one of the same values.
    fn gradients(&self, model: &RepresentationModel, step: &Step) -> (RepresentationModel, StepGradients) {
        if self.over_ranks {
            return on_ranks(model, &self.options, step, self.parts());
        }
        let begun = self.begin(model, step);
        let gradients = begun.gradients(&mut step.of()).expect("gradients");
        (model.clone(), gradients)
    }

    /// The averaged gradient of every trainable tensor.
    fn compare_gradients(&mut self, model: &RepresentationModel, step: &Step) {
        let of = |model: &RepresentationModel| {
            let (model, averaged) = self.gradients(model, step);
            gradients(&model, &averaged.gradients)
        };
        let mut ours: Vec<Gradient> = resolved(model, of, named);
        // The temperature's is a sum of similarities over its square.
        let temperature = f64::from(model.temperature.val().into_scalar::<f32>());
        for gradient in ours.iter_mut().filter(|gradient| gradient.name == "temp") {
            gradient.resolved = f64::from(f32::EPSILON) / temperature.powi(2);
        }
        let expected = TensorFile::open(&format!("{}/grads.safetensors", self.folder));
        for gradient in &ours {
            gradient.check(&mut self.check, &expected);
        }
        let mut names: Vec<&str> = ours.iter().map(|gradient| gradient.name.as_str()).collect();
        let mut trained = texts(&self.report["trainable"]);
        names.sort_unstable();
        trained.sort_unstable();
        self.check.identical("trainable", &names, &trained);
        self.check
            .identical("gradients", &[ours.len()], &[expected.names().len()]);
    }

    /// Which tensors decay. The temperature has no dimension in LAVIS and does not decay in 1.0.2; on its main branch, and so
    /// here, it does.
    fn compare_decay(&mut self, model: &RepresentationModel) {
        for parameter in parameters(model) {
            let name = named(&parameter.path);
            if name != "temp" {
                let ours = is_decayed(&parameter.path, parameter.shape.len());
                let theirs = number(&self.report["decay"][&name]) > 0.0;
                self.check.identical(&format!("decay/{name}"), &[ours], &[theirs]);
            }
        }
    }

    /// Where the weights are after all steps, by the way that they went from `start`.
    fn compare_weights(&mut self, start: &RepresentationModel, model: &RepresentationModel, first: &Step) {
        let rate = number(&self.sizes["optimizer"]["lr"]);
        let steps = list(&self.report["steps"]).len();
        let file = format!("{}/after_{steps}_steps.safetensors", self.folder);
        let theirs = load(
            start.clone(),
            &store(&file),
            &LAVIS_REPRESENTATION,
            LoadOptions::default(),
        );
        let theirs = theirs.expect("weights");
        let mean = |squares: &mut dyn Iterator<Item = f64>| squares.map(|value| value * value).sum::<f64>();
        let of = |model: &RepresentationModel| collect(model);
        for (((path, begun), (_, ours)), (_, theirs)) in of(start).into_iter().zip(of(model)).zip(of(&theirs))
        {
            let values = |data: &TensorData| data.iter::<f64>().collect::<Vec<_>>();
            let (begun, ours, theirs) = (values(&begun), values(&ours), values(&theirs));
            let what = format!("weight/{}", named(&path));
            // The gradient of a key's bias is rounding alone, and Adam makes whole steps of it, in either direction.
            if path.ends_with("key.bias") {
                self.check
                    .absolute(&what, &ours, &theirs, 2.0 * rate * steps as f64);
                continue;
            }
            let apart = mean(&mut ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs));
            let way = mean(&mut theirs.iter().zip(&begun).map(|(theirs, begun)| theirs - begun));
            assert!(way > 0.0, "{what} did not move");
            self.check.absolute(&what, &[(apart / way).sqrt()], &[0.0], PATH);
        }
        // All weights together, those biases among them, by what they do.
        let [ours, theirs] = [model, &theirs].map(|model| {
            let terms = self.gradients(model, first).1.terms;
            terms.total().expect("weights")
        });
        self.check.close("loss-afterwards", &ours, &theirs, LATER);
    }

    fn prove(mut self) {
        let weights = store(&format!("{}/weights.safetensors", self.folder));
        let vocabulary = find("lavis-ranks/bert-vocab.txt").expect("the folder has its vocabulary");
        let tokenizer = BertTokenizer::from_file(&vocabulary).expect("a vocabulary");
        let recorded = &self.sizes["optimizer"];
        let config = OptimizerConfig {
            betas: [0, 1].map(|index| number(&recorded["betas"][index])),
            weight_decay: number(&recorded["weight_decay"]),
            clip_norm: None,
            ema: None,
        };
        let rate = number(&recorded["lr"]);
        let (start, options) = stage1(self.sizes, &weights);
        // Release 1.0.2 adds a floor to the weights.
        self.options = RepresentationOptions {
            negatives: NegativeWeights::SoftmaxFloor,
            ..options
        };
        self.compare_decay(&start);
        let (mut model, mut optimizer) = (start.clone(), Optimizer::new());
        let mut first = None;
        for index in 0..list(&self.report["steps"]).len() {
            let step = self.read(index, &weights, &tokenizer);
            if !self.over_ranks {
                self.compare_ranks(index, &model, &step);
            }
            if index == 0 {
                self.compare_gradients(&model, &step);
            }
            let (moving, averaged) = self.gradients(&model, &step);
            let mean = self.report["steps"][index]["mean"].clone();
            for (name, theirs) in TERMS {
                let ours = averaged.terms.get(name).expect("a term");
                let what = format!("mean-{theirs}/{index}");
                self.check
                    .close(&what, &ours, &[number(&mean[theirs])], near_losses(index));
            }
            let total = averaged.terms.total().expect("weights");
            self.check.close(
                &format!("mean-loss/{index}"),
                &total,
                &[number(&mean["loss"])],
                near_losses(index),
            );
            model = optimizer.step(moving, &averaged.gradients, &config, &|_| rate).0;
            first.get_or_insert(step);
        }
        self.compare_weights(&start, &model, &first.expect("at least one step"));
    }
}

/// Makes new parameters of the same values.
struct Copied;

impl ModuleMapper for Copied {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = parameter.val();
        Param::from_tensor(Tensor::from_data(value.to_data(), &value.device()).require_grad())
    }
}

/// The same step on `size` ranks, each of which has its own rows alone, as the first of them sees it.
fn on_ranks(
    model: &RepresentationModel,
    options: &RepresentationOptions,
    step: &Step,
    size: usize,
) -> (RepresentationModel, StepGradients) {
    let pairs = step.texts.len() / size;
    let features = step.features.to_data();
    let mut steps = Threads::run(size, WATCHDOG, |ranks| {
        // Threads must not share parameters.
        let model = model.clone().map(&mut Copied);
        let features = Tensor::<3>::from_data(features.clone(), &device().autodiff());
        let own = ranks.rank() * pairs..(ranks.rank() + 1) * pairs;
        let batch = Batch {
            rows: vec![Row::default(); pairs],
            features: features.narrow(0, own.start, pairs),
        };
        let context = StepContext {
            step: 1,
            seed: 0,
            part: 0,
            parts: size,
            ranks: &ranks,
            order: SumOrder::Free,
        };
        let given = NegativeSource::Given(step.negatives.clone());
        let texts = &step.texts[own];
        let step = representation_gradients(&model, options, &batch, (texts, None), given, &context);
        (model, step.expect("gradients"))
    });
    steps.swap_remove(0)
}

#[test]
fn parts_on_one_device_equal_ranks_of_lavis() {
    prove(false);
}

#[test]
fn ranks_equal_ranks_of_lavis() {
    prove(true);
}

fn prove(over_ranks: bool) {
    let Some(sizes) = json("lavis-ranks/config.json") else {
        return;
    };
    let folders = variants("lavis-ranks/", "").into_iter();
    let folders = folders.filter(|name| root().join("lavis-ranks").join(name).is_dir());
    each(folders, |name| {
        let folder = format!("lavis-ranks/{name}");
        let report = json(&format!("{folder}/report.json")).expect("a report beside the tensors");
        let ranks = 0..number(&report["world_size"]) as usize;
        let open = |rank| TensorFile::open(&format!("{folder}/rank{rank}_io.safetensors"));
        let run = Run {
            sizes: &sizes,
            ranks: ranks.map(open).collect(),
            check: Check::new(&folder),
            options: RepresentationOptions::default(),
            report,
            folder,
            over_ranks,
        };
        run.prove();
    });
}
