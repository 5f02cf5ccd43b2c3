//! What sampling draws for a picture, whatever stands beside it in the batch.

use blip2_generation::GenerationConfig;
use burn::tensor::Tensor;
use sha2::{Digest, Sha256};

/// For each row of `pixels` `[batch, 3, height, width]` with its prompt, the stream of its draws: the same for the same picture
/// and prompt, in every batch and at every place. Zeros where nothing is drawn.
pub(crate) fn streams<T: AsRef<str>>(
    pixels: &Tensor<4>,
    prompts: &[T],
    settings: &GenerationConfig,
) -> Vec<u64> {
    if !settings.sample {
        return vec![0; prompts.len()];
    }
    let data = pixels.clone().into_data();
    let bytes = data.as_bytes();
    let rows = bytes.chunks(bytes.len().div_ceil(prompts.len().max(1)).max(1));
    rows.zip(prompts)
        .map(|(row, prompt)| digest(&[row, prompt.as_ref().as_bytes()]))
        .collect()
}

/// A number that every byte of `parts`, one behind the other, decides.
pub(crate) fn digest(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let digest: [u8; 32] = hash.finalize().into();
    let [first, ..] = digest.as_chunks::<8>().0 else {
        return 0;
    };
    u64::from_le_bytes(*first)
}
