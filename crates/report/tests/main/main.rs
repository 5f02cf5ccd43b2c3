//! The report as a reader finds it: the files in the run folder.

mod example;
mod page;
mod refusals;
mod round_trip;
