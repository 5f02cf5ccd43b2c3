//! BLIP's captioner as `transformers` computes it.

use blip2::Captioner;
use blip2_generation::GenerationConfig;
use blip2_golden::{Model, TensorFile, device, each, models, tolerance};
use burn::tensor::Tensor;

const ARCHITECTURE: &str = "BlipForConditionalGeneration";

struct Case {
    model: Model,
    expected: TensorFile,
    captioner: Captioner,
}

impl Case {
    fn features(&self) -> Tensor<3> {
        let pixels = self.expected.tensor("pixel_values");
        self.captioner.features(pixels).unwrap()
    }
}

fn cases() -> Vec<Case> {
    let open = |model: Model| Case {
        expected: model.expected(),
        captioner: Captioner::from_hugging_face(&model.path, &device()).unwrap(),
        model,
    };
    models(ARCHITECTURE).into_iter().map(open).collect()
}

#[test]
fn features_and_logits_are_those_of_the_reference() {
    each(cases(), |case| {
        let mut check = case.model.check();
        let features = case.features();
        check.close(
            "image_embeds",
            &features,
            &case.expected.array("image_embeds"),
            tolerance::FEATURES,
        );
        let logits = case
            .captioner
            .logits(features, &case.expected.ids("input_ids"))
            .unwrap();
        check.close(
            "logits",
            &logits,
            &case.expected.array("logits"),
            tolerance::FEATURES,
        );
    });
}

#[test]
fn beam_search_writes_what_the_reference_writes() {
    each(cases(), |case| {
        let mut check = case.model.check();
        let expected = case.expected.ids("beam3_ids");
        let prompt = &case.expected.ids("input_ids")[0];
        assert!(expected.iter().all(|text| text.starts_with(prompt)));
        let settings = GenerationConfig {
            num_beams: 3,
            max_new_tokens: expected[0].len() - prompt.len(),
            ..GenerationConfig::default()
        };
        let written = case.captioner.write(case.features(), prompt, &settings).unwrap();
        let end = case.model.config["text_config"]["sep_token_id"].as_u64();
        for (row, (written, expected)) in written.iter().zip(&expected).enumerate() {
            // Behind its end the reference pads a text.
            let is_end = |id: &u32| Some(u64::from(*id)) == end;
            let expected = expected[prompt.len()..].split_inclusive(is_end).next().unwrap();
            check.identical(&format!("beam3_ids/{row}"), &written.ids, expected);
        }
    });
}

#[test]
fn step_by_step_equals_all_at_once() {
    each(cases(), |case| {
        let features = case.features();
        let prompt = vec![case.captioner.start_token()];
        let settings = GenerationConfig {
            max_new_tokens: 5,
            ..GenerationConfig::default()
        };
        let written = case
            .captioner
            .write(features.clone(), &prompt, &settings)
            .unwrap();
        for (row, text) in written.iter().enumerate() {
            let alone = features.clone().narrow(0, row, 1);
            for length in 0..text.ids.len() {
                let read = [&prompt[..], &text.ids[..length]].concat();
                let logits = case.captioner.logits(alone.clone(), &[read]).unwrap();
                let last: Tensor<2> = logits.narrow(1, length, 1).squeeze_dim(1);
                let likeliest = last.argmax(1).into_scalar::<i64>();
                assert_eq!(likeliest, i64::from(text.ids[length]), "row {row}, word {length}");
            }
        }
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    each(cases(), |case| {
        let features = case.features();
        let [batch, _, width] = features.dims();
        let pairs = case.captioner.logits(features.clone(), &[]).unwrap_err();
        assert!(pairs.to_string().contains(&format!("{batch} images")), "{pairs}");
        let settings = GenerationConfig::default();
        let empty = case.captioner.write(features, &[], &settings).unwrap_err();
        assert!(empty.to_string().contains("no token"), "{empty}");
        let other = Tensor::zeros([1, 2, width + 1], &device());
        let start = [case.captioner.start_token()];
        let foreign = case.captioner.write(other, &start, &settings).unwrap_err();
        assert!(foreign.to_string().contains("image features"), "{foreign}");
    });
}
