//! A headless Chromium, spoken to through a pipe (the DevTools protocol): no port, no driver.

use super::server::DEADLINE;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    answers: Receiver<Value>,
    /// What came unasked, oldest first.
    events: Vec<Value>,
    session: Option<String>,
    /// What was set of `prefers-color-scheme` and its like.
    preferences: Vec<Value>,
    calls: u64,
    _profile: tempfile::TempDir,
}

/// The shell puts our pipe where Chromium looks for it: it reads descriptor 3 and writes descriptor 4.
const START: &str = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

impl Browser {
    /// Starts a browser with one empty page of this size.
    pub fn start(width: u32, height: u32) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", START, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars", &format!("--window-size={width},{height}")]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        // A group of its own, so that its end takes what it started along.
        let mut child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (pipe, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, answers) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let _ = tell.send(serde_json::from_slice(&message).unwrap());
                message.clear();
            }
        });
        let mut browser = Browser { child, pipe, answers, events: Vec::new(), session: None, preferences: Vec::new(), calls: 0, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'");
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn value(&mut self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The error is the browser's own: the page may be on its way to another.
    fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let given = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let answer = self.ask("Runtime.evaluate", given)?;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.evaluate(&format!("Boolean({expression})")) != Ok(Value::Bool(true)) {
            if Instant::now() > deadline {
                let page = self.value("document.body.innerText");
                panic!("`{expression}` comes true in time; complaints: {:?}; the page:\n{}", self.complaints(), page.as_str().unwrap_or_default());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Drops files onto the element that a selector finds.
    pub fn drop_files(&mut self, selector: &str, files: &[&Path]) {
        let middle = format!(
            "(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let at = self.value(&middle);
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({"items": [], "files": files, "dragOperationsMask": 1});
            self.call("Input.dispatchDragEvent", json!({"type": kind, "x": at[0], "y": at[1], "data": data}));
        }
    }

    /// Presses and lets go a key by its DOM name: `Tab`, `Enter`.
    pub fn key(&mut self, name: &str) {
        let (code, text) = if name == "Enter" { (13, "\r") } else { (9, "") };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code, "text": text}));
        }
    }

    /// Sets a feature such as `prefers-color-scheme`.
    pub fn prefer(&mut self, feature: &str, value: &str) {
        self.preferences.retain(|known| known["name"] != feature);
        self.preferences.push(json!({"name": feature, "value": value}));
        let features = self.preferences.clone();
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// What is seen now, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// Lays the page out for a screen of this size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Errors, warnings and exceptions that the page has caused.
    pub fn complaints(&mut self) -> Vec<String> {
        // One more answer: what was said before it has arrived.
        self.value("1");
        let complaint = |event: &Value| match event["method"].as_str()? {
            "Log.entryAdded" => {
                ["error", "warning"].contains(&event["params"]["entry"]["level"].as_str()?).then(|| event["params"]["entry"].to_string())
            }
            "Runtime.exceptionThrown" => Some(event["params"].to_string()),
            "Runtime.consoleAPICalled" => {
                ["error", "warning", "assert"].contains(&event["params"]["type"].as_str()?).then(|| event["params"].to_string())
            }
            _ => None,
        };
        self.events.iter().filter_map(complaint).collect()
    }

    /// Addresses that the page has asked for.
    pub fn requested(&mut self) -> Vec<String> {
        self.value("1");
        let asked = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        asked.filter_map(|e| e["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let answer = answer.unwrap_or_else(|e| panic!("the browser answers {method}: {e}"));
            if answer["id"] == self.calls {
                return answer.get("error").map_or_else(|| Ok(answer["result"].clone()), |error| Err(error.clone()));
            }
            self.events.push(answer);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already gone when a test failed because of it.
        let _ = rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
