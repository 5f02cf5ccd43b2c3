//! Parameters of OpenAI's that ask for nothing, or for what is done anyway: clients and frameworks send them unasked.

use serde_json::{Value, json};

/// Whatever they say changes nothing here.
const HARMLESS: [&str; 9] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "verbosity",
    "reasoning_effort",
    "parallel_tool_calls",
];

/// Whether leaving out `name`, where it says `value`, gives the same answer.
pub(super) fn asks_for_nothing(name: &str, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    match name {
        "frequency_penalty" | "presence_penalty" => value.as_f64() == Some(0.0),
        "response_format" => *value == json!({"type": "text"}),
        "tools" | "functions" => *value == json!([]),
        // Without tools the model may call none.
        "tool_choice" | "function_call" => *value == json!("none") || *value == json!("auto"),
        "logit_bias" => *value == json!({}),
        "modalities" => *value == json!(["text"]),
        name => HARMLESS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_something_is_told_from_what_does_not() {
        for (name, idle, wish) in [
            ("presence_penalty", json!(0), json!(0.5)),
            (
                "response_format",
                json!({"type": "text"}),
                json!({"type": "json_object"}),
            ),
            ("tools", json!([]), json!([{"type": "function"}])),
            ("tool_choice", json!("none"), json!("required")),
            ("logit_bias", json!({}), json!({"5": 100})),
            ("modalities", json!(["text"]), json!(["text", "audio"])),
            ("something", Value::Null, json!(1)),
        ] {
            assert!(asks_for_nothing(name, &idle), "{name}");
            assert!(!asks_for_nothing(name, &wish), "{name}");
        }
        assert!(asks_for_nothing("reasoning_effort", &json!("low")));
    }
}
