//! Texts that join others, are over before them, and begin as one before them did.

use blip2_core::{OpenTexts, Segment};
use burn::tensor::Tensor;

use super::{QUERIES, Suite, Violation, broken, numbers, refused, shape};

/// Enough that no beginning of the suite is forgotten.
const REMEMBERED: usize = 1 << 24;

/// A text with a soft prompt of its own, and what is fed behind its prompt.
struct Text {
    soft: usize,
    prompt: Vec<u32>,
    fed: Vec<u32>,
}

impl Suite<'_> {
    pub(super) fn texts_join_at_any_time(&self) -> Result<(), Violation> {
        let property = "a text that joins others is given what it is given alone";
        let text = |soft, prompt: &[u32]| Text {
            soft,
            prompt: prompt.to_vec(),
            fed: Vec::new(),
        };
        for remembered in [0, REMEMBERED] {
            let mut open = self.model.open(remembered);
            shape(property, &open.logits(), [0, self.model.vocabulary_size()])?;
            let mut texts = Vec::new();
            // Of different lengths, at different times; the second begins as the first did, and the last is the same again.
            for (first, joining) in [
                text(0, &[3, 5, 4, 6]),
                text(0, &[3, 5, 7]),
                text(1, &[]),
                text(0, &[3, 5, 4, 6]),
            ]
            .into_iter()
            .enumerate()
            {
                self.admit(open.as_mut(), &joining)?;
                texts.push(joining);
                self.are_as_alone(property, open.as_ref(), &texts)?;
                let next: Vec<u32> = (0..texts.len() as u32)
                    .map(|row| 3 + (row + first as u32) % 5)
                    .collect();
                let all: Vec<usize> = (0..texts.len()).collect();
                self.feed(open.as_mut(), &mut texts, &all, &next)?;
                self.are_as_alone(property, open.as_ref(), &texts)?;
            }
            // One is over, one goes on twice.
            self.feed(open.as_mut(), &mut texts, &[3, 1, 1], &[4, 6, 7])?;
            self.are_as_alone(property, open.as_ref(), &texts)?;
            self.feed(open.as_mut(), &mut texts, &[], &[])?;
            shape(property, &open.logits(), [0, self.model.vocabulary_size()])?;
            let again = text(1, &[5]);
            self.admit(open.as_mut(), &again)?;
            self.are_as_alone(property, open.as_ref(), &[again])?;
        }
        Ok(())
    }

    pub(super) fn what_is_kept_is_of_use_to_others(&self) -> Result<(), Violation> {
        let property = "a text that begins as one of other texts did is given what it is given alone";
        let text = |prompt: &[u32]| Text {
            soft: 0,
            prompt: prompt.to_vec(),
            fed: Vec::new(),
        };
        let mut before = self.model.open(REMEMBERED);
        self.admit(before.as_mut(), &text(&[3, 5, 4]))?;
        if before.reused() > 0 {
            return broken(property, "the very first text is said to be known".to_owned());
        }
        let kept = before.release();
        let mut open = self.model.open(REMEMBERED);
        open.recall(kept);
        let mut texts = vec![text(&[3, 5, 4, 6, 7])];
        self.admit(open.as_mut(), &texts[0])?;
        if open.reused() >= QUERIES + texts[0].prompt.len() {
            return broken(
                property,
                "more places are said to be known than were read".to_owned(),
            );
        }
        self.are_as_alone(property, open.as_ref(), &texts)?;
        self.feed(open.as_mut(), &mut texts, &[0], &[3])?;
        self.are_as_alone(property, open.as_ref(), &texts)
    }

    pub(super) fn pictures_stand_between_words(&self) -> Result<(), Violation> {
        let property = "a soft prompt behind words is read where it stands";
        let soft = |number| Segment::Soft(self.soft_prompt(2).narrow(0, number, 1).squeeze_dim(0));
        let words = |ids: &[u32]| Segment::Ids(ids.to_vec());
        let logits = |prompt: &[Segment]| {
            let mut open = self.model.open(REMEMBERED);
            refused(property, open.admit(prompt))?;
            Ok(numbers(open.logits()))
        };
        let between = logits(&[soft(0), words(&[3, 4]), soft(1), words(&[5])])?;
        let cut = logits(&[
            soft(0),
            words(&[3]),
            words(&[4]),
            words(&[]),
            soft(1),
            words(&[5]),
        ])?;
        self.near(property, "logits of words in pieces", &cut, &between)?;
        let others = [
            (
                "in front of the words",
                logits(&[soft(0), soft(1), words(&[3, 4, 5])])?,
            ),
            (
                "of another picture",
                logits(&[soft(0), words(&[3, 4]), soft(0), words(&[5])])?,
            ),
        ];
        match others.iter().find(|(_, logits)| *logits == between) {
            Some((what, _)) => broken(property, format!("it gives what one {what} gives")),
            None => Ok(()),
        }
    }

    pub(super) fn what_cannot_join_is_an_error(&self) -> Result<(), Violation> {
        let property = "a bad prompt is an error and leaves the others alone";
        let mut open = self.model.open(REMEMBERED);
        let good = Text {
            soft: 0,
            prompt: vec![3],
            fed: Vec::new(),
        };
        self.admit(open.as_mut(), &good)?;
        let outside = self.model.vocabulary_size() as u32;
        let wide = Tensor::cat(vec![self.soft_prompt(1), self.soft_prompt(1)], 2).squeeze_dim(0);
        for (what, prompt) in [
            ("an empty prompt", vec![]),
            ("a prompt of empty pieces", vec![Segment::Ids(vec![])]),
            (
                "a prompt outside of the vocabulary",
                vec![Segment::Ids(vec![outside])],
            ),
            ("a soft prompt of another width", vec![Segment::Soft(wide)]),
        ] {
            if open.admit(&prompt).is_ok() {
                return broken(property, format!("{what} was taken"));
            }
        }
        let prompt = self.segments(&good);
        if let Some(room) = open.room(&prompt) {
            let long = vec![Segment::Ids(vec![3; room + 2])];
            if open.admit(&[&prompt[..], &long].concat()).is_ok() {
                return broken(
                    property,
                    "more tokens than there is room for were taken".to_owned(),
                );
            }
        }
        self.are_as_alone(property, open.as_ref(), &[good])
    }

    fn segments(&self, text: &Text) -> Vec<Segment> {
        let soft = self.soft_prompt(2).narrow(0, text.soft, 1).squeeze_dim(0);
        vec![Segment::Soft(soft), Segment::Ids(text.prompt.clone())]
    }

    fn admit(&self, open: &mut dyn OpenTexts, text: &Text) -> Result<(), Violation> {
        refused("a good prompt is taken", open.admit(&self.segments(text)))
    }

    fn feed(
        &self,
        open: &mut dyn OpenTexts,
        texts: &mut Vec<Text>,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<(), Violation> {
        refused("rows go on, or are over", open.advance(parents, tokens))?;
        *texts = parents
            .iter()
            .zip(tokens)
            .map(|(parent, token)| Text {
                soft: texts[*parent].soft,
                prompt: texts[*parent].prompt.clone(),
                fed: [&texts[*parent].fed[..], &[*token]].concat(),
            })
            .collect();
        Ok(())
    }

    /// Whether each row has the logits of its text by itself.
    fn are_as_alone(
        &self,
        property: &'static str,
        open: &dyn OpenTexts,
        texts: &[Text],
    ) -> Result<(), Violation> {
        let logits = open.logits();
        shape(property, &logits, [texts.len(), self.model.vocabulary_size()])?;
        for (row, text) in texts.iter().enumerate() {
            let soft = self.soft_prompt(2).narrow(0, text.soft, 1);
            let mut alone = self.start(property, soft, std::slice::from_ref(&text.prompt))?;
            for token in &text.fed {
                refused(property, alone.advance(&[0], &[*token]))?;
            }
            let own = numbers(logits.clone().narrow(0, row, 1));
            self.near(property, "logits", &own, &numbers(alone.logits()))?;
        }
        Ok(())
    }
}
