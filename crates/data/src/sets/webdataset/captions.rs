//! Captions from the bytes of a text or JSON member.

use serde_json::Value;

use super::rules::Refusal;

/// The whole member is the caption, also where it is empty or blank.
///
/// # Errors
/// `text_not_utf8`.
pub(in crate::sets) fn from_text(bytes: Vec<u8>) -> Result<Vec<String>, Refusal> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(vec![text]),
        Err(error) => Err((
            "text_not_utf8",
            format!("its text is not UTF-8: {}", error.utf8_error()),
        )),
    }
}

/// The field `caption` of an object, else `captions`: a text or a list of texts. Where neither is there, there are none.
///
/// # Errors
/// `json_invalid`, `text_null`, `text_not_a_string`.
pub(in crate::sets) fn from_json(bytes: &[u8]) -> Result<Vec<String>, Refusal> {
    let not_text = |value: &Value| ("text_not_a_string", format!("its caption is no text: {value}"));
    let object = parse(bytes)?;
    let Some(captions) = object.get("caption").or_else(|| object.get("captions")) else {
        return Ok(Vec::new());
    };
    match captions {
        Value::Null => Err(("text_null", "its caption is null".into())),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(texts) => texts
            .iter()
            .map(|text| text.as_str().map(str::to_owned).ok_or_else(|| not_text(text)))
            .collect(),
        other => Err(not_text(other)),
    }
}

/// JSON, also with the `NaN` and `Infinity` that Python writes for numbers that are none (img2dataset does, for columns with
/// gaps); they become null.
///
/// # Errors
/// `json_invalid`.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).or_else(|error| {
        let plain = without_python_numbers(bytes);
        serde_json::from_slice(&plain)
            .map_err(|_| ("json_invalid", format!("its .json is not JSON: {error}")))
    })
}

/// The bytes with null for each `NaN`, `Infinity` and `-Infinity` outside of texts.
fn without_python_numbers(mut rest: &[u8]) -> Vec<u8> {
    let (mut plain, mut is_text) = (Vec::with_capacity(rest.len()), false);
    while let Some(byte) = rest.first() {
        let number = [&b"NaN"[..], b"-Infinity", b"Infinity"]
            .into_iter()
            .find(|number| !is_text && rest.starts_with(number));
        let (written, passed) = match number {
            Some(number) => (&b"null"[..], number.len()),
            None if is_text && *byte == b'\\' => (&rest[..rest.len().min(2)], rest.len().min(2)),
            None => {
                is_text ^= *byte == b'"';
                (&rest[..1], 1)
            }
        };
        plain.extend_from_slice(written);
        rest = &rest[passed..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Result<Vec<String>, &'static str> {
        from_json(json.as_bytes()).map_err(|(reason, _)| reason)
    }

    #[test]
    fn captions_are_a_text_or_a_list() {
        assert_eq!(
            texts(r#"{"caption": "a", "captions": ["b"]}"#),
            Ok(vec!["a".into()])
        );
        assert_eq!(
            texts(r#"{"captions": ["b", ""]}"#),
            Ok(vec!["b".into(), "".into()])
        );
        assert_eq!(texts(r#"{"caption": null}"#), Err("text_null"));
        assert_eq!(texts(r#"{"caption": 3}"#), Err("text_not_a_string"));
        assert_eq!(texts(r#"{"caption": ["a", 3]}"#), Err("text_not_a_string"));
        assert_eq!(texts(r#"["caption"]"#), Ok(vec![]));
        assert_eq!(texts("{'caption': 'a'}"), Err("json_invalid"));
        assert_eq!(texts(""), Err("json_invalid"));
    }

    #[test]
    fn numbers_of_python_are_passed() {
        let json =
            r#"{"similarity": NaN, "x": [-Infinity, Infinity], "caption": "NaN \"NaN\" \\", "y": NaN}"#;
        assert_eq!(texts(json), Ok(vec![r#"NaN "NaN" \"#.into()]));
        assert_eq!(texts(r#"{"caption": "cut\"#), Err("json_invalid"));
    }

    #[test]
    fn a_text_is_taken_as_it_is() {
        let text = "\u{feff}a\0\r\n ".as_bytes().to_vec();
        assert_eq!(
            from_text(text.clone()),
            Ok(vec![String::from_utf8(text).expect("a text")])
        );
        for bytes in [&b"caf\xe9"[..], b"\xff\xfea\0", b"\xed\xa0\x80", b"\xe7\xb7"] {
            assert_eq!(
                from_text(bytes.to_vec()).map_err(|(reason, _)| reason),
                Err("text_not_utf8")
            );
        }
    }
}
