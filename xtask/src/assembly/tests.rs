//! Small functions in assembly, built into the program of these tests and read back from it: what is right passes, and each
//! way of being wrong is told apart.

use std::arch::global_asm;
use std::collections::BTreeMap;
use std::env;

use super::program::{Function, functions};
use super::rules::{Findings, examine};

/// Puts a function into the program under its own name; `R`: also where nothing calls it.
macro_rules! function {
    ($name:literal: $($line:literal)+) => {
        global_asm!(
            concat!(".pushsection .text.", $name, ",\"axR\",@progbits"),
            concat!(".type ", $name, ",@function"),
            concat!($name, ":"),
            $($line,)+
            concat!(".size ", $name, ", . - ", $name),
            ".popsection"
        );
    };
}

// A product as it should be. What is stored after the loop, read from the stack, written to a result, or done before a panic
// is no matter.
function! {"listing_of_a_sum_in_a_register":
    "sub rsp, 136"
    "vxorps zmm0, zmm0, zmm0"
    "2:"
    "cmp rdx, rcx"
    "ja 3f"
    "vmovups zmm1, [rsi + rdx*4]"
    "vfmadd231ps zmm0, zmm1, [rsp]"
    "vmovups [rdi + rdx*4], zmm1"
    "add rdx, 16"
    "cmp rdx, r8"
    "jb 2b"
    "vmovups [rsp + 64], zmm0"
    "add rsp, 136"
    "ret"
    "3:"
    "call listing_of_a_panic"
    "ud2"
}

function! {"listing_of_a_panic":
    "ud2"
}

// What the iterators of `pairs.rs` became once: an array of sums on the stack through which an inner loop goes.
function! {"listing_of_an_array_of_sums_on_the_stack":
    "push rbp"
    "mov rbp, rsp"
    "and rsp, -64"
    "sub rsp, 512"
    "2:"
    "lea rax, [rsp + 64]"
    "mov r8d, 4"
    "3:"
    "vmovaps zmm0, [rax]"
    "vdpbf16ps zmm0, zmm1, [rsi]"
    "vmovaps [rax], zmm0"
    "add rax, 64"
    "dec r8"
    "jne 3b"
    "dec rdx"
    "jne 2b"
    "mov rsp, rbp"
    "pop rbp"
    "ret"
}

function! {"listing_of_an_array_of_results":
    "2:"
    "vmovups ymm0, [rdi]"
    "vfmadd231ps ymm0, ymm1, [rsi]"
    "vmovups [rdi], ymm0"
    "add rdi, 32"
    "dec rdx"
    "jne 2b"
    "ret"
}

function! {"listing_of_a_sum_at_one_address":
    "2:"
    "vmovups ymm0, [rdi + 32]"
    "vfmadd231ps ymm0, ymm1, [rsi]"
    "vmovups [rdi + 32], ymm0"
    "add rsi, 32"
    "dec rdx"
    "jne 2b"
    "ret"
}

// Two sums and one register for both, as where registers run out.
function! {"listing_of_a_spilled_sum":
    "sub rsp, 40"
    "2:"
    "vaddps ymm0, ymm0, [rsi]"
    "vmovups ymm1, [rsp]"
    "vaddps ymm1, ymm1, [rsi + 32]"
    "vmovups [rsp], ymm1"
    "add rsi, 64"
    "dec rdx"
    "jne 2b"
    "add rsp, 40"
    "ret"
}

function! {"listing_of_a_value_spilled_within_a_turn":
    "sub rsp, 40"
    "2:"
    "vmulps ymm1, ymm2, [rsi]"
    "vmovups [rsp], ymm1"
    "vaddps ymm0, ymm0, ymm1"
    "vmaxps ymm3, ymm3, [rsp]"
    "add rsi, 64"
    "dec rdx"
    "jne 2b"
    "add rsp, 40"
    "ret"
}

function! {"listing_of_a_call_in_a_hot_loop":
    "2:"
    "vfmadd231ps ymm0, ymm1, [rsi]"
    "call listing_of_an_array_of_results"
    "dec rdx"
    "jne 2b"
    "ret"
}

function! {"listing_of_a_step":
    "vfmadd231ps ymm0, ymm1, [rsi]"
    "ret"
}

function! {"listing_of_a_call_of_a_step":
    "2:"
    "add rsi, 32"
    "call listing_of_a_step"
    "dec rdx"
    "jne 2b"
    "vzeroupper"
    "ret"
}

// A call for a whole row of work is no step.
function! {"listing_of_a_call_of_a_loop":
    "2:"
    "add rsi, 4096"
    "call listing_of_an_array_of_results"
    "dec rdx"
    "jne 2b"
    "vzeroupper"
    "ret"
}

// For every processor: there is no `#[target_feature]` that could be lost.
function! {"listing_for_every_processor":
    "2:"
    "mulps xmm0, xmm1"
    "call listing_of_a_step"
    "dec rdx"
    "jne 2b"
    "ret"
}

// A loop that goes round through a table of jumps.
function! {"listing_of_a_table":
    "2:"
    "vaddps ymm0, ymm0, [rsi]"
    "jmp rax"
    "vmovups ymm1, [rsp - 64]"
    "vaddps ymm1, ymm1, [rsi + 32]"
    "vmovups [rsp - 64], ymm1"
    "dec rdx"
    "jne 2b"
    "ret"
}

fn program() -> BTreeMap<u64, Function> {
    let program = env::current_exe().expect("a program");
    functions(&program).expect("its functions")
}

fn findings(name: &str) -> Findings {
    let functions = program();
    let function = functions
        .values()
        .find(|function| function.name == format!("listing_{name}"))
        .unwrap_or_else(|| panic!("listing_{name} is not in the program"));
    examine(function, &functions)
}

fn complaints(name: &str) -> String {
    findings(name).complaints.join("\n")
}

#[test]
fn sums_in_registers_and_what_is_outside_of_hot_loops_pass() {
    for name in [
        "of_a_sum_in_a_register",
        "of_an_array_of_results",
        "of_a_value_spilled_within_a_turn",
    ] {
        let findings = findings(name);
        assert_eq!(findings.hot_loops, 1, "{name}");
        assert!(
            findings.complaints.is_empty(),
            "{name}: {:?}",
            findings.complaints
        );
    }
    for name in ["of_a_call_of_a_loop", "for_every_processor", "of_a_step"] {
        let findings = findings(name);
        assert_eq!(findings.hot_loops, 0, "{name}");
        assert!(
            findings.complaints.is_empty(),
            "{name}: {:?}",
            findings.complaints
        );
    }
}

#[test]
fn sums_in_memory_are_found() {
    for (name, store) in [
        ("of_an_array_of_sums_on_the_stack", "vmovaps [rax],zmm0"),
        ("of_a_sum_at_one_address", "vmovups [rdi+20h],ymm0"),
        ("of_a_spilled_sum", "vmovups [rsp],ymm1"),
        ("of_a_table", "vmovups [rsp-40h],ymm1"),
    ] {
        let complaints = complaints(name);
        assert!(
            complaints.ends_with(&format!("in memory: {store}")),
            "{name}: {complaints}"
        );
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
    }
}

#[test]
fn calls_in_hot_loops_are_found() {
    let complaints_of_call = complaints("of_a_call_in_a_hot_loop");
    assert!(
        complaints_of_call.ends_with("a hot loop calls listing_of_an_array_of_results"),
        "{complaints_of_call}"
    );
    let complaints_of_step = complaints("of_a_call_of_a_step");
    assert!(
        complaints_of_step.ends_with("a hot loop calls listing_of_a_step"),
        "{complaints_of_step}"
    );
}

#[test]
fn a_program_without_hot_loops_of_ours_proves_nothing() {
    let error = super::examine(&env::current_exe().expect("a program")).expect_err("no kernels");
    assert!(error.to_string().contains("keep its names"), "{error}");
}
