//! A language model: a recurrent network (Elman, 1990), and its vocabulary.

use std::collections::HashMap;

use anyhow::Result;
use blip2_core::layers::{Embedding, Linear};
use blip2_core::weights::fingerprint;
use blip2_core::{Initializer, LanguageModel, ModelError, NextTokenModel, OpenTexts, Segment, TextExample};
use blip2_llm_adapters::LanguageTokenizer;
use burn::module::Module;
use burn::tensor::activation::tanh;
use burn::tensor::{Int, Tensor, TensorData};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Tokenizer};

use crate::WIDTH;
use crate::pictures::COLOURS;

/// What ends a text.
const END: &str = "<end>";

/// Reads a soft prompt, then words.
#[derive(Module, Debug)]
pub(crate) struct Recurrent {
    words: Embedding,
    input: Linear,
    state: Linear,
    output: Linear,
}

impl Recurrent {
    pub(crate) fn new(initializer: &mut Initializer, vocabulary: usize) -> Self {
        Self {
            words: Embedding::new(initializer, vocabulary, WIDTH, 1.0),
            input: Linear::uniform(initializer, WIDTH, 2 * WIDTH),
            state: Linear::uniform(initializer, 2 * WIDTH, 2 * WIDTH),
            output: Linear::uniform(initializer, 2 * WIDTH, vocabulary),
        }
    }

    /// The state `[rows, 2 * width]` behind one more input `[rows, width]`.
    fn step(&self, state: Tensor<2>, input: Tensor<2>) -> Tensor<2> {
        tanh(self.input.forward(input) + self.state.forward(state))
    }

    /// Embeddings `[rows, width]` of one word a row.
    pub(crate) fn word(&self, ids: &[u32]) -> Tensor<2> {
        let values: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let ids = TensorData::new(values, [ids.len(), 1]);
        let ids = Tensor::<2, Int>::from_data(ids, &self.words.weight.lazy_device());
        self.words.forward(ids).squeeze_dim(1)
    }

    /// The states `[rows, places, 2 * width]` behind each row of `soft_prompt` `[rows, queries, width]` and each word of `texts`,
    /// where shorter ones go on with their last.
    fn read(&self, soft_prompt: Tensor<3>, texts: &[Vec<u32>]) -> Result<Tensor<3>, ModelError> {
        let [rows, queries, width] = soft_prompt.dims();
        if rows != texts.len() || rows == 0 || width != WIDTH {
            return Err(ModelError::Shape {
                tensor: "soft_prompt",
                expected: format!("[{}, queries, {WIDTH}]", texts.len()),
                actual: vec![rows, queries, width],
                hint: "give one row for each text, as wide as the word embeddings",
            });
        }
        texts.iter().try_for_each(|text| self.words.check(text))?;
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let mut state = Tensor::zeros([rows, 2 * WIDTH], &soft_prompt.device());
        let mut states = Vec::new();
        for place in 0..queries + longest {
            let input = match place.checked_sub(queries) {
                None => soft_prompt.clone().narrow(1, place, 1).squeeze_dim(1),
                Some(index) => {
                    let word = |text: &Vec<u32>| text.get(index).or(text.last()).copied().unwrap_or(0);
                    self.word(&texts.iter().map(word).collect::<Vec<_>>())
                }
            };
            state = self.step(state, input);
            states.push(state.clone());
        }
        if states.is_empty() {
            return Err(ModelError::Invalid("there is nothing to read".to_owned()));
        }
        Ok(Tensor::stack(states, 1))
    }
}

impl LanguageModel for Recurrent {
    fn fingerprint(&self) -> String {
        fingerprint(self)
    }

    fn hidden_size(&self) -> usize {
        WIDTH
    }

    fn embedding_deviation(&self) -> f64 {
        self.words.deviation()
    }

    fn word_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>, ModelError> {
        self.words.check(ids)?;
        let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::<2, Int>::from_data(
            TensorData::new(ids.clone(), [1, ids.len()]),
            &self.words.weight.lazy_device(),
        );
        let words = self.words.forward(ids);
        let [_, count, width] = words.dims();
        Ok(words.reshape([count, width]))
    }

    fn vocabulary_size(&self) -> usize {
        self.words.entries()
    }

    fn loss(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<1>, ModelError> {
        let queries = soft_prompt.dims()[1];
        let whole = examples
            .iter()
            .map(|example| [&example.prompt[..], &example.target].concat());
        let states = self.read(soft_prompt, &whole.collect::<Vec<_>>())?;
        let [rows, places, width] = states.dims();
        // A word is predicted by the state before it.
        let (mut from, mut targets) = (Vec::new(), Vec::new());
        for (row, example) in examples.iter().enumerate() {
            for (index, target) in example.target.iter().enumerate() {
                let place = (queries + example.prompt.len() + index).checked_sub(1);
                let place =
                    place.ok_or_else(|| ModelError::Invalid("nothing stands before a text".to_owned()))?;
                from.push((row * places + place) as i64);
                targets.push(i64::from(*target));
            }
        }
        if targets.is_empty() {
            return Err(ModelError::Invalid("no example has a target".to_owned()));
        }
        let list = |values: Vec<i64>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &states.device())
        };
        let states = states
            .clone()
            .reshape([rows * places, width])
            .select(0, list(from));
        Ok(self.output.cross_entropy(states, list(targets)))
    }

    fn logits(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<3>, ModelError> {
        let whole = examples
            .iter()
            .map(|example| [&example.prompt[..], &example.target].concat());
        Ok(self
            .output
            .forward(self.read(soft_prompt, &whole.collect::<Vec<_>>())?))
    }

    fn history(&self, prompt: &[u32]) -> Vec<u32> {
        prompt.to_vec()
    }

    fn start(
        &self,
        soft_prompt: Tensor<3>,
        prompts: &[Vec<u32>],
    ) -> Result<Box<dyn NextTokenModel + '_>, ModelError> {
        let queries = soft_prompt.dims()[1];
        let states = self.read(soft_prompt, prompts)?;
        let last = prompts.iter().enumerate().map(|(row, prompt)| {
            let place = (queries + prompt.len()).saturating_sub(1);
            states
                .clone()
                .narrow(0, row, 1)
                .narrow(1, place, 1)
                .squeeze_dim(1)
        });
        Ok(Box::new(Writing {
            model: self,
            state: Tensor::cat(last.collect(), 0),
        }))
    }

    /// A state is small, and made of a beginning at once: there is nothing worth remembering.
    fn open(&self, _remembered: usize) -> Box<dyn OpenTexts + '_> {
        Box::new(Writing {
            model: self,
            state: Tensor::zeros([0, 2 * WIDTH], &self.words.weight.lazy_device()),
        })
    }
}

/// Texts in the middle of being written.
struct Writing<'a> {
    model: &'a Recurrent,
    state: Tensor<2>,
}

impl NextTokenModel for Writing<'_> {
    fn logits(&self) -> Tensor<2> {
        self.model.output.forward(self.state.clone())
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let rows = self.state.dims()[0];
        if parents.len() != tokens.len() || parents.iter().any(|parent| *parent >= rows) {
            return Err(ModelError::Invalid(format!(
                "rows {parents:?} of {rows} cannot be continued"
            )));
        }
        self.model.words.check(tokens)?;
        if tokens.is_empty() {
            self.state = Tensor::zeros([0, 2 * WIDTH], &self.state.device());
            return Ok(());
        }
        let parents: Vec<i64> = parents.iter().map(|parent| *parent as i64).collect();
        let parents = TensorData::new(parents, [tokens.len()]);
        let parents = Tensor::<1, Int>::from_data(parents, &self.state.device());
        self.state = self
            .model
            .step(self.state.clone().select(0, parents), self.model.word(tokens));
        Ok(())
    }
}

impl OpenTexts for Writing<'_> {
    fn admit(&mut self, prompt: &[Segment]) -> Result<(), ModelError> {
        let read = |segment: &Segment| match segment {
            Segment::Ids(ids) => {
                self.model.words.check(ids)?;
                Ok(self.model.word(ids))
            }
            Segment::Soft(states) if states.dims()[1] == WIDTH => Ok(states.clone()),
            Segment::Soft(states) => Err(ModelError::Shape {
                tensor: "soft prompt",
                expected: format!("[queries, {WIDTH}]"),
                actual: states.dims().to_vec(),
                hint: "make it as wide as the word embeddings",
            }),
        };
        let segments = prompt.iter().filter(|segment| segment.places() > 0);
        let inputs = segments.map(read).collect::<Result<Vec<_>, _>>()?;
        if inputs.is_empty() {
            return Err(ModelError::Invalid("there is nothing to read".to_owned()));
        }
        // Words that are looked up are read as a soft prompt is.
        let soft = Tensor::cat(inputs, 0).unsqueeze();
        let states = self.model.read(soft, &[Vec::new()])?;
        let [_, places, _] = states.dims();
        let last = states.narrow(1, places - 1, 1).squeeze_dim(1);
        self.state = match self.state.dims() {
            [0, _] => last,
            _ => Tensor::cat(vec![self.state.clone(), last], 0),
        };
        Ok(())
    }

    fn room(&self, _prompt: &[Segment]) -> Option<usize> {
        None
    }
}

/// All words, one an id, behind the end of a text.
pub(crate) fn words() -> Result<LanguageTokenizer> {
    let colours = COLOURS.map(|(name, _)| name);
    let words = [END, "a", "square", "top", "bottom", "left", "right"]
        .into_iter()
        .chain(colours);
    let vocabulary: HashMap<String, u32> = words.zip(0..).map(|(word, id)| (word.to_owned(), id)).collect();
    let model = WordLevel::builder()
        .vocab(vocabulary.into_iter().collect())
        .unk_token(END.to_owned())
        .build();
    let mut tokenizer = Tokenizer::new(model.map_err(anyhow::Error::msg)?);
    tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    let end = AddedToken::from(END, true);
    tokenizer.add_special_tokens([end]).map_err(anyhow::Error::msg)?;
    Ok(LanguageTokenizer::from_parts(tokenizer, None, 0, None)?)
}
