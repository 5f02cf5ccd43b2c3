//! What fine-tuning made, as others read it: a folder of `transformers`, and a checkpoint of LAVIS.

use std::path::Path;

use blip2::{
    ADAPTER, Blip2, ENCODER, HuggingFaceFolder, RgbImage, trained_to_hugging_face, trained_to_lavis,
};
use blip2_core::weights::{SafetensorsStore, TensorStore};
use burn::tensor::Device;

/// A folder of `transformers` made of the run sees the same in a picture, of whatever size it is.
pub(crate) fn passed_on(run: &Path, model: &Path, tuned: &Blip2, pictures: &[RgbImage], name: &str) {
    let scratch = tempfile::tempdir().expect("folder");
    let (out, home) = (scratch.path().join("out"), scratch.path().join("home"));
    let converted = trained_to_hugging_face(run, &home, model, &out);
    if name == "retrieval-vit-l" {
        let error = converted.expect_err("a folder of transformers has no place for the choice of a block");
        return assert!(error.to_string().contains("block -2"), "{error}");
    }
    converted.unwrap_or_else(|error| panic!("{name}: {error}"));
    let folder = HuggingFaceFolder::open(&out).expect("a folder");
    folder.check().unwrap_or_else(|error| panic!("{name}: {error}"));
    let passed = Blip2::from_pretrained(&out, &home, &Device::flex()).expect("a model");
    // What only a Q-Former that reads texts looks at.
    let read = "what is on the beach".to_owned();
    let seen = |model: &Blip2| match model.has_bridge() {
        true => {
            model
                .image_prompts(pictures, std::slice::from_ref(&read))
                .expect("prompts")
                .projected
        }
        false => model.embed_images(pictures).expect("embeddings").states,
    };
    let apart = (seen(tuned) - seen(&passed)).abs().max().into_scalar::<f32>();
    assert!(apart < 1e-4, "{name}: {apart}");
    assert_eq!(passed.reads_instructions(), tuned.reads_instructions(), "{name}");
    if tuned.reads_instructions() {
        writes_the_same(tuned, &passed, pictures, &read, name);
    }

    let lavis = scratch.path().join("tuned.safetensors");
    trained_to_lavis(run, &home, &lavis).unwrap_or_else(|error| panic!("{name}: {error}"));
    let names = SafetensorsStore::open(&lavis).expect("a checkpoint");
    for name in ["query_tokens", "ln_vision.weight"] {
        assert!(names.tensors().contains_key(name), "{name}");
    }
    let encoder = names.tensors().contains_key("visual_encoder.pos_embed");
    assert_eq!(encoder, run.join("model").join(ENCODER).is_file(), "{name}");
    let words = "Qformer.bert.embeddings.word_embeddings.weight";
    let reads = tuned.has_representation() || tuned.reads_instructions();
    assert_eq!(names.tensors().contains_key(words), reads, "{name}");
}

/// Captions and answers of both, and how they want to be asked, are the same.
fn writes_the_same(tuned: &Blip2, passed: &Blip2, pictures: &[RgbImage], question: &str, name: &str) {
    assert_eq!(passed.caption_prompt(), tuned.caption_prompt(), "{name}");
    let texts = vec![question.to_owned(); pictures.len()];
    // Also what ends a text is in the settings.
    let settings = passed.answer_settings();
    let written = |model: &Blip2| {
        let answers = model.ask(pictures, &texts, settings).expect("answers");
        let captions = model.caption(pictures, &texts, settings).expect("captions");
        answers.into_iter().chain(captions)
    };
    for (tuned, passed) in written(tuned).zip(written(passed)) {
        assert_eq!(tuned.ids, passed.ids, "{name}");
        assert!(
            (tuned.score - passed.score).abs() < 1e-3,
            "{name}: {tuned:?} {passed:?}"
        );
    }
}

/// Updates of the language model go along, and are read with the folder.
pub(crate) fn updates_passed_on(run: &Path, home: &Path, model: &Path, picture: &RgbImage) {
    let scratch = tempfile::tempdir().expect("folder");
    let out = scratch.path().join("out");
    trained_to_hugging_face(run, home, model, &out).expect("a folder");
    let read = |folder: &Path| Blip2::from_pretrained(folder, home, &Device::flex()).expect("a model");
    let passed = read(&out);
    let score = |model: &Blip2| {
        let prompt = ["a photo of".to_owned()];
        let written = model.caption(std::slice::from_ref(picture), &prompt, passed.answer_settings());
        written.expect("a caption")[0].score
    };
    let (tuned, passed_on) = (score(&read(run)), score(&passed));
    std::fs::remove_dir_all(out.join(ADAPTER)).expect("updates");
    let without = score(&read(&out));
    let apart = (tuned - passed_on).abs();
    assert!(
        apart < 1e-3 && (tuned - without).abs() > 10.0 * apart,
        "{tuned}, {passed_on}, {without}"
    );
}
