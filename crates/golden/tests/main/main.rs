//! A check that cannot fail proves nothing: what must fail does, and what is logged can be read back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use blip2_golden::{Array, Check, Comparison, Line, Measure, each, models, tolerance, variants};

/// The message with which a check of `compare` fails, `None` if it passes.
fn failure(compare: impl FnOnce(&mut Check)) -> Option<String> {
    panic(|| compare(&mut Check::new("parts/none")))
}

/// The message with which `act` panics, `None` if it does not.
fn panic(act: impl FnOnce()) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(act));
    outcome
        .err()
        .map(|panic| *panic.downcast::<String>().expect("a message"))
}

fn array(shape: &[usize], values: &[f64]) -> Array {
    Array {
        shape: shape.to_vec(),
        values: values.to_vec(),
    }
}

#[test]
fn what_is_near_passes_and_what_is_far_does_not() {
    let expected = array(&[2, 2], &[0.0, 1.0, -4.0, 2.0]);
    let near = array(&[2, 2], &[4e-4, 1.0, -4.0, 2.0]);
    let far = array(&[2, 2], &[1e-3, 1.0, -4.0, 2.0]);
    assert_eq!(failure(|check| check.close("a", &near, &expected, 1e-4)), None);
    let message = failure(|check| check.close("a/0", &far, &expected, 1e-4)).expect("too far");
    assert!(
        message.contains("FAIL parts/none/a/0 1.00e-3 4.00e-4"),
        "{message}"
    );
    assert!(failure(|check| check.absolute("a", &near, &expected, 1e-4)).is_some());
    assert_eq!(failure(|check| check.absolute("a", &near, &expected, 1e-3)), None);
}

#[test]
fn a_value_that_is_no_number_and_another_shape_are_never_near() {
    let expected = array(&[3], &[1.0, 2.0, 3.0]);
    for actual in [
        array(&[3], &[f64::NAN, 2.0, 3.0]),
        array(&[3], &[1.0, f64::INFINITY, 3.0]),
        array(&[1, 3], &[1.0, 2.0, 3.0]),
        array(&[2], &[1.0, 2.0]),
    ] {
        assert!(failure(|check| check.close("a", &actual, &expected, 0.5)).is_some());
        assert!(failure(|check| check.absolute("a", &actual, &expected, 0.5)).is_some());
    }
    let unknown = array(&[1], &[f64::NAN]);
    assert!(failure(|check| check.close("a", &[0.0], &unknown, 0.5)).is_some());
    let nothing = array(&[0], &[]);
    assert!(failure(|check| check.close("a", &nothing, &nothing, 0.5)).is_some());
    let scalar = array(&[], &[2.0]);
    assert_eq!(
        failure(|check| check.close("a", &array(&[1], &[2.0]), &scalar, tolerance::LOSS)),
        None
    );
}

#[test]
fn a_floor_lets_rounding_pass_and_nothing_that_is_wrong() {
    let expected = array(&[2], &[1e-5, -4e-6]);
    let off = |difference: f64| array(&[2], &[1e-5, -4e-6 + difference]);
    let fails = |difference: f64, floor: f64| {
        failure(|check| check.close_above("a", &off(difference), &expected, 1e-4, floor)).is_some()
    };
    // 1e-4 of the largest is 1e-9.
    assert!(fails(2e-9, 0.0) && !fails(2e-9, 3e-9) && fails(4e-9, 3e-9));
    assert!(
        !fails(0.9e-9, 1e-12),
        "a floor below the tolerance asks for no more"
    );
    for floor in [1e-3, f64::INFINITY] {
        assert!(
            fails(1.1e-7, floor),
            "more than 1% of the largest, whatever the floor"
        );
    }
    assert!(fails(2e-9, f64::NAN), "a floor that is no number is none");
}

#[test]
fn lists_are_identical_or_not() {
    assert_eq!(
        failure(|check| check.identical("ids", &[1, 2, 3], &[1, 2, 3])),
        None
    );
    assert!(failure(|check| check.identical("ids", &[1, 2], &[1, 2, 3])).is_some());
    let message = failure(|check| check.identical("ids", &[1, 9, 9], &[1, 2, 3])).expect("other ids");
    assert!(
        message.contains("ids 2 0") && message.contains("[1, 9, 9] instead of [1, 2, 3]"),
        "{message}"
    );
}

#[test]
fn all_failures_are_listed_and_a_check_of_nothing_is_one() {
    let message = failure(|check| {
        check.close("first", &[1.0], &[2.0], 1e-3);
        check.close("second", &[2.0], &[2.0], 1e-3);
        check.identical("third", &["a"], &["b"]);
    })
    .expect("two failures");
    assert!(
        message.contains("first") && !message.contains("second") && message.contains("third"),
        "{message}"
    );
    let message = failure(|_| ()).expect("nothing compared");
    assert!(message.contains("nothing was compared"), "{message}");
}

#[test]
fn a_case_that_fails_leaves_no_other_unproven() {
    let mut seen = Vec::new();
    let message = panic(|| {
        each([1, 2, 3, 4], |case| {
            seen.push(case);
            let mut check = Check::new(&format!("parts/{case}"));
            assert!(case != 2, "the second is damaged");
            check.identical("ids", &[case.min(3)], &[case]);
        });
    });
    assert_eq!(seen, [1, 2, 3, 4]);
    let message = message.expect("two failures");
    for part in ["the second is damaged", "FAIL parts/4/ids 1 0"] {
        assert!(message.contains(part), "no `{part}`: {message}");
    }
    assert!(
        !message.contains("parts/1") && !message.contains("parts/3"),
        "{message}"
    );
    assert_eq!(panic(|| each([0; 0], |_| ())), None);
}

#[test]
fn lines_of_the_log_are_read_back() {
    for measure in [
        Measure::Largest { tolerance: 2e-4 },
        Measure::Absolute,
        Measure::Identical,
    ] {
        let comparison = Comparison {
            subject: "parts/opt".to_owned(),
            what: "logits".to_owned(),
            difference: f64::INFINITY,
            allowed: 1.25e-5,
            measure,
            package: "blip2-llm-adapters".to_owned(),
            test: "golden::opt".to_owned(),
        };
        let line = Line::Compared(comparison);
        assert_eq!(line.to_string().parse::<Line>().expect("a line"), line);
    }
    let line = Line::Taken {
        file: "parts/opt/expected.safetensors".to_owned(),
        tensor: "a name with spaces".to_owned(),
    };
    assert_eq!(line.to_string().parse::<Line>().expect("a line"), line);
    for wrong in ["", "read", "compared\ta\tb\tfar\t1\tabsolute\tp\tt"] {
        assert!(wrong.parse::<Line>().is_err(), "{wrong}");
    }
}

#[test]
fn models_are_found_by_what_they_are() {
    for model in models("OPTForCausalLM") {
        assert_eq!(model.config["model_type"], "opt");
        let expected = model.expected();
        assert!(expected.shape("loss").is_empty());
        let logits = expected.array("logits");
        assert_eq!(logits.shape.iter().product::<usize>(), logits.values.len());
        assert!(logits.largest() > 0.0);
    }
    for encoder in variants("lavis/stage1_", "_io.safetensors") {
        assert!(!encoder.contains('/'), "{encoder}");
    }
}
