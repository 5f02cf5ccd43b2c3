//! What a hot loop may not do.

use std::collections::BTreeMap;

use iced_x86::{EncodingKind, FastFormatter, FlowControl, Instruction};

use super::flow::Flow;
use super::memory::stored_sums;
use super::program::Function;

/// What was found in a function.
#[derive(Default)]
pub(super) struct Findings {
    /// Innermost loops that compute with vectors.
    pub(super) hot_loops: usize,
    /// What is wrong with them, a line each.
    pub(super) complaints: Vec<String>,
}

/// Looks at the loops of a function that is compiled for more than what every processor has.
pub(super) fn examine(function: &Function, functions: &BTreeMap<u64, Function>) -> Findings {
    let code = &function.instructions;
    let mut findings = Findings::default();
    if code
        .iter()
        .all(|instruction| instruction.encoding() == EncodingKind::Legacy)
    {
        return findings;
    }
    let flow = Flow::of(code);
    for turn in flow.innermost_loops() {
        let is_hot = turn.places.iter().any(|place| computes(&code[*place]));
        let mut complain = |place: usize, what: &str| {
            let (name, address) = (&function.name, code[place].ip());
            findings
                .complaints
                .push(format!("{name} at {address:#x}: {what}"));
        };
        for &place in &turn.places {
            if let FlowControl::Call | FlowControl::IndirectCall = code[place].flow_control() {
                let called = functions.get(&code[place].near_branch_target());
                // What has a loop of its own is worth a call, unless vectors have to wait for it.
                if is_hot || called.is_some_and(is_step) {
                    let called = called.map_or("what is not known", |called| &*called.name);
                    complain(place, &format!("a hot loop calls {called}"));
                }
            }
        }
        if is_hot {
            findings.hot_loops += 1;
            for place in stored_sums(&flow, code, &turn) {
                complain(
                    place,
                    &format!("a hot loop keeps a sum in memory: {}", text(&code[place])),
                );
            }
        }
    }
    findings
}

/// Whether a function computes with vectors and has no loop: a step of its caller's loop.
fn is_step(function: &Function) -> bool {
    let code = &function.instructions;
    code.iter().any(computes) && Flow::of(code).innermost_loops().is_empty()
}

/// Whether an instruction adds or multiplies several numbers at a time.
fn computes(instruction: &Instruction) -> bool {
    let name = format!("{:?}", instruction.mnemonic()).to_lowercase();
    let name = name.strip_prefix('v').unwrap_or(&name);
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    match name.ends_with("ps") || name.ends_with("pd") {
        true => begins(&["add", "sub", "mul", "div", "fm", "fnm", "max", "min", "dp", "tdp"]),
        false => begins(&["padd", "pmul", "pmadd", "pdp", "tdp"]),
    }
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    FastFormatter::new().format(instruction, &mut text);
    text
}
