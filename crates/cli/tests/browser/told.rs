//! What the page tells of answers that are no whole ones, and of the picture: by words, by focus, and in colours that can be seen.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::support::{Fixture, Stages};
use crate::{Server, WIDE, open_tab, page};

const DONE: &str = "data: [DONE]\n\n";
/// Answers like a server whose model reads two questions at once.
const FORGETFUL: &str = r#"window.fetch = async (_, { body }) => {
    window.read = JSON.parse(body).messages;
    const refused = { error: { message: "too long", code: "context_length_exceeded" } };
    return window.read.length > 3
        ? new Response(JSON.stringify(refused), { status: 400 })
        : new Response('data: {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n');
}"#;
/// The least contrast of borders of what can be operated, and that of placeholders, by WCAG's formula.
const CONTRAST: &str = r##"(() => {
    const light = (colour) =>
        colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
            .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const contrast = (one, other) => {
        const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };
    const style = (selector, part) => getComputedStyle(document.querySelector(selector), part);
    const [paper, card] = [style("body").backgroundColor, style("#texts").backgroundColor];
    const edges = ["#texts", "#look-text", "[name=count]", "#drop", "#example"].map((selector) => style(selector).borderTopColor);
    const words = style("#texts", "::placeholder");
    return [
        Math.min(...edges.flatMap((edge) => [contrast(edge, paper), contrast(edge, card)])),
        words.opacity === "1" ? contrast(words.color, card) : 0,
    ];
})()"##;

/// Lets the page hear `body` whatever it asks from now on.
fn reply(page: &mut Chromium, body: &str) {
    page.evaluate(&format!(
        "window.fetch = async () => new Response({})",
        json!(body)
    ));
}

/// A stream that says `text` and is over because of `finish`.
fn stream(text: &str, finish: &str, filtered: Value) -> String {
    let piece = json!({"choices": [{"delta": {"content": text}, "finish_reason": null}]});
    let last = json!({"choices": [{"delta": {}, "finish_reason": finish, "filtered": filtered}]});
    format!("data: {piece}\n\ndata: {last}\n\n{DONE}")
}

/// Asks `question`, and waits for the end of the answer.
fn ask(page: &mut Chromium, question: &str) {
    page.click("#question");
    page.write(question);
    page.press("Enter", 13);
    page.wait_for("document.querySelector('#panel-ask').ariaBusy === 'false'");
}

/// What the last answer says, and what is said of it.
fn last(page: &mut Chromium) -> (String, String) {
    let answer = "[...document.querySelectorAll('.answered')].at(-1)";
    let text = page.text(&format!("{answer}.firstChild.textContent"));
    let note = page.text(&format!("{answer}.querySelector('small')?.textContent ?? ''"));
    (text, note)
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn answers_that_are_no_whole_ones_say_so() {
    let fixture = Fixture::new(Stages::Both);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("red.png"));
    let found = json!({"category": "violence"});
    reply(
        &mut page,
        &json!({"captions": [], "filtered": [found, found, found]}).to_string(),
    );
    page.click("#panel-caption button.main");
    page.wait_for("document.querySelector('.captions').textContent.includes('all were kept back')");
    assert!(
        page.text("document.querySelector('.captions').textContent")
            .contains("(violence)")
    );

    open_tab(&mut page, "ask");
    reply(&mut page, &stream("a long", "length", Value::Null));
    ask(&mut page, "one");
    let (text, note) = last(&mut page);
    assert!(
        text == "a long" && note.contains("most new tokens"),
        "{text}: {note}"
    );
    reply(&mut page, &stream("some", "content_filter", found));
    ask(&mut page, "two");
    let (text, note) = last(&mut page);
    assert!(
        text == "some" && note.contains("filter (violence)"),
        "{text}: {note}"
    );
    let whole = stream("half an", "stop", Value::Null);
    reply(&mut page, whole.strip_suffix(DONE).unwrap());
    ask(&mut page, "three");
    assert_eq!(last(&mut page), ("half an".to_owned(), "broken off".to_owned()));
    let error = "document.querySelector('#panel-ask .error').textContent";
    assert!(page.text(error).contains("broke off"));
    // Where nothing was heard the question is given back.
    reply(&mut page, "");
    ask(&mut page, "four");
    assert!(page.text(error).contains("broke off"));
    assert_eq!(page.text("document.querySelector('#question').value"), "four");
    page.evaluate("document.querySelector('#question').value = ''");

    page.evaluate(FORGETFUL);
    ask(&mut page, "five");
    assert_eq!(last(&mut page), ("yes".to_owned(), String::new()));
    assert!(
        page.text("document.querySelector('.talk').textContent")
            .contains("the first 2 questions are forgotten")
    );
    let read = page.evaluate("window.read");
    assert_eq!(
        (&read[0]["content"][0]["type"], &read[0]["content"][1]["text"]),
        (&json!("image_url"), &json!("three"))
    );
    assert_eq!(read[2]["content"], "five");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn keyboards_keep_their_place_and_layers_have_their_numbers() {
    let fixture = Fixture::new(Stages::Both);
    let server = Server::start(&fixture, "model");
    let mut page = Chromium::start();
    page.open(&server.address, WIDE);
    page.evaluate("document.querySelector('#file').focus()");
    page.choose("#file", &fixture.path("red.png"));
    page.wait_for("document.activeElement.id === 'another'");
    page.wait_for("document.querySelector('#chosen[role=status]').textContent.includes('red.png')");
    open_tab(&mut page, "look");
    page.wait_for("!document.querySelector('#panel-look button.main').disabled");
    page.click("#panel-look button.main");
    page.wait_for("!document.querySelector('#heat').hidden");
    assert_eq!(
        page.text("document.querySelector('[name=layer]').getAttribute('aria-valuetext')"),
        "layer 0"
    );
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn borders_and_placeholders_can_be_seen() {
    let fixture = Fixture::new(Stages::Both);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("red.png"));
    for scheme in ["light", "dark"] {
        let preferred = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        page.call("Emulation.setEmulatedMedia", preferred);
        let [borders, placeholder]: [f64; 2] = serde_json::from_value(page.evaluate(CONTRAST)).unwrap();
        assert!(borders >= 3.0, "{scheme}: borders have a contrast of {borders}");
        assert!(
            placeholder >= 4.5,
            "{scheme}: placeholders have a contrast of {placeholder}"
        );
    }
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn large_pictures_are_sent_smaller_in_the_colours_that_the_server_reads() {
    const COLOUR: [u8; 3] = [200, 100, 50];
    let fixture = Fixture::new(Stages::Both);
    // Clear all over, and above 8 MB.
    let (width, height) = (2100, 1000);
    let pixels = [COLOUR[0], COLOUR[1], COLOUR[2], 0].repeat(width * height);
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Uncompressed, FilterType::NoFilter)
        .write_image(&pixels, width as u32, height as u32, ExtendedColorType::Rgba8)
        .unwrap();
    assert!(png.len() > 8_000_000, "{} bytes are few", png.len());
    std::fs::write(fixture.path("clear.png"), png).unwrap();
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("clear.png"));
    page.wait_for("document.querySelector('#chosen').textContent.includes('made smaller')");

    page.evaluate("navigator.clipboard.writeText = async (text) => { window.clip = text; }");
    page.click("#copy-curl");
    page.wait_for("document.querySelector('#copied a')?.download === 'clear-smaller.jpg'");
    let url = page.text("document.querySelector('#copied a').href");
    let jpeg = url.strip_prefix("data:image/jpeg;base64,").unwrap();
    let jpeg = STANDARD.decode(jpeg).unwrap();
    let sent = image::load_from_memory(&jpeg).unwrap().into_rgb8();
    assert_eq!(sent.width(), 2048);
    for (found, expected) in sent.get_pixel(1000, 500).0.into_iter().zip(COLOUR) {
        assert!(found.abs_diff(expected) < 5, "{found} in place of {expected}");
    }
    // The command is about this file.
    std::fs::write(fixture.path("clear-smaller.jpg"), jpeg).unwrap();
    let mut run = Command::new("sh");
    run.args(["-c", &page.text("window.clip")]);
    let output = run.current_dir(fixture.folder.path()).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["captions"].as_array().map(Vec::len), Some(3), "{answer}");
    // No complaints are asked for: browsers without a graphics card warn of WebGL.
}
