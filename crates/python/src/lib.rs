//! The Python package `blip2`. This is its module `blip2._blip2`; `python/blip2` gives its names out, with types and exceptions.
//!
//! All that takes long is done on threads of its own (`work.rs`), so that Python's other threads run meanwhile, Ctrl-C is heard, and
//! a panic ends a call instead of the interpreter.

mod arrays;
mod chat;
mod failure;
mod load;
mod model;
mod options;
mod pictures;
mod stream;
mod work;
mod written;

// The allocator of all our programs.
use blip2_memory as _;

#[pyo3::pymodule]
mod _blip2 {
    #[pymodule_export]
    use crate::chat::Chat;
    #[pymodule_export]
    use crate::load::load;
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::written::{Match, Text};
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
