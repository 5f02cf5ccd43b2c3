//! What an error was caused by, for people.

use std::iter::successors;

/// `error` and its causes, the outermost first. A cause that its consequence has quoted is not said twice.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut last = error.to_string();
    for cause in successors(error.source(), |cause| cause.source()).map(ToString::to_string) {
        if !last.contains(&cause) {
            said.push(cause.clone());
        }
        last = cause;
    }
    said
}
