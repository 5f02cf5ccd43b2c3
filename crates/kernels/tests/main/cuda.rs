//! The kernels for NVIDIA's GPUs on this processor: each instruction of a warp written out in C++ (`tests/cuda/emulated.hpp`), each
//! kernel held against its definition in double precision. A GPU decides whether the instructions do what is written there.

use std::path::Path;
use std::process::Command;

/// Compiles the check of one source, for rows of `width`, and runs it.
fn check(source: &str, width: usize) {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().expect("a folder for the check");
    let program = scratch.path().join("check");
    let compiled = Command::new(compiler())
        .args(["-std=c++20", "-O1", "-pthread"])
        .arg(format!("-DWIDTH={width}"))
        .arg("-I")
        .arg(crate_folder.join("src/gpu/cuda"))
        .arg(crate_folder.join("tests/cuda").join(source))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C++ compiler, which linking needs too: name one by CXX");
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{source} of width {width}: {errors}");
    let ran = Command::new(&program).output().expect("the check was compiled");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("ok"),
        "{source} of width {width}:\n{said}"
    );
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

#[test]
fn attention_is_its_definition() {
    for width in [16, 64, 88] {
        check("attention.cpp", width);
    }
}

#[test]
fn layer_norms_and_gradients_are_their_definitions() {
    for width in [128, 1408] {
        check("layer_norm.cpp", width);
    }
}

#[test]
fn activations_and_steps_are_their_definitions() {
    for at_once in [1, 2] {
        check("element_wise.cpp", at_once);
    }
}
