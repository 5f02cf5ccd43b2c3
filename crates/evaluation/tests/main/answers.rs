//! Answers outside of VQAv2: exact ones, base forms, kinds that no file tells.

use blip2_evaluation::EvaluationError;
use blip2_evaluation::official::{Document, Id, domains};
use blip2_evaluation::vqa::{exact_accuracy, lemmatise, vqa_accuracy, without_types};

#[test]
fn an_exact_answer_is_right_once_it_is_normalised() {
    let predictions = ["a  Dog.", "two", "two", "no", "a fox", "t-shirt", "blue"];
    let truths = ["dog", "2", "two", "no", "a fox", "t-shirt", "red"];
    assert_eq!(
        exact_accuracy(&predictions, &truths).unwrap(),
        [100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 0.0]
    );
    let none: [&str; 0] = [];
    assert_eq!(
        exact_accuracy(&none, &none).unwrap_err(),
        EvaluationError::Empty { what: "questions" }
    );
    assert!(exact_accuracy(&["a"], &["a", "b"]).is_err());
}

#[test]
fn the_answer_that_most_people_give_tells_the_kind() {
    let kind = |answers: &[(&str, usize)]| {
        let answers: Vec<(String, usize)> = answers
            .iter()
            .map(|(text, count)| ((*text).to_owned(), *count))
            .collect();
        without_types("What Is this?", &answers)
    };
    let question = kind(&[("red", 3), ("yes", 7)]);
    assert_eq!(
        (question.question_type.as_str(), question.answer_type.as_str()),
        ("what is", "yes/no")
    );
    assert_eq!(question.answers.len(), 10);
    assert_eq!(kind(&[("2", 5), ("yes", 5)]).answer_type, "number");
    assert_eq!(
        kind(&[("unanswerable", 9), ("red", 1)]).answer_type,
        "unanswerable"
    );
    assert_eq!(kind(&[("blue", 1)]).answer_type, "other");
    // People who say the same are still as many.
    let agreed = kind(&[("blue", 4), ("red", 6)]);
    assert_eq!(vqa_accuracy(&["blue"], &[agreed]).unwrap().overall, 100.0);
}

#[test]
fn base_forms_are_those_of_a_dictionary() {
    for (answer, base) in [
        ("dogs", "dog"),
        ("surfing", "surf"),
        ("skateboarding", "skateboard"),
        ("running", "run"),
        ("skating", "skate"),
        ("riding bikes", "ride bike"),
        ("cherries", "cherry"),
        ("boxes", "box"),
        ("benches", "bench"),
        ("women", "woman"),
        ("building", "building"),
        ("wedding", "wedding"),
        ("bus", "bus"),
        ("grass", "grass"),
        ("tennis", "tennis"),
        ("red", "red"),
        ("eating", "eat"),
        ("flying", "fly"),
        ("carried", "carry"),
        ("played", "play"),
        ("jumped", "jump"),
        ("baked", "bake"),
        ("falling", "fall"),
        ("horse", "horse"),
        ("yes", "yes"),
        ("1950s", "1950s"),
        ("new york", "new york"),
        ("string", "string"),
        ("dancing", "dance"),
        ("waiting", "wait"),
        ("raining", "rain"),
        ("stopped", "stop"),
        ("Surfing", "surf"),
        ("Dogs.", "dog."),
        ("(cats, horses)", "(cat, horse)"),
        ("...", "..."),
        ("", ""),
    ] {
        assert_eq!(lemmatise(answer), base, "{answer}");
    }
}

#[test]
fn an_id_is_a_number_only_where_it_is_written_like_one() {
    assert_eq!(Id::of("42"), Id::Number(42));
    for text in ["042", "+42", "4.2", "", "a", "99999999999999999999"] {
        assert_eq!(Id::of(text), Id::Text(text.to_owned()));
    }
}

#[test]
fn domains_are_those_of_the_images_that_have_one() {
    let content =
        br#"{"images": [{"id": 1, "domain": "in-domain"}, {"id": 2}, {"id": "x", "domain": "out-domain"}]}"#;
    let document = |content| Document {
        name: "val.json",
        content,
    };
    let found = domains(document(content)).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[&Id::Number(1)], "in-domain");
    assert!(domains(document(b"[]")).is_err());
}
