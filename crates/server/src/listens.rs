//! Somebody who waits for what a worker does.

use blip2::StopFlag;

/// Once it is dropped, which happens where a client is gone or its time is up, the work is given up.
pub(crate) struct Listens(StopFlag);

impl Listens {
    /// Somebody, and the flag that is raised once he is gone.
    pub(crate) fn new() -> (Self, StopFlag) {
        let flag = StopFlag::default();
        (Self(flag.clone()), flag)
    }
}

impl Drop for Listens {
    fn drop(&mut self) {
        self.0.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_not_worked_for() {
        let (listens, flag) = Listens::new();
        assert!(!flag.is_raised());
        drop(listens);
        assert!(flag.is_raised());
    }
}
