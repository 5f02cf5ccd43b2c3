//! Settings of a thread that hold while a function runs.

use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `run` with `setting` at `value`, and puts back what it was, whatever happens.
pub(crate) fn scoped<T: Copy + 'static, R>(
    setting: &'static LocalKey<Cell<T>>,
    value: T,
    run: impl FnOnce() -> R,
) -> R {
    struct Restore<T: Copy + 'static>(&'static LocalKey<Cell<T>>, T);
    impl<T: Copy> Drop for Restore<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(setting, setting.replace(value));
    run()
}
