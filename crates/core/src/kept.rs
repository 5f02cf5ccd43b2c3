//! What a language model keeps between texts, which nobody else can look into.

use std::any::Any;
use std::fmt;

/// What a language model made of the beginnings of texts, on its way from one place of writing to the next
/// ([`crate::OpenTexts::release`], [`crate::OpenTexts::recall`]); by default nothing.
#[derive(Default)]
pub struct KeptBeginnings(Option<Box<dyn Any + Send>>);

impl KeptBeginnings {
    /// `kept`, whatever it is.
    pub fn new(kept: impl Any + Send) -> Self {
        Self(Some(Box::new(kept)))
    }

    /// What is kept, where it is a `T`; nothing where another kind of model kept it.
    pub fn take<T: Any>(self) -> Option<T> {
        let kept = self.0?.downcast().ok()?;
        Some(*kept)
    }
}

impl fmt::Debug for KeptBeginnings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let something = self.0.is_some();
        formatter.debug_tuple("KeptBeginnings").field(&something).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_given_to_its_own_kind_alone() {
        assert_eq!(KeptBeginnings::new(7u32).take::<u32>(), Some(7));
        assert_eq!(KeptBeginnings::new(7u32).take::<String>(), None);
        assert_eq!(KeptBeginnings::default().take::<u32>(), None);
    }
}
