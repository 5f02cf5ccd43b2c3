//! The Java scorers: METEOR's own program where `BLIP2_METEOR_JAR` names it, and the conversation with stand-ins that
//! answer by the same rules.

use blip2_evaluation::EvaluationError;
use blip2_evaluation::caption::java::{Jar, JavaError, meteor, spice};
use blip2_evaluation::caption::{CaptionedImage, tokenised};
use blip2_golden::Check;

use crate::caption::{Captions, one};
use crate::golden::scores;

#[test]
#[ignore = "needs Java, and the path of meteor-1.5.jar in BLIP2_METEOR_JAR"]
fn golden_meteor_is_that_of_the_original() {
    const FILE: &str = "metrics/captions.json";
    let Some(golden) = scores::<Captions>(FILE) else {
        return;
    };
    let jar = std::env::var_os("BLIP2_METEOR_JAR").expect("BLIP2_METEOR_JAR is set");
    let found = meteor(&tokenised(&golden.raw()), &Jar::new(jar)).unwrap();
    golden.check(&mut Check::new(FILE), "METEOR", &found);
}

fn images() -> Vec<CaptionedImage> {
    vec![
        one("a dog ||| runs\naway", &["a dog flees", "the dog runs"]),
        one("two cats", &["two cats sleep"]),
    ]
}

#[test]
fn what_is_missing_is_named() {
    let absent = Jar::new("nowhere/meteor-1.5.jar");
    let error = meteor(&images(), &absent).unwrap_err();
    assert!(matches!(error, JavaError::NoJar { .. }) && error.to_string().contains("nowhere/meteor-1.5.jar"));
    assert!(matches!(spice(&images(), &absent), Err(JavaError::NoJar { .. })));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meteor-1.5.jar");
    std::fs::write(&path, "").unwrap();
    let no_java = Jar {
        java: folder.path().join("no-java"),
        path,
    };
    let error = meteor(&images(), &no_java).unwrap_err();
    assert!(matches!(error, JavaError::NoJava { .. }) && error.to_string().contains("no-java"));
}

#[test]
fn images_without_references_are_refused_before_anything_is_run() {
    let absent = Jar::new("nowhere.jar");
    for unjudged in [vec![], vec![one::<&str>("a", &[])]] {
        for error in [
            meteor(&unjudged, &absent).unwrap_err(),
            spice(&unjudged, &absent).unwrap_err(),
        ] {
            let JavaError::Evaluation(error) = error else {
                panic!("{error}");
            };
            assert!(matches!(
                error,
                EvaluationError::Empty { .. } | EvaluationError::NoReference { image: 0 }
            ));
        }
    }
}

#[cfg(unix)]
mod conversation {
    use super::*;

    /// A shell script in the place of a jar, and of SPICE's parser.
    fn stand_in(folder: &tempfile::TempDir, script: &str) -> Jar {
        let path = folder.path().join("scorer.jar");
        std::fs::write(&path, script).unwrap();
        std::fs::create_dir_all(folder.path().join("lib")).unwrap();
        for parser in ["stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"] {
            std::fs::write(folder.path().join("lib").join(parser), "").unwrap();
        }
        let java = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/java").into();
        Jar { path, java }
    }

    fn reason(error: JavaError) -> (String, String) {
        match error {
            JavaError::Failed {
                reason, complaints, ..
            } => (reason, complaints),
            error => panic!("{error}"),
        }
    }

    #[test]
    fn meteor_is_asked_a_line_an_image_and_then_for_the_scores() {
        let folder = tempfile::tempdir().unwrap();
        let jar = stand_in(
            &folder,
            r#"while read -r line; do
                echo "$line" >> heard
                case $line in SCORE*) echo "1.0 2.0";; EVAL*) echo 0.25; echo 0.75; echo 0.4;; esac
            done"#,
        );
        let found = meteor(&images(), &jar).unwrap();
        assert_eq!((found.corpus, found.per_image), (0.4, vec![0.25, 0.75]));
        let heard = std::fs::read_to_string(folder.path().join("heard")).unwrap();
        assert_eq!(
            heard.lines().collect::<Vec<_>>(),
            [
                "SCORE ||| a dog flees ||| the dog runs ||| a dog runs away",
                "SCORE ||| two cats sleep ||| two cats",
                "EVAL ||| 1.0 2.0 ||| 1.0 2.0"
            ]
        );
    }

    #[test]
    fn a_program_that_answers_nonsense_or_ends_is_told_of_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let nonsense = stand_in(&folder, "while read -r line; do echo hello; done");
        let (why, _) = reason(meteor(&images(), &nonsense).unwrap_err());
        assert!(why.contains("`hello`"), "{why}");
        let ended = stand_in(&folder, "echo out of memory >&2; exit 3");
        let (_, complaints) = reason(meteor(&images(), &ended).unwrap_err());
        assert_eq!(complaints, "out of memory");
        let (why, complaints) = reason(spice(&images(), &ended).unwrap_err());
        assert!(why.contains('3') && complaints == "out of memory", "{why}");
    }

    #[test]
    fn spice_without_its_parser_is_not_started() {
        let folder = tempfile::tempdir().unwrap();
        let jar = stand_in(&folder, "exit 1");
        std::fs::remove_file(folder.path().join("lib/stanford-corenlp-3.6.0-models.jar")).unwrap();
        let error = spice(&images(), &jar).unwrap_err();
        assert!(matches!(error, JavaError::NoParser { .. }) && error.to_string().contains("3.6.0-models"));
    }

    #[test]
    fn spice_is_given_captions_and_gives_scores_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let jar = stand_in(
            &folder,
            r#"cp "$captions" heard.json
            echo '[{"image_id": 1, "scores": {"All": {"pr": 1, "re": 1, "f": 0.5}}},
                   {"image_id": 0, "scores": {"All": {"f": 0.25}, "Color": {"f": null}}}]' > "$scores""#,
        );
        let found = spice(&images(), &jar).unwrap();
        assert_eq!((found.corpus, found.per_image), (0.375, vec![0.25, 0.5]));
        let heard = std::fs::read_to_string(folder.path().join("heard.json")).unwrap();
        let heard: serde_json::Value = serde_json::from_str(&heard).unwrap();
        assert_eq!(heard[1]["test"], "two cats");
        assert_eq!(heard[0]["refs"][1], "the dog runs");
    }

    #[test]
    fn an_image_that_spice_leaves_out_is_an_error_and_one_without_a_score_is_not_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let partial = r#"echo '[{"image_id": 0, "scores": {"All": {"f": null}}}]' > "$scores""#;
        let jar = stand_in(&folder, partial);
        let (why, _) = reason(spice(&images(), &jar).unwrap_err());
        assert!(why.contains("left out"), "{why}");
        let found = spice(&images()[..1], &jar).unwrap();
        assert!(found.corpus.is_nan() && found.per_image[0].is_nan());
    }
}
