//! Headless Chromium, for tests of pages: what a person would see, click and type.
//!
//! Driven by its DevTools protocol over two pipes, so there is no port, no driver program and nothing to clean up: it ends
//! when the pipes do, even where its owner was killed.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::servers::ServerKind;
use crate::wait_for;

/// Longest wait for one answer of the browser.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The shell gives it standard input and output as the two pipes it expects at 3 and 4.
const LAUNCH: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--remote-debugging-pipe",
    // Chromium refuses to be root with one; the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
];

/// A running browser. It ends with the last clone and tab.
#[derive(Clone)]
pub struct Browser {
    wire: Arc<Wire>,
}

struct Wire {
    to_browser: AsyncMutex<ChildStdin>,
    next_id: AtomicU64,
    shared: Arc<Shared>,
    _process: Child,
    _profile: TempDir,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// By tab: errors on its console, uncaught exceptions, violations of its policy.
    complaints: Mutex<HashMap<String, Vec<String>>>,
}

/// How a tab looks at a page.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether the person prefers dark pages.
    pub dark: bool,
}

impl Screen {
    /// A desktop.
    pub const DESKTOP: Self = Self {
        width: 1280,
        height: 900,
        dark: false,
    };
    /// A phone.
    pub const PHONE: Self = Self {
        width: 390,
        height: 844,
        dark: false,
    };

    /// The same for a person who prefers dark pages.
    #[must_use]
    pub const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

impl Browser {
    /// Starts one, with an empty profile.
    ///
    /// # Errors
    /// When Chromium is not installed or does not answer.
    pub async fn start() -> Result<Self> {
        let program = ServerKind::Chromium.require()?.join("chromium");
        let profile = tempfile::Builder::new().prefix("hotstock-browser-").tempdir()?;
        let mut process = Command::new("sh")
            .args(["-c", LAUNCH])
            .arg(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let to_browser = process.stdin.take().context("a pipe to the browser")?;
        let from_browser = process.stdout.take().context("a pipe from the browser")?;
        let shared = Arc::new(Shared::default());
        tokio::spawn(listen(from_browser, Arc::clone(&shared)));
        let wire = Wire {
            to_browser: AsyncMutex::new(to_browser),
            next_id: AtomicU64::new(1),
            shared,
            _process: process,
            _profile: profile,
        };
        wire.call(None, "Browser.getVersion", json!({})).await?;
        Ok(Self { wire: Arc::new(wire) })
    }

    /// Opens a page in a tab of its own; returns once it is loaded.
    ///
    /// # Errors
    /// When the page cannot be loaded.
    pub async fn open(&self, url: &str, screen: Screen) -> Result<Tab> {
        let call = |method, parameters| self.wire.call(None, method, parameters);
        let target = call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = call("Target.attachToTarget", attach).await?["sessionId"].clone();
        let tab = Tab {
            wire: Arc::clone(&self.wire),
            session: session.as_str().context("a session")?.to_owned(),
        };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            tab.call(domain, json!({})).await?;
        }
        tab.resize(screen).await?;
        let navigated = tab.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(
            navigated["errorText"].is_null(),
            "{url}: {}",
            navigated["errorText"]
        );
        tab.until(
            "the page is loaded",
            "document.readyState === 'complete' && location.href !== 'about:blank'",
        )
        .await?;
        Ok(tab)
    }
}

/// A page in the browser.
pub struct Tab {
    wire: Arc<Wire>,
    session: String,
}

impl Tab {
    /// The value of a JavaScript expression; a promise is waited for.
    ///
    /// # Errors
    /// When it throws.
    pub async fn eval(&self, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters).await?;
        if !answer["exceptionDetails"].is_null() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until a JavaScript expression is true; else says what the page shows.
    ///
    /// # Errors
    /// When it does not become true within twenty seconds.
    pub async fn until(&self, what: &str, expression: &str) -> Result<()> {
        wait_for(what, ANSWER_LIMIT, async || match self.eval(expression).await {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(_) => {
                let shown = self.eval("document.body.innerText.slice(0, 3000)").await;
                Err(shown.map_or_else(|error| error.to_string(), |text| text.to_string()))
            }
            Err(error) => Err(error.to_string()),
        })
        .await
        .with_context(|| expression.to_owned())
    }

    /// The text of the first element that matches a selector; empty where there is none.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn text(&self, selector: &str) -> Result<String> {
        let text = self
            .eval(&format!(
                "document.querySelector({selector:?})?.textContent ?? ''"
            ))
            .await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks the first element that matches a selector: with the mouse, where it is shown. `times`: 2 is a double click.
    ///
    /// # Errors
    /// When there is none, or it is not shown.
    pub async fn click(&self, selector: &str, times: u32) -> Result<()> {
        let place = format!(
            "(() => {{ const found = document.querySelector({selector:?}); if (!found) return null; \
             found.scrollIntoView({{ block: 'center' }}); const box = found.getBoundingClientRect(); \
             return box.width && [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let place = self.eval(&place).await?;
        let (Some(x), Some(y)) = (place[0].as_f64(), place[1].as_f64()) else {
            bail!("nothing to click at {selector}: {place}");
        };
        for count in 1..=times {
            for kind in ["mousePressed", "mouseReleased"] {
                let mouse = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": count });
                self.call("Input.dispatchMouseEvent", mouse).await?;
            }
        }
        Ok(())
    }

    /// Presses a key: `Tab`, `Enter`, `Escape`, or a character.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn press(&self, key: &str) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            other if other.chars().count() == 1 => other,
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Changes the size and the colours asked for.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn resize(&self, screen: Screen) -> Result<()> {
        let size = json!({ "width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if screen.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// Writes what is on the screen into a PNG file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let shot = self
            .call("Page.captureScreenshot", json!({ "format": "png" }))
            .await?;
        let bytes = decode_base64(shot["data"].as_str().context("a picture")?)?;
        Ok(std::fs::write(file, bytes)?)
    }

    /// What the page has complained of: errors on its console, uncaught exceptions, violations of its policy.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let complaints = lock(&self.wire.shared.complaints);
        complaints.get(&self.session).cloned().unwrap_or_default()
    }

    async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.wire.call(Some(&self.session), method, parameters).await
    }
}

impl Wire {
    async fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.shared.waiting).insert(id, sender);
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to_browser.lock().await.write_all(&bytes).await?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        let answer = answer.with_context(|| format!("{method}: no answer"))?;
        let answer = answer.map_err(|_| anyhow!("{method}: the browser has ended"))?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].clone())
    }
}

/// Hands answers to those who wait for them and keeps complaints, until the browser ends.
async fn listen(from_browser: ChildStdout, shared: Arc<Shared>) {
    let mut from_browser = BufReader::new(from_browser);
    let mut message = Vec::new();
    while matches!(from_browser.read_until(0, &mut message).await, Ok(1..)) {
        let parsed: Value = serde_json::from_slice(&message[..message.len() - 1]).unwrap_or_default();
        message.clear();
        if let Some(id) = parsed["id"].as_u64() {
            if let Some(waiting) = lock(&shared.waiting).remove(&id) {
                waiting.send(parsed).ok();
            }
        } else if let Some(complaint) = complaint(&parsed) {
            let session = parsed["sessionId"].as_str().unwrap_or_default().to_owned();
            lock(&shared.complaints)
                .entry(session)
                .or_default()
                .push(complaint);
        }
    }
    lock(&shared.waiting).clear();
}

fn complaint(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(format!("exception: {}", parameters["exceptionDetails"])),
        "Runtime.consoleAPICalled" if parameters["type"] == "error" => {
            Some(format!("console: {}", parameters["args"]))
        }
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            let entry = &parameters["entry"];
            Some(format!("{}: {} {}", entry["source"], entry["text"], entry["url"]))
        }
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The protocol sends pictures as base64.
fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for character in text.bytes().filter(|byte| *byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => bail!("no base64: {other}"),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode_base64;

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode_base64(text).unwrap(), bytes.as_bytes());
        }
        assert!(decode_base64("Zm9v!").is_err());
    }
}
