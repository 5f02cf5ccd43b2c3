//! The four passes: against the plain reference under its three masks, alone against in a batch, and what each may see.

use blip2_qformer::TextBatch;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::reference::Reference;
use crate::support::{assert_close, difference, model, real_rows, row};
use crate::tiny;

const BATCH: usize = 4;

fn alone(ids: &[u32]) -> TextBatch {
    TextBatch::new(vec![ids.to_vec()], &Device::flex()).expect("text")
}

fn indices(values: &[i64]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex())
}

#[test]
fn each_pass_equals_one_pass_under_its_explicit_mask() {
    let (model, device) = (model(), Device::flex());
    let (features, texts) = (tiny::features(BATCH, &device), tiny::texts(BATCH, &device));
    let queries = model.qformer.config().num_query_tokens;
    let context = model.image_context(features.clone()).expect("features");
    let images = model.qformer.query_pass(&context, BATCH);
    let texts_alone = model.qformer.text_pass(&texts, None).expect("text pass");
    let both = model
        .qformer
        .multimodal_pass(&context, &texts)
        .expect("multimodal pass");
    let causal = model.qformer.causal_pass(&images, &texts).expect("causal pass");

    let reference = Reference::new(&model);
    let normalised = model.vision_norm.forward(features);
    for (index, ids) in tiny::rows(BATCH).iter().enumerate() {
        let image = row(&normalised, index);
        let unimodal = reference.pass(queries, &image, &[], |_, _| true);
        assert_close("query pass", row(&images.hidden, index), unimodal.clone());
        assert_close(
            "text pass",
            real_rows(&texts_alone, index, ids.len()),
            reference.pass(0, &image, ids, |_, _| true),
        );

        let bidirectional = reference.pass(queries, &image, ids, |_, _| true);
        assert_close(
            "multimodal pass",
            row(&both, index),
            bidirectional.narrow(0, 0, queries),
        );

        // Queries see queries alone, text sees all queries and the text up to itself.
        let blocks = reference.pass(queries, &image, ids, |row, key| {
            key < queries || (row >= queries && key <= row)
        });
        assert_close(
            "queries under the block mask",
            blocks.clone().narrow(0, 0, queries),
            unimodal,
        );
        assert_close(
            "causal pass",
            real_rows(&causal, index, ids.len()),
            blocks.narrow(0, queries, ids.len()),
        );
    }
}

#[test]
fn a_batch_gives_what_each_row_gives_alone() {
    let (model, device) = (model(), Device::flex());
    let (features, texts) = (tiny::features(BATCH, &device), tiny::texts(BATCH, &device));
    let context = model.image_context(features.clone()).expect("features");
    let images = model.qformer.query_pass(&context, BATCH);
    let text_states = model.qformer.text_pass(&texts, None).expect("text pass");
    let both = model
        .qformer
        .multimodal_pass(&context, &texts)
        .expect("multimodal pass");
    let causal = model.qformer.causal_pass(&images, &texts).expect("causal pass");
    let lengths: Vec<usize> = tiny::rows(BATCH).iter().map(Vec::len).collect();
    assert!(
        lengths.iter().any(|length| length != &texts.tokens()),
        "no row has padding"
    );

    for (index, ids) in tiny::rows(BATCH).iter().enumerate() {
        let text = alone(ids);
        let context = model
            .image_context(features.clone().narrow(0, index, 1))
            .expect("features");
        let image = model.qformer.query_pass(&context, 1);
        assert_close("query pass", row(&image.hidden, 0), row(&images.hidden, index));
        let single = model.qformer.text_pass(&text, None).expect("text pass");
        assert_close(
            "text pass",
            row(&single, 0),
            real_rows(&text_states, index, ids.len()),
        );
        let single = model
            .qformer
            .multimodal_pass(&context, &text)
            .expect("multimodal pass");
        assert_close("multimodal pass", row(&single, 0), row(&both, index));
        let single = model.qformer.causal_pass(&image, &text).expect("causal pass");
        assert_close(
            "causal pass",
            row(&single, 0),
            real_rows(&causal, index, ids.len()),
        );
    }
}

#[test]
fn the_leading_states_are_those_of_the_whole_pass() {
    let (model, texts) = (model(), tiny::texts(BATCH, &Device::flex()));
    let all = model.qformer.text_pass(&texts, None).expect("text pass");
    for leading in [1, 2] {
        let first = model.qformer.text_pass(&texts, Some(leading)).expect("text pass");
        assert_close("leading states", first, all.clone().narrow(1, 0, leading));
    }
}

#[test]
fn the_future_does_not_reach_the_past() {
    let (model, device) = (model(), Device::flex());
    let context = model.image_context(tiny::features(1, &device)).expect("features");
    let images = model.qformer.query_pass(&context, 1);
    let states = |ids: &[u32]| {
        model
            .qformer
            .causal_pass(&images, &alone(ids))
            .expect("causal pass")
    };
    let (first, second) = (states(&[1, 20, 30, 40, 50]), states(&[1, 20, 30, 41, 51]));
    assert_close(
        "states before the change",
        first.clone().narrow(1, 0, 3),
        second.clone().narrow(1, 0, 3),
    );
    assert!(
        difference(first.narrow(1, 3, 2), second.narrow(1, 3, 2)) > 0.1,
        "the change itself is seen"
    );
}

#[test]
fn text_reads_the_image_where_it_should_and_nowhere_else() {
    let (model, device) = (model(), Device::flex());
    let (features, texts) = (tiny::features(2, &device), tiny::texts(2, &device));
    let other = features.clone().flip([0]);
    let [first, second] = [features, other].map(|features| {
        let context = model.image_context(features).expect("features");
        let images = model.qformer.query_pass(&context, 2);
        let causal = model.qformer.causal_pass(&images, &texts).expect("causal pass");
        (
            causal,
            model
                .qformer
                .multimodal_pass(&context, &texts)
                .expect("multimodal pass"),
        )
    });
    assert!(
        difference(first.0, second.0) > 0.01,
        "generation does not see the image"
    );
    assert!(
        difference(first.1, second.1) > 0.01,
        "matching does not see the image"
    );
}

#[test]
fn matching_reads_the_text() {
    let (model, device) = (model(), Device::flex());
    let context = model.image_context(tiny::features(1, &device)).expect("features");
    let queries = |ids: &[u32]| {
        model
            .qformer
            .multimodal_pass(&context, &alone(ids))
            .expect("multimodal pass")
    };
    assert!(difference(queries(&[1, 20, 30]), queries(&[1, 20, 31])) > 0.01);
}

#[test]
fn a_chosen_context_is_the_context_of_the_chosen() {
    let (model, device) = (model(), Device::flex());
    let features = tiny::features(3, &device);
    let chosen = [2, 0, 0, 1_usize];
    let texts = tiny::texts(4, &device);
    let context = model
        .image_context(features.clone())
        .expect("features")
        .select(&chosen);
    let again = model
        .image_context(features.select(0, indices(&chosen.map(|row| row as i64))))
        .expect("features");
    let [left, right] = [context, again].map(|context| {
        (
            model.qformer.query_pass(&context, 4).hidden,
            model.qformer.multimodal_pass(&context, &texts).expect("pass"),
        )
    });
    assert_close("query pass", left.0, right.0);
    assert_close("multimodal pass", left.1, right.1);
}

#[test]
fn embeddings_have_unit_length() {
    let (model, device) = (model(), Device::flex());
    let context = model.image_context(tiny::features(2, &device)).expect("features");
    let images = model.image_embeddings(model.qformer.query_pass(&context, 2).hidden);
    let texts = model.text_embeddings(&tiny::texts(2, &device)).expect("texts");
    let embedding = tiny::config().embedding_size;
    assert_eq!((images.dims()[2], texts.dims()), (embedding, [2, embedding]));
    assert_close(
        "images",
        (images.clone() * images).sum_dim(2).flatten::<1>(0, 2),
        Tensor::ones([10], &device),
    );
    assert_close(
        "texts",
        (texts.clone() * texts).sum_dim(1).flatten::<1>(0, 1),
        Tensor::ones([2], &device),
    );
}
