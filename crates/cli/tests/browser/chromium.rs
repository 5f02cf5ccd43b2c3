//! A headless Chromium, driven by its DevTools protocol: messages of JSON, each ended by a zero, through a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The name that it goes by; `BLIP2_BROWSER` gives another.
const NAME: &str = "chromium";
/// How long an answer, or what is waited for, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Chromium {
    process: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    /// Errors and warnings of its console, and exceptions.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts it with an empty page.
    pub(crate) fn start() -> Self {
        let browser = std::env::var("BLIP2_BROWSER").unwrap_or_else(|_| NAME.to_owned());
        let profile = tempfile::tempdir().unwrap();
        // It reads from descriptor 3 and writes to 4.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 >/dev/null 2>&1"#, "sh", &browser])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--no-first-run",
            ])
            .args([
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, messages) = channel();
        let output = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            for message in output.split(0) {
                let Ok(message) = message else { break };
                let message = serde_json::from_slice(&message).expect("a message of JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut this = Self {
            input: process.stdin.take().unwrap(),
            process,
            messages,
            session: None,
            asked: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = this.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = this.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        this.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "DOM", "Accessibility"] {
            this.call(&format!("{domain}.enable"), json!({}));
        }
        this
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = match self.messages.recv_timeout(left) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser has ended"),
            };
            if message["id"] == json!(self.asked) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.listen(&message);
        }
    }

    fn listen(&mut self, message: &Value) {
        let told = &message["params"];
        let complaint = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => told["exceptionDetails"].to_string(),
            Some("Runtime.consoleAPICalled")
                if ["error", "warning"].contains(&told["type"].as_str().unwrap_or("")) =>
            {
                told["args"].to_string()
            }
            Some("Log.entryAdded")
                if ["error", "warning"].contains(&told["entry"]["level"].as_str().unwrap_or("")) =>
            {
                told["entry"].to_string()
            }
            _ => return,
        };
        self.complaints.push(complaint);
    }

    /// Errors and warnings so far.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What was said before this answer has been heard by then.
        self.evaluate("0");
        std::mem::take(&mut self.complaints)
    }

    /// Opens `address` in a window of this size, on a telephone below 600 pixels.
    pub(crate) fn open(&mut self, address: &str, [width, height]: [u32; 2]) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Page.navigate", json!({"url": address}));
        self.wait_for("document.readyState === 'complete'");
    }

    /// What `script` gives.
    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        let call =
            json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let result = self.call("Runtime.evaluate", call);
        assert!(
            result["exceptionDetails"].is_null(),
            "{script}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].clone()
    }

    /// The text that `script` gives.
    pub(crate) fn text(&mut self, script: &str) -> String {
        let value = self.evaluate(script);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{script}: {value}"))
            .to_owned()
    }

    /// Waits until `script` is true.
    pub(crate) fn wait_for(&mut self, script: &str) {
        let until = Instant::now() + PATIENCE;
        while self.evaluate(script) != json!(true) {
            let errors = "[...document.querySelectorAll('.error:not([hidden])')].map((error) => error.textContent).join()";
            assert!(
                Instant::now() < until,
                "never: {script}; errors: {}",
                self.evaluate(errors)
            );
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Clicks on the middle of what `selector` finds, with a mouse.
    pub(crate) fn click(&mut self, selector: &str) {
        let find = format!(
            "(() => {{ const found = document.querySelector(`{selector}`); found.scrollIntoView({{block: 'center'}}); \
             const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let place = self.evaluate(&find);
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key that writes nothing, such as `Tab` or `ArrowRight`.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" && kind == "keyDown" {
                "\r"
            } else {
                ""
            };
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes into what has the focus.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Gives `file` to the file input that `selector` finds.
    pub(crate) fn choose(&mut self, selector: &str, file: &Path) {
        let document = self.call("DOM.getDocument", json!({}));
        let found = self.call(
            "DOM.querySelector",
            json!({"nodeId": document["root"]["nodeId"], "selector": selector}),
        );
        let files = json!({"nodeId": found["nodeId"], "files": [file.display().to_string()]});
        self.call("DOM.setFileInputFiles", files);
    }

    /// Keeps a picture of the page in the folder that `BLIP2_SCREENSHOTS` names, where it does.
    pub(crate) fn keep(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("BLIP2_SCREENSHOTS") else {
            return;
        };
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(name), png).unwrap();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
