//! Models whose linear layers are packed while they are read, or whose weights are held in half precision.

use blip2_core::layers::Packing;
use blip2_core::{LanguageModel, LoadPlan, TextExample};
use blip2_golden::{device, models};
use blip2_llm_adapters::{conformance, from_hugging_face};
use burn::tensor::{DType, Tensor};

const FAMILIES: [&str; 6] = [
    "LlamaForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Gemma3ForCausalLM",
    "OPTForCausalLM",
    "T5ForConditionalGeneration",
];

#[test]
fn packed_models_conform_and_are_near_those_in_single_precision() {
    let examples = [TextExample {
        prompt: vec![3, 4],
        target: vec![5, 6, 7],
    }];
    let logits = |model: &dyn LanguageModel| {
        let soft_prompt = Tensor::ones([1, 2, model.hidden_size()], &device()) * 0.1;
        model.logits(soft_prompt, &examples).unwrap()
    };
    for family in FAMILIES {
        for golden in models(family) {
            let exact = logits(from_hugging_face(&golden.path, &device()).unwrap().as_ref());
            let size = root_mean_square(exact.clone());
            for (packing, tolerance) in [(Packing::Bf16, 0.02), (Packing::Int8, 0.05), (Packing::Int4, 0.5)] {
                let plan = LoadPlan::from(&device()).packed(Some(packing));
                let model = from_hugging_face(&golden.path, plan).unwrap();
                let rounding = match (family, packing) {
                    // Norms of heads make a small head's rounding to bfloat16 as large as any other.
                    ("Qwen3ForCausalLM", _) => 2.0 / 256.0,
                    (_, Packing::Bf16) => 1e-3,
                    // What levels lose where they are rounded to bfloat16, and do not lose where rows are few.
                    _ => 1.0 / 256.0,
                };
                let name = golden.path.display();
                conformance::check_within(model.as_ref(), &device(), rounding)
                    .unwrap_or_else(|error| panic!("{packing:?}, {name}: {error}"));
                let difference = root_mean_square(logits(model.as_ref()) - exact.clone());
                assert!(difference > 0.0, "{packing:?}, {name}: nothing was packed");
                assert!(
                    difference < tolerance * size,
                    "{packing:?}, {name}: {difference} of {size}"
                );
            }
        }
    }
}

#[test]
fn models_in_half_precision_conform_and_are_near_those_in_single_precision() {
    let examples = [TextExample {
        prompt: vec![3, 4],
        target: vec![5, 6, 7],
    }];
    for family in FAMILIES {
        for golden in models(family) {
            let soft_prompt =
                |model: &dyn LanguageModel| Tensor::ones([1, 2, model.hidden_size()], &device()) * 0.1;
            let logits = |model: &dyn LanguageModel| model.logits(soft_prompt(model), &examples).unwrap();
            let exact = from_hugging_face(&golden.path, &device()).unwrap();
            let size = root_mean_square(logits(exact.as_ref()));
            for (dtype, tolerance) in [(DType::F16, 0.005f32), (DType::BF16, 0.04)] {
                let plan = LoadPlan {
                    dtype: Some(dtype),
                    ..LoadPlan::from(&device())
                };
                let model = from_hugging_face(&golden.path, plan).unwrap();
                let name = golden.path.display();
                let loss = model.loss(soft_prompt(model.as_ref()), &examples).unwrap();
                assert_eq!(
                    (loss.dtype(), logits(model.as_ref()).dtype()),
                    (DType::F32, DType::F32)
                );
                conformance::check_within(model.as_ref(), &device(), tolerance.into()).unwrap();
                let difference = root_mean_square(logits(model.as_ref()) - logits(exact.as_ref()));
                assert!(
                    difference < tolerance * size,
                    "{dtype:?}, {name}: {difference} of {size}"
                );
                assert!(difference > 0.0, "{dtype:?}, {name}: it is not computed in it");
            }
        }
    }
}

fn root_mean_square(x: Tensor<3>) -> f32 {
    x.square().mean().sqrt().into_scalar()
}
