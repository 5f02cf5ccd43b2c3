//! The kernels for NVIDIA's GPUs on this processor: each instruction of a warp written out in C++ (`tests/cuda/emulated.hpp`), each
//! kernel held against its definition in double precision. A GPU decides whether the instructions do what is written there.
//!
//! They take a C++ compiler: `cargo test --release --workspace --test main -- --ignored gpu_kernels::`.

use std::path::Path;
use std::process::Command;

/// Compiles a check with these definitions, and runs it.
fn check(source: &str, definitions: &[&str]) {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().expect("a folder for the check");
    let program = scratch.path().join("check");
    let compiled = Command::new(compiler())
        .args(["-std=c++20", "-O1", "-pthread"])
        .args(definitions.iter().map(|definition| format!("-D{definition}")))
        .arg("-I")
        .arg(crate_folder.join("src/gpu/cuda"))
        .arg(crate_folder.join("tests/cuda").join(source))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C++ compiler: name one by CXX");
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(
        compiled.status.success(),
        "{source} with {definitions:?}: {errors}"
    );
    let ran = Command::new(&program).output().expect("the check was compiled");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("ok"),
        "{source} with {definitions:?}:\n{said}"
    );
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

#[test]
#[ignore = "takes a C++ compiler"]
fn attention_is_its_definition() {
    for width in ["WIDTH=16", "WIDTH=64", "WIDTH=88"] {
        check("attention.cpp", &[width]);
        check("attention_backward.cpp", &[width]);
    }
}

#[test]
#[ignore = "takes a C++ compiler"]
fn attention_in_single_precision_is_its_definition() {
    for width in ["WIDTH=7", "WIDTH=80"] {
        check("attention.cpp", &[width, "SINGLE"]);
        check("attention_backward.cpp", &[width, "SINGLE"]);
    }
}

#[test]
#[ignore = "takes a C++ compiler"]
fn attention_in_slots_is_its_definition() {
    for width in ["WIDTH=7", "WIDTH=80"] {
        check("attention_in_slots.cpp", &[width]);
        check("attention_in_slots.cpp", &[width, "SINGLE"]);
    }
}

#[test]
#[ignore = "takes a C++ compiler"]
fn layer_norms_and_gradients_are_their_definitions() {
    for width in ["WIDTH=128", "WIDTH=1408"] {
        check("layer_norm.cpp", &[width]);
    }
}

#[test]
#[ignore = "takes a C++ compiler"]
fn activations_steps_and_sums_are_their_definitions() {
    for at_once in ["WIDTH=1", "WIDTH=2"] {
        check("element_wise.cpp", &[at_once]);
    }
}
