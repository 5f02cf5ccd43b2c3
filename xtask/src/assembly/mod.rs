//! What the compiler has made of our kernels. A function that a `#[target_feature]` function calls and that is not inlined
//! costs more than what it does, and sums that leave their registers cost a trip through memory at every step: both happen
//! without a word when the standard library's functions on arrays and iterators meet vectors. So the built program is
//! read back, and its hot loops, the innermost ones that compute with vectors, may neither call nor keep a sum in memory.

mod flow;
mod memory;
mod program;
mod rules;
mod stack;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::launch;

/// Examines `program`, by default `blip2` as it is built now, prints what is wrong and tells whether nothing is.
///
/// # Errors
/// The program cannot be built or read, or has no hot loop.
pub(crate) fn run(program: Option<PathBuf>) -> Result<bool> {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        println!("skipped: only what is built for x86-64 and Linux can be read back");
        return Ok(true);
    }
    let program = match program {
        Some(program) => program,
        None => launch::build("blip2")?,
    };
    let (hot_loops, complaints) = examine(&program)?;
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    println!("{hot_loops} hot loops, {} complaints", complaints.len());
    Ok(complaints.is_empty())
}

/// The number of hot loops of our crates in an x86-64 program, and what is wrong with them, a line each: function, address,
/// reason.
fn examine(program: &Path) -> Result<(usize, Vec<String>)> {
    let functions = program::functions(program)?;
    let mut hot_loops = 0;
    let mut complaints = Vec::new();
    for function in functions
        .values()
        .filter(|function| function.name.contains("blip2_"))
    {
        let mut findings = rules::examine(function, &functions);
        hot_loops += findings.hot_loops;
        complaints.append(&mut findings.complaints);
    }
    ensure!(
        hot_loops > 0,
        "{}: no loop of ours that computes with vectors is found in it: build it with optimisation, and keep its names",
        program.display()
    );
    Ok((hot_loops, complaints))
}
