//! `InstructBlipForConditionalGeneration`: the instruction goes through the Q-Former, too.

use blip2::{HuggingFaceFolder, HuggingFaceKind};
use blip2_core::{TextExample, VisionEncoder};
use blip2_golden::{device, each, models, tolerance};
use blip2_qformer::TextBatch;

#[test]
fn the_logits_are_those_of_the_reference() {
    each(models("InstructBlipForConditionalGeneration"), |model| {
        let expected = model.expected();
        let folder = HuggingFaceFolder::open(&model.path).unwrap();
        assert_eq!(folder.kind(), HuggingFaceKind::Instruction);
        let (encoder, bridge, language_model) = (
            folder.encoder(&device()).unwrap(),
            folder.bridge(&device()).unwrap(),
            folder.language_model(&device()).unwrap(),
        );
        let instructions = expected.texts("qformer_input_ids", "qformer_attention_mask");
        let instructions = TextBatch::new(instructions, &device()).unwrap();
        let features = encoder.encode(expected.tensor("pixel_values")).unwrap();
        let states = bridge
            .query_states(bridge.normalise(features).unwrap(), Some(&instructions))
            .unwrap();
        let soft_prompt = bridge.projection.forward(states);
        let examples: Vec<TextExample> = expected
            .ids("text_ids")
            .into_iter()
            .map(|prompt| TextExample {
                prompt,
                target: Vec::new(),
            })
            .collect();
        let logits = language_model.logits(soft_prompt, &examples).unwrap();
        let mut check = model.check();
        check.close("logits", &logits, &expected.array("logits"), tolerance::FEATURES);
    });
}
