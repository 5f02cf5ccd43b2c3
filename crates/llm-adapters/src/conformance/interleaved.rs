//! Several pictures with their words, learned as one text.

use blip2_core::{ModelError, Segment};

use super::{Suite, Violation, broken, numbers, refused, scalar, surprise};

/// Pictures a text.
const PAIRS: usize = 2;

impl Suite<'_> {
    pub(super) fn pairs_of_one_text_are_learned_where_they_stand(&self) -> Result<(), Violation> {
        let property = "pictures and words in turn are learned as they are read";
        let mut examples = self.examples();
        examples.push(examples[0].clone());
        let soft = self.soft_prompt(examples.len());
        let alone = scalar(property, self.model.loss(soft.clone(), &examples))?;
        let same = scalar(property, self.model.interleaved_loss(soft.clone(), &examples, 1))?;
        self.near(property, "loss of one picture a text", &[same], &[alone])?;
        let together = match self.model.interleaved_loss(soft.clone(), &examples, PAIRS) {
            // A model may learn from one picture a text alone.
            Err(ModelError::Invalid(_)) => return Ok(()),
            loss => scalar(property, loss)?,
        };
        let (mut sum, mut tokens) = (0.0, 0);
        for (text, pairs) in examples.chunks(PAIRS).enumerate() {
            let mut read = Vec::new();
            for (number, pair) in pairs.iter().enumerate() {
                let picture = soft.clone().narrow(0, text * PAIRS + number, 1);
                read.push(Segment::Soft(picture.squeeze_dim(0)));
                read.push(Segment::Ids(pair.prompt.clone()));
                for target in &pair.target {
                    let mut open = self.model.open(0);
                    refused(property, open.admit(&read))?;
                    sum += surprise(&numbers(open.logits()), *target);
                    tokens += 1;
                    read.push(Segment::Ids(vec![*target]));
                }
            }
        }
        self.near(property, "loss", &[together], &[sum / f64::from(tokens)])?;
        for odd in [0, PAIRS + 1] {
            if self.model.interleaved_loss(soft.clone(), &examples, odd).is_ok() {
                return broken(
                    property,
                    format!("texts of {odd} out of {} were taken", examples.len()),
                );
            }
        }
        let tracked = soft.autodiff().require_grad();
        let loss = refused(
            property,
            self.model.interleaved_loss(tracked.clone(), &examples, PAIRS),
        )?;
        let gradient = tracked.grad(&loss.backward()).map(numbers).unwrap_or_default();
        let rows = gradient.chunks((gradient.len() / examples.len()).max(1));
        let reached = rows.filter(|row| row.iter().any(|value| *value != 0.0)).count();
        match reached == examples.len() {
            true => Ok(()),
            false => broken(
                property,
                format!("the gradient reaches {reached} of {} pictures", examples.len()),
            ),
        }
    }
}
