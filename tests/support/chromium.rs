//! Chromium, driven through chromedriver, for what only a browser can show.

use super::authority::Identity;
use super::{eventually, ports};
use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

const CHROMEDRIVER: &str = "/usr/bin/chromedriver";
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-crash-reporter",
];
/// A browser is several processes; with more of them the tests get slower, not faster.
static ROOM: Semaphore = Semaphore::const_new(2);

/// How long a page may take to come to what a test waits for.
const PATIENCE: Duration = Duration::from_secs(15);

/// A kind of screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// 1280 CSS pixels wide.
    Desktop,
    /// A phone: 360 CSS pixels wide, touch.
    Phone,
    /// The narrowest width that has to do without horizontal scrolling (WCAG 2.2, 1.4.10).
    Narrow,
}

/// What the browser is to be like.
pub struct Builder {
    screen: Screen,
    preferences: serde_json::Map<String, Value>,
    flags: Vec<String>,
    certificates: Vec<Identity>,
}

/// A browser of its own with a fresh profile, gone when dropped.
pub struct Chromium {
    client: Client,
    driver: String,
    // In this order: the processes end before their profile is removed.
    _processes: Processes,
    _profile: TempDir,
    _permit: SemaphorePermit<'static>,
}

/// chromedriver and all browsers that it started: one process group.
struct Processes(Child);

impl Processes {
    /// However this process ends, a shell ends them.
    #[expect(
        clippy::zombie_processes,
        reason = "the shell outlives this process, which is what it is for"
    )]
    fn end_with_us(&self) {
        let (us, group) = (std::process::id(), self.0.id());
        let watch = format!(
            "while kill -0 {us} && kill -0 {group}; do sleep 0.5; done; kill -9 -- -{group}"
        );
        let quiet = || Stdio::null();
        Command::new("sh")
            .args(["-c", &watch])
            .stdin(quiet())
            .stdout(quiet())
            .stderr(quiet())
            .spawn()
            .expect("sh runs");
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-9", "--", &format!("-{}", self.0.id())])
            .status();
        let _ = self.0.wait();
    }
}

impl Builder {
    /// With this screen.
    pub fn screen(self, screen: Screen) -> Self {
        Self { screen, ..self }
    }

    /// Without scripts, as some firms' browsers are set up.
    pub fn without_javascript(self) -> Self {
        self.preference(
            "profile.managed_default_content_settings.javascript",
            json!(2),
        )
    }

    /// Without cookies.
    pub fn without_cookies(self) -> Self {
        self.preference("profile.default_content_setting_values.cookies", json!(2))
    }

    /// With text twice as large as usual, as people set it who see badly.
    pub fn large_text(self) -> Self {
        self.preference("webkit.webprefs.default_font_size", json!(32))
    }

    fn preference(mut self, name: &str, value: Value) -> Self {
        self.preferences.insert(name.to_owned(), value);
        self
    }

    /// With a further flag.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// With this client certificate installed. Of the test authority's, the browser chooses one without asking: `.ci/tools` sets up the
    /// policy for that, since nothing else can answer its question.
    pub fn certificate(mut self, identity: &Identity) -> Self {
        self.certificates.push(identity.clone());
        self
    }

    /// Starts it, as soon as there is room.
    pub async fn start(self) -> Chromium {
        let permit = ROOM.acquire().await.expect("it is never closed");
        let (port, profile) = (ports::free(), TempDir::new().expect("a folder"));
        install(profile.path(), &self.certificates);
        let mut processes = Processes(start_chromedriver(port, profile.path()));
        processes.end_with_us();
        let url = format!("http://127.0.0.1:{port}");
        let asked = super::browser::client();
        eventually("chromedriver does not get ready", async || {
            if let Some(status) = processes.0.try_wait().expect("a child") {
                panic!("chromedriver ended at once: {status}");
            }
            let status = asked
                .get(format!("{url}/status"))
                .send()
                .await
                .ok()?
                .text()
                .await
                .ok()?;
            serde_json::from_str::<Value>(&status).ok()?["value"]["ready"]
                .as_bool()?
                .then_some(())
        })
        .await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(self.capabilities(profile.path()))
            .connect(&url)
            .await
            .unwrap_or_else(|error| {
                panic!("Chromium does not start (Debian: chromium, chromium-driver): {error}")
            });
        Chromium {
            client,
            driver: url,
            _processes: processes,
            _profile: profile,
            _permit: permit,
        }
    }

    fn capabilities(&self, profile: &Path) -> Capabilities {
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", profile.display()));
        flags.push("--window-size=1280,900".to_owned());
        flags.extend(self.flags.iter().cloned());
        let mut options = json!({ "args": flags, "prefs": self.preferences });
        let phone = match self.screen {
            Screen::Desktop => None,
            Screen::Phone => Some((360, 740)),
            Screen::Narrow => Some((320, 640)),
        };
        if let Some((width, height)) = phone {
            options["mobileEmulation"] = json!({
                "deviceMetrics": { "width": width, "height": height, "pixelRatio": 2.0, "mobile": true, "touch": true },
            });
        }
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        wanted.as_object().expect("an object").clone()
    }
}

/// Puts certificates where the browser looks for them: in a database below its home.
fn install(home: &Path, certificates: &[Identity]) {
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).expect("a folder");
    let name = format!("sql:{}", database.display());
    let run = |program: &str, words: &[&str]| {
        let done = Command::new(program).args(words).output();
        let done = done.unwrap_or_else(|error| {
            panic!("{program} (Debian: libnss3-tools, openssl) does not run: {error}")
        });
        assert!(
            done.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    if !certificates.is_empty() {
        run("certutil", &["-N", "--empty-password", "-d", &name]);
    }
    for Identity { cert, key } in certificates {
        let bundle = home.join("identity.p12").display().to_string();
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        run(
            "openssl",
            &[
                "pkcs12", "-export", "-in", &cert, "-inkey", &key, "-out", &bundle, "-passout",
                "pass:x", "-name", "broker",
            ],
        );
        run("pk12util", &["-i", &bundle, "-d", &name, "-W", "x"]);
    }
}

fn start_chromedriver(port: u16, home: &Path) -> Child {
    Command::new(CHROMEDRIVER)
        .env("HOME", home)
        .arg(format!("--port={port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{CHROMEDRIVER} (Debian: chromium, chromium-driver) cannot be started: {error}")
        })
}

impl Chromium {
    /// A browser with a large screen.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A browser to one's own wishes.
    pub fn builder() -> Builder {
        Builder {
            screen: Screen::Desktop,
            preferences: serde_json::Map::new(),
            flags: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Goes to an address and waits until the page is loaded.
    pub async fn open(&self, url: &str) {
        self.client
            .goto(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The Back button.
    pub async fn back(&self) {
        self.client
            .back()
            .await
            .expect("there is a page to go back to");
    }

    /// The Forward button.
    pub async fn forward(&self) {
        self.client
            .forward()
            .await
            .expect("there is a page to go forward to");
    }

    /// The Reload button.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("a page is open");
    }

    /// Clicks the first element of this selector, as a pointer would.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        element
            .click()
            .await
            .unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Clicks it twice, as people do who are used to icons.
    pub async fn double_click(&self, selector: &str) {
        let (x, y, width, height) = self
            .find(selector)
            .await
            .rectangle()
            .await
            .expect("it is there");
        let scrolled = self
            .eval("return scrollY")
            .await
            .as_f64()
            .expect("a number");
        for (kind, clicks) in [
            ("mousePressed", 1),
            ("mouseReleased", 1),
            ("mousePressed", 2),
            ("mouseReleased", 2),
        ] {
            let (x, y) = (x + width / 2.0, y + height / 2.0 - scrolled);
            let event =
                json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": clicks });
            self.cdp("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types into the element of this selector, after what is there.
    pub async fn type_into(&self, selector: &str, text: &str) {
        self.find(selector)
            .await
            .send_keys(text)
            .await
            .unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Types wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let focused = self
            .client
            .active_element()
            .await
            .expect("something has the focus");
        focused.send_keys(keys).await.expect("it takes keys");
    }

    async fn find(&self, selector: &str) -> fantoccini::elements::Element {
        match self.client.find(Locator::Css(selector)).await {
            Ok(element) => element,
            Err(error) => panic!("{selector}: {error}\n{}", self.describe().await),
        }
    }

    /// What a script returns in the page.
    pub async fn eval(&self, script: &str) -> Value {
        self.client
            .execute(script, Vec::new())
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What an asynchronous script calls back with.
    pub async fn eval_async(&self, script: &str) -> Value {
        self.client
            .execute_async(script, Vec::new())
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The visible text of the page.
    pub async fn text(&self) -> String {
        self.try_text().await.unwrap_or_default()
    }

    async fn try_text(&self) -> Option<String> {
        let text = self
            .client
            .execute(
                "return document.body ? document.body.innerText : ''",
                Vec::new(),
            )
            .await
            .ok()?;
        Some(
            text.as_str()?
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    /// Path, query and fragment of the page.
    pub async fn place(&self) -> String {
        let url = self.client.current_url().await.expect("a page is open");
        let query = url
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let fragment = url
            .fragment()
            .map(|fragment| format!("#{fragment}"))
            .unwrap_or_default();
        format!("{}{query}{fragment}", url.path())
    }

    /// Waits until the browser is at this path, query and fragment.
    pub async fn arrives_at(&self, place: &str) -> &Self {
        self.until(&format!("{place} is not reached"), async || {
            (self.place().await == place).then_some(())
        })
        .await;
        self
    }

    /// Waits until the page shows this text.
    pub async fn shows(&self, text: &str) -> &Self {
        self.until(&format!("`{text}` is missing"), async || {
            self.try_text().await?.contains(text).then_some(())
        })
        .await;
        self
    }

    /// Waits until a script returns true.
    pub async fn comes_to(&self, script: &str) -> &Self {
        let script = format!("return {script}");
        self.until(&format!("`{script}` does not get true"), async || {
            // In the midst of a navigation there is no page to ask.
            self.client
                .execute(&script, Vec::new())
                .await
                .ok()?
                .as_bool()?
                .then_some(())
        })
        .await;
        self
    }

    async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if begun.elapsed() > PATIENCE {
                panic!("{what}\n{}", self.describe().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn describe(&self) -> String {
        format!("at {}\n{}", self.place().await, self.text().await)
    }

    /// Asserts that the page does not show this text now.
    pub async fn hides(&self, text: &str) -> &Self {
        let shown = self.text().await;
        assert!(!shown.contains(text), "`{text}` is there\n{shown}");
        self
    }

    /// What the field of this selector holds.
    pub async fn value(&self, selector: &str) -> String {
        self.find(selector)
            .await
            .prop("value")
            .await
            .expect("a page is open")
            .unwrap_or_default()
    }

    /// The element that has the focus, as its `id`, else its text.
    pub async fn focus(&self) -> String {
        let script = "const it = document.activeElement; return it.id || it.innerText.trim()";
        self.eval(script)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The tab that is in front.
    pub async fn tab(&self) -> WindowHandle {
        self.client.window().await.expect("a tab is open")
    }

    /// Opens a further tab and brings it to the front.
    pub async fn open_tab(&self) -> WindowHandle {
        let tab = self
            .client
            .new_window(true)
            .await
            .expect("a tab opens")
            .handle;
        self.turn_to(&tab).await;
        tab
    }

    /// Brings this tab to the front.
    pub async fn turn_to(&self, tab: &WindowHandle) {
        self.client
            .switch_to_window(tab.clone())
            .await
            .expect("the tab is open");
        self.cdp("Page.bringToFront", json!({})).await;
    }

    /// What the tab in front looks like.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a page is open")
    }

    /// A picture of the whole page, however long it is.
    pub async fn full_screenshot(&self) -> Vec<u8> {
        let picture = self
            .cdp(
                "Page.captureScreenshot",
                json!({ "captureBeyondViewport": true }),
            )
            .await;
        let picture = picture["data"].as_str().expect("a picture").to_owned();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, picture).expect("base64")
    }

    /// A command of the DevTools protocol.
    pub async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.ask(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
        .await
    }

    /// What the browser wrote to its console since it was last asked, less the statuses of answers that are no 200.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.ask("se/log", &json!({ "type": "browser" })).await;
        let entries = log
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned());
        entries
            .filter(|message| !message.contains("the server responded with a status of"))
            .collect()
    }

    async fn ask(&self, what: &str, body: &Value) -> Value {
        let session = self
            .client
            .session_id()
            .await
            .expect("it runs")
            .expect("a session");
        let url = format!("{}/session/{session}/{what}", self.driver);
        let answer = super::browser::client()
            .post(&url)
            .body(body.to_string())
            .send()
            .await
            .expect("chromedriver answers");
        let answer: Value =
            serde_json::from_str(&answer.text().await.expect("an answer")).expect("JSON");
        assert!(
            answer["value"]["error"].is_null(),
            "{what} {body}: {}",
            answer["value"]
        );
        answer["value"].clone()
    }

    /// Asserts that axe finds nothing that keeps people from using the page.
    pub async fn is_accessible(&self, page: &str) {
        if self.eval("return typeof axe").await == "undefined" {
            // For this page, and for those that follow.
            self.eval(axe()).await;
            self.cdp(
                "Page.addScriptToEvaluateOnNewDocument",
                json!({ "source": axe() }),
            )
            .await;
        }
        let found = self.eval_async(AXE).await;
        let found = found
            .as_array()
            .unwrap_or_else(|| panic!("axe failed on {page}: {found}"));
        assert!(
            found.is_empty(),
            "{page}: {}",
            serde_json::to_string_pretty(found).expect("JSON")
        );
    }

    /// Asserts that nothing sticks out to the right.
    pub async fn fits(&self, page: &str) {
        let out = self.eval(STICKS_OUT).await;
        assert_eq!(out, json!([]), "{page} needs horizontal scrolling");
    }
}

const AXE: &str = r#"
const done = arguments[arguments.length - 1];
axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'],
}).then(
    (result) => done(result.violations.map(({ id, help, nodes }) => ({ id, help, at: nodes.map((node) => [node.html, node.failureSummary]) }))),
    (error) => done(String(error)),
);
"#;

const STICKS_OUT: &str = r#"
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= width) return [];
const wide = [...document.body.querySelectorAll('*')].filter((it) => it.getBoundingClientRect().right > width + 0.5);
return [`${document.documentElement.scrollWidth} > ${width}`, ...wide.map((it) => it.outerHTML.slice(0, 120))];
"#;

/// axe-core, which `.ci/tools` fetches.
fn axe() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/axe.min.js");
        std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}; .ci/tools fetches it", file.display()))
    })
}
