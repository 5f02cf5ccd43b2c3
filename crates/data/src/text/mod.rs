//! Text: cleaned as LAVIS cleans it, cut into BERT's word pieces for the Q-Former.

mod clean;
mod error;
mod tokenizer;

pub use clean::{MAX_WORDS, caption, question};
pub use error::TextError;
pub use tokenizer::{BertTokenizer, Padding, TokenBatch};
