//! A browser as far as HTTP goes: cookies, forms, and the fields that browsers send with a navigation.

use reqwest::header::{ACCEPT, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A browser with its cookies; clones are tabs that share them.
#[derive(Clone)]
pub struct Browser {
    client: Client,
    base: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    pub url: String,
}

impl Browser {
    /// A browser without cookies for this gateway.
    pub fn new(base: &str) -> Self {
        Self {
            client: client(),
            base: base.to_owned(),
            cookies: Arc::default(),
        }
    }

    /// Another gateway, the same cookies.
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// What a cookie holds.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies
            .lock()
            .expect("no panic here")
            .get(name)
            .cloned()
    }

    /// Sets a cookie, as an attacker or another tab might.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies
            .lock()
            .expect("no panic here")
            .insert(name.to_owned(), value.to_owned());
    }

    /// Forgets a cookie.
    pub fn drop_cookie(&self, name: &str) {
        self.cookies.lock().expect("no panic here").remove(name);
    }

    /// Another tab as it was with this one cookie: what either gets from now on is not the other's.
    pub fn clone_with(&self, (name, value): &(&str, String)) -> Self {
        let tab = Self {
            cookies: Arc::default(),
            ..self.clone()
        };
        tab.set_cookie(name, value);
        tab
    }

    /// The same browser with connections of its own.
    pub fn on_new_connections(&self, base: &str) -> Self {
        Self {
            client: client(),
            ..self.at(base)
        }
    }

    /// Goes to a path, without following where it leads.
    pub async fn open(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &navigation(), None).await
    }

    /// Goes to a path and on to where it leads.
    pub async fn get(&self, path: &str) -> Answer {
        let answer = self.open(path).await;
        self.follow(answer).await
    }

    /// Follows redirects to the end.
    pub async fn follow(&self, mut answer: Answer) -> Answer {
        for _ in 0..10 {
            let Some(location) = answer.location() else {
                return answer;
            };
            answer = self.open(&location).await;
        }
        panic!("a redirect loop at {}", answer.url)
    }

    /// Posts a form as a page of the gateway would, without following.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut headers = navigation();
        headers.push(("content-type", "application/x-www-form-urlencoded".into()));
        headers.push(("sec-fetch-site", "same-origin".into()));
        self.send(Method::POST, path, &headers, Some(body.into()))
            .await
    }

    /// Posts a body as a form of the calculator's would, without following.
    pub async fn post_body(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut headers = navigation();
        headers.push(("content-type", content_type.into()));
        headers.push(("sec-fetch-site", "same-origin".into()));
        headers.push(("referer", format!("{}/kfz/antrag", self.base)));
        self.send(Method::POST, path, &headers, Some(body.into()))
            .await
    }

    /// Presses a button of this page: posts its form to where that says, without following.
    pub async fn press(&self, page: &Answer, button: &str) -> Answer {
        self.press_at(&page.action_of(button)).await
    }

    /// Presses a button whose form posts nothing to this address, as text.
    pub async fn press_at(&self, path: &str) -> Answer {
        self.post_body(path, "text/plain", "").await
    }

    /// Fetches as a script would.
    pub async fn fetch(&self, path: &str) -> Answer {
        self.send(
            Method::GET,
            path,
            &[("sec-fetch-mode", "cors".into()), ("accept", "*/*".into())],
            None,
        )
        .await
    }

    /// Sends any request with the browser's cookies.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let mut request = self.client.request(method, &url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = self
            .with_cookies(request)
            .send()
            .await
            .unwrap_or_else(|error| panic!("{url}: {error:?}"));
        self.remember(response.headers());
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_default();
        Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            url,
        }
    }

    /// Goes to a path where that may fail: nobody answers, or the answer breaks off.
    pub async fn try_open(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.try_send(Method::GET, path, None).await
    }

    /// The same for a form.
    pub async fn try_post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.try_send(Method::POST, path, Some(body)).await
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        form: Option<String>,
    ) -> Result<Answer, reqwest::Error> {
        let url = format!("{}{path}", self.base);
        let request = self.client.request(method, &url);
        let mut request = navigation()
            .into_iter()
            .fold(request, |request, (name, value)| {
                request.header(name, value)
            });
        if let Some(form) = form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("sec-fetch-site", "same-origin")
                .body(form);
        }
        let response = self.with_cookies(request).send().await?;
        self.remember(response.headers());
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await?;
        Ok(Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            url,
        })
    }

    fn with_cookies(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let cookies: Vec<String> = self
            .cookies
            .lock()
            .expect("no panic here")
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if cookies.is_empty() {
            request
        } else {
            request.header(COOKIE, cookies.join("; "))
        }
    }

    /// Enters number and address on the first page, for a path to go to, without following.
    pub async fn claim(&self, vtnr: &str, email: &str, return_to: &str) -> Answer {
        self.post(
            &page("vtnr-login", return_to),
            &[("vtnr", vtnr), ("email", email)],
        )
        .await
    }

    /// Enters a TAN, without following.
    pub async fn enter_tan(&self, tan: &str, return_to: &str) -> Answer {
        self.post(&page("tan", return_to), &[("tan", tan)]).await
    }

    fn remember(&self, headers: &HeaderMap) {
        let mut cookies = self.cookies.lock().expect("no panic here");
        for field in headers.get_all(SET_COOKIE) {
            let field = field.to_str().expect("ASCII");
            let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            if attributes.contains("Max-Age=0") && !attributes.contains("Max-Age=0.") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// A client without cookies that follows nothing.
pub fn client() -> Client {
    // rustls must be told once; a second time is no failure.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .expect("a client")
}

/// The path of a page of ours, for a path to go to afterwards.
pub fn page(name: &str, return_to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", return_to)
        .finish();
    format!("/ui/login/de/{name}?{query}")
}

fn unescaped(text: &str) -> String {
    let entities = [
        ("&#x2f;", "/"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(text.to_owned(), |text, (entity, symbol)| {
            text.replace(entity, symbol)
        })
}

fn navigation() -> Vec<(&'static str, String)> {
    vec![
        (
            ACCEPT.as_str(),
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".into(),
        ),
        ("sec-fetch-mode", "navigate".into()),
        ("sec-fetch-dest", "document".into()),
        (
            "user-agent",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
                .into(),
        ),
    ]
}

impl Answer {
    /// Where it leads.
    pub fn location(&self) -> Option<String> {
        self.status
            .is_redirection()
            .then(|| self.headers.get(LOCATION)?.to_str().ok().map(str::to_owned))
            .flatten()
    }

    /// Asserts that it leads there.
    pub fn leads_to(&self, path: &str) -> &Self {
        assert_eq!(
            self.location().as_deref(),
            Some(path),
            "{} {}\n{}",
            self.status,
            self.url,
            self.body
        );
        self
    }

    /// Asserts that the page holds this text, tags and surplus blanks aside.
    pub fn shows(&self, text: &str) -> &Self {
        assert!(
            self.text().contains(text),
            "`{text}` is missing\n{} {}\n{}",
            self.status,
            self.url,
            self.text()
        );
        self
    }

    /// Asserts that it does not.
    pub fn hides(&self, text: &str) -> &Self {
        assert!(
            !self.text().contains(text),
            "`{text}` is there\n{} {}\n{}",
            self.status,
            self.url,
            self.text()
        );
        self
    }

    /// Asserts that `Retry-After` says so many seconds, and the page the same in words.
    pub fn waits(&self, seconds: u64) -> &Self {
        assert_eq!(
            self.headers["retry-after"],
            seconds.to_string().as_str(),
            "{}",
            self.url
        );
        let words = if seconds < 60 {
            ["in wenigen Sekunden", "einige Sekunden"]
        } else {
            ["in einer Minute", "eine Minute"]
        };
        let text = self.text();
        assert!(
            words.iter().any(|words| text.contains(words)),
            "{words:?} {}\n{text}",
            self.url
        );
        assert!(
            seconds >= 60 || !text.contains("Minute"),
            "{}\n{text}",
            self.url
        );
        self
    }

    /// Asserts the status.
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}\n{}",
            self.url,
            self.text()
        );
        self
    }

    /// The body without tags and templates, which no browser shows; blanks in a row as one.
    pub fn text(&self) -> String {
        let mut parts = self.body.split("<template");
        let first = parts.next().unwrap_or_default();
        let shown: String = std::iter::once(first)
            .chain(parts.map(|part| part.split_once("</template>").map_or("", |(_, rest)| rest)))
            .collect();
        let mut text = String::new();
        let mut inside = false;
        for symbol in shown.chars() {
            match symbol {
                '<' => inside = true,
                '>' => inside = false,
                _ if !inside => text.push(symbol),
                _ => {}
            }
        }
        unescaped(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// What a field of the page's forms is filled with.
    pub fn field(&self, name: &str) -> String {
        let input = self
            .body
            .split("<input ")
            .find(|input| input.contains(&format!("name=\"{name}\"")));
        let input = input.unwrap_or_else(|| panic!("no field {name}\n{}", self.body));
        unescaped(
            input
                .split("value=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_default(),
        )
    }

    /// Where the form with this button posts to.
    pub fn action_of(&self, button: &str) -> String {
        let form = self.body.split("<form ").find(|form| {
            form.split("</form>")
                .next()
                .is_some_and(|form| form.contains(button))
        });
        let form = form.unwrap_or_else(|| panic!("no button {button}\n{}", self.body));
        let tag = form.split('>').next().unwrap_or_default();
        unescaped(
            tag.split("action=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_else(|| panic!("{tag}")),
        )
    }

    /// Where the link with this text leads.
    pub fn href_of(&self, text: &str) -> String {
        let link = self.body.split("<a ").find(|link| {
            link.split("</a>")
                .next()
                .is_some_and(|link| link.contains(text))
        });
        let link = link.unwrap_or_else(|| panic!("no link {text}\n{}", self.body));
        unescaped(
            link.split("href=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_else(|| panic!("{link}")),
        )
    }

    /// The number that follows these words, such as `noch` in `noch 3 Versuche`.
    pub fn number_after(&self, words: &str) -> Option<u32> {
        let text = self.text();
        let rest = text.split_once(words)?.1.trim_start();
        rest.split(|symbol: char| !symbol.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    }

    /// All cookies that it sets or clears, as they stand in the fields.
    pub fn set_cookies(&self) -> Vec<String> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|field| field.to_str().expect("ASCII").to_owned())
            .collect()
    }
}
