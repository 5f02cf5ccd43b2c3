//! The page of `blip2 serve` in a real browser: `cargo xtask test` runs this where there is a Chromium.

mod chromium;
#[path = "../main/support.rs"]
#[allow(dead_code, reason = "the tests of the commands use the rest")]
mod support;
mod told;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::support::{Fixture, QUERIES, Stages};

const WIDE: [u32; 2] = [1280, 860];
const NARROW: [u32; 2] = [390, 844];
const TEXTS: [&str; 3] = ["a dog on a table", "two cats", "a table"];

/// `blip2 serve`, until it is dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(fixture: &Fixture, model: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_blip2"))
            .args(["serve", "--model", model, "--port", "0"])
            .current_dir(fixture.folder.path())
            .env("BLIP2_HOME", fixture.path("home"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("the server says `{said}`"));
        Self {
            address: format!("{address}/"),
            process,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A page about `picture`, in a window of this size.
fn page(server: &Server, size: [u32; 2], picture: &Path) -> Chromium {
    let mut page = Chromium::start();
    page.open(&server.address, size);
    page.wait_for("document.querySelector('#model').textContent.length > 0 && !document.querySelector('#model').textContent.includes('…')");
    page.choose("#file", picture);
    page.wait_for("!document.querySelector('#shown').hidden");
    page
}

fn open_tab(page: &mut Chromium, name: &str) {
    page.click(&format!("#tab-{name}"));
    page.wait_for(&format!("!document.querySelector('#panel-{name}').hidden"));
}

/// What the cells of the list or table that `selector` finds hold.
fn cells(page: &mut Chromium, selector: &str) -> Vec<String> {
    let script =
        format!("[...document.querySelectorAll(`{selector}`)].map((cell) => cell.firstChild.textContent)");
    serde_json::from_value(page.evaluate(&script)).unwrap()
}

fn heat(page: &mut Chromium) -> String {
    page.text("document.querySelector('#heat').toDataURL()")
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn a_picture_is_captioned_asked_matched_and_looked_at() {
    let fixture = Fixture::new(Stages::Both);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("red.png"));

    page.click("#panel-caption button.main");
    page.wait_for("document.querySelectorAll('.captions li').length === 3");
    let captions = fixture.records(&["caption", "--model", "model", "red.png", "--num-captions", "3"]);
    let captions: Vec<&str> = captions
        .iter()
        .map(|caption| caption["text"].as_str().unwrap())
        .collect();
    assert_eq!(cells(&mut page, ".captions li"), captions);
    page.keep("caption.png");

    // The tiny model has room for few words.
    page.evaluate("document.querySelector('#settings [name=max_tokens]').value = '8'");
    open_tab(&mut page, "ask");
    page.click("#question");
    for (count, question) in [(1, "w5"), (2, "w6 w7")] {
        page.write(question);
        page.press("Enter", 13);
        let written = format!("document.querySelectorAll('.answered:not(.writing)').length === {count}");
        page.wait_for(&written);
    }
    assert_eq!(cells(&mut page, ".talk .asked"), ["w5", "w6 w7"]);
    assert!(
        cells(&mut page, ".talk .answered")
            .iter()
            .all(|answer| !answer.is_empty())
    );
    page.keep("ask.png");
    page.click("#panel-ask [name=anew]");
    page.wait_for("document.querySelectorAll('.talk .asked').length === 0");

    open_tab(&mut page, "match");
    page.click("#texts");
    page.write(&TEXTS.join("\n"));
    page.click("#panel-match button.main");
    page.wait_for("document.querySelectorAll('#panel-match tbody tr').length === 3");
    let mut matches =
        fixture.records(&[&["match", "--model", "model", "red.png", "--text"], &TEXTS[..]].concat());
    let score = |record: &Value| record["itm_probability"].as_f64().unwrap();
    matches.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let expected: Vec<String> = matches
        .iter()
        .flat_map(|record| {
            let contrast = record["itc"].as_f64().unwrap();
            let text = record["text"].as_str().unwrap().to_owned();
            [text, format!("{:.3}", score(record)), format!("{contrast:.3}")]
        })
        .collect();
    assert_eq!(cells(&mut page, "#panel-match tbody td"), expected);
    page.keep("match.png");

    open_tab(&mut page, "look");
    page.click("#look-text");
    page.write(TEXTS[0]);
    page.press("Enter", 13);
    page.wait_for("!document.querySelector('#heat').hidden");
    assert_eq!(
        cells(&mut page, ".words .chips span"),
        ["all words", "a", "dog", "on", "a", "table"]
    );
    assert_eq!(cells(&mut page, ".queries .chips span").len(), 1 + QUERIES);
    let whole = heat(&mut page);
    // By mouse, then by keyboard.
    page.click(".words label:nth-child(3) input");
    let dog = heat(&mut page);
    assert!(
        page.text("document.querySelector('#told').textContent")
            .starts_with("“dog”")
    );
    page.press("ArrowRight", 39);
    assert!(
        page.text("document.querySelector('#told').textContent")
            .starts_with("“on”")
    );
    let on = heat(&mut page);
    assert!(whole != dog && dog != on, "the maps are the same");
    page.keep("look.png");
    page.click(".queries label:nth-child(4) input");
    assert!(
        page.text("document.querySelector('#told').textContent")
            .starts_with("Query 3 in layer 0")
    );
    page.click("#clear");
    page.wait_for("document.querySelector('#heat').hidden");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn requests_are_copied_as_commands_that_run() {
    let fixture = Fixture::new(Stages::Both);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("red.png"));
    // What is copied, in place of the system's clipboard.
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.clip = text; }");
    let answer = |page: &mut Chromium, kind: &str, program: &[&str]| {
        page.click(&format!("#copy-{kind}"));
        page.wait_for("document.querySelector('#copied').textContent === 'copied'");
        let text = page.text("window.clip");
        let mut run = Command::new(program[0]);
        run.args(&program[1..]).arg(&text);
        let output = run.current_dir(fixture.folder.path()).output().unwrap();
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        page.evaluate("document.querySelector('#copied').textContent = ''");
        String::from_utf8(output.stdout).unwrap()
    };
    open_tab(&mut page, "match");
    page.click("#texts");
    page.write("a dog's \"tail\"\ntwo cats");
    let by_curl: Value = serde_json::from_str(&answer(&mut page, "curl", &["sh", "-c"])).unwrap();
    let expected = fixture.records(&[
        "match",
        "--model",
        "model",
        "red.png",
        "--text",
        "a dog's \"tail\"",
        "two cats",
    ]);
    for (found, expected) in by_curl["matches"].as_array().unwrap().iter().zip(&expected) {
        assert_eq!(found["text"], expected["text"]);
        let apart =
            found["itm_probability"].as_f64().unwrap() - expected["itm_probability"].as_f64().unwrap();
        assert!(apart.abs() < 1e-5, "{found}: {expected}");
    }
    let in_python = answer(&mut page, "python", &["python3", "-c"]);
    assert!(
        in_python.contains("itm_probability") && in_python.contains("two cats"),
        "{in_python}"
    );
    open_tab(&mut page, "ask");
    let streamed = answer(&mut page, "curl", &["sh", "-c"]);
    assert!(
        streamed.starts_with("data: ") && streamed.contains("[DONE]"),
        "{streamed}"
    );
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn what_the_model_lacks_is_said_and_so_is_a_server_that_has_gone() {
    let fixture = Fixture::new(Stages::Second);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("red.png"));
    open_tab(&mut page, "match");
    assert!(
        page.text("document.querySelector('#panel-match .absent').textContent")
            .contains("stage 1")
    );
    assert_eq!(
        page.evaluate("document.querySelector('#panel-match button.main').disabled"),
        json!(true)
    );
    open_tab(&mut page, "look");
    page.click("#panel-look button.main");
    page.wait_for("!document.querySelector('#heat').hidden");
    assert_eq!(
        page.evaluate("document.querySelector('.words').hidden"),
        json!(true)
    );
    page.keep("lacking.png");
    assert_eq!(page.complaints(), [""; 0]);

    drop(server);
    open_tab(&mut page, "caption");
    page.click("#panel-caption button.main");
    page.wait_for(
        "document.querySelector('#panel-caption .error').textContent.includes('cannot be reached')",
    );
    page.wait_for("!document.querySelector('#panel-caption button.main').disabled");
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn it_serves_keyboards_screen_readers_telephones_and_the_dark() {
    let fixture = Fixture::new(Stages::Both);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, NARROW, &fixture.path("blue.png"));
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    page.call("Emulation.setEmulatedMedia", dark);
    let paper = page.text("getComputedStyle(document.body).backgroundColor");
    let shades: Vec<u32> = paper
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect();
    assert!(
        shades.len() == 3 && shades.iter().all(|shade| *shade < 60),
        "{paper}"
    );

    page.evaluate("document.querySelector('#tab-caption').focus()");
    for (tab, panel) in ["ask", "match", "look"].iter().zip(["ask", "match", "look"]) {
        page.press("ArrowRight", 39);
        page.wait_for(&format!("document.activeElement.id === 'tab-{tab}'"));
        assert_eq!(
            page.evaluate(&format!("document.querySelector('#panel-{panel}').hidden")),
            json!(false)
        );
        let width = page.evaluate("document.documentElement.scrollWidth");
        assert!(
            width.as_u64().unwrap() <= u64::from(NARROW[0]),
            "{panel} is {width} wide"
        );
    }
    page.press("Tab", 9);
    assert_eq!(page.text("document.activeElement.id"), "look-text");
    page.write(TEXTS[1]);
    page.press("Tab", 9);
    page.press("Enter", 13);
    page.wait_for("!document.querySelector('#heat').hidden");
    page.keep("phone.png");
    let width = page.evaluate("document.documentElement.scrollWidth");
    assert!(width.as_u64().unwrap() <= u64::from(NARROW[0]), "{width}");

    // Whatever can be operated has a name.
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let roles = [
        "button", "tab", "textbox", "radio", "slider", "combobox", "image", "img", "dialog",
    ];
    for node in tree["nodes"].as_array().unwrap() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        if node["ignored"] != json!(true) && roles.contains(&role) {
            let name = node["name"]["value"].as_str().unwrap_or_default();
            assert!(!name.trim().is_empty(), "a {role} without a name: {node}");
        }
    }
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` runs it"]
fn pictures_are_dropped_and_pasted_and_what_is_none_is_refused() {
    let fixture = Fixture::new(Stages::First);
    let server = Server::start(&fixture, "model");
    let mut page = page(&server, WIDE, &fixture.path("red.png"));
    // Nothing writes: the first thing that the model can do is shown.
    page.wait_for("document.querySelector('#tab-caption').classList.contains('lacking') || document.querySelector('#panel-caption').hidden === false");
    let shown = |page: &mut Chromium| page.text("document.querySelector('#seen').alt");
    for (event, given) in [("drop", "dataTransfer"), ("paste", "clipboardData")] {
        let kind = if event == "drop" {
            "DragEvent"
        } else {
            "ClipboardEvent"
        };
        page.evaluate(&format!(
            "(async () => {{ const canvas = Object.assign(document.createElement('canvas'), {{width: 40, height: 20}}); \
             canvas.getContext('2d').fillRect(5, 5, 9, 9); \
             const blob = await new Promise((done) => canvas.toBlob(done)); const transfer = new DataTransfer(); \
             transfer.items.add(new File([blob], '{event}.png', {{type: 'image/png'}})); \
             window.dispatchEvent(new {kind}('{event}', {{{given}: transfer, bubbles: true, cancelable: true}})); }})()"
        ));
        page.wait_for(&format!(
            "document.querySelector('#seen').alt.includes('{event}.png')"
        ));
    }
    std::fs::write(fixture.path("broken.png"), b"no picture").unwrap();
    page.choose("#file", &fixture.path("broken.png"));
    page.wait_for("document.querySelector('#picture-error').textContent.includes('broken.png')");
    assert!(
        shown(&mut page).contains("paste.png"),
        "the picture before it is kept"
    );
    open_tab(&mut page, "match");
    page.click("#texts");
    page.write(TEXTS[0]);
    page.click("#panel-match button.main");
    page.wait_for("document.querySelectorAll('#panel-match tbody tr').length === 1");
    assert_eq!(page.complaints(), [""; 0]);
}
