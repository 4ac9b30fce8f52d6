//! Classifies requests: the Antragsversand, in every way that a server may read it, or not.
//!
//! Servers differ in how they read a path: they decode it once or twice, cut parameters, merge slashes, resolve dots, fold case. So for
//! sessions without submission (security.md, 1), a request that any server could read differently is refused as doubtful. All others
//! have a single reading, which is compared with the rules.
//!
//! # The rule
//!
//! The rule applies to method, target, the charset in `Content-Type` and the presence of a body, in the exact
//! bytes that are forwarded. A request that servers could read differently is doubtful (400). A request whose
//! single reading begins with a configured path is the Antragsversand (403). Requests of full sessions are not
//! classified: the calculator stays transparent. Classifying allocates nothing and reads each byte a few times.
//!
//! - **Safe methods** (GET, HEAD, OPTIONS) pass, whatever the path, unless a server could turn them into another
//!   method: by a body; by `_method`, also after a `?` that a server decodes in the path; by a line end that a
//!   server decodes in the path and forwards (`proxy_pass http://server$uri`); by a charset in which the query
//!   reads differently.
//! - **Doubtful**, with all other methods: methods that are not three to ten capital letters; raw bytes that
//!   browsers escape; broken and doubled escapes, and escapes of `/ \ . ; ? #` and controls; `%u`; invalid UTF-8;
//!   odd path parameters; empty segments, dot segments, blanks and dots at the ends of segments; Windows streams
//!   (`:$`); segments that begin with `(` (ASP.NET's cookieless sessions); a dot before `(`, where SAP cuts its
//!   sessions and would leave a dot segment; characters that case folding, compatibility normalization or removal
//!   turn into ASCII or nothing (`lookalikes.rs`). A `(` within a segment is compared with and without what
//!   follows it.
//! - **Queries** (`submission/query.rs`) are read, not refused, since honest ones contain anything: decoded up to
//!   twice, split before or after, names up to a NUL or `[`, `_` for any sign, values by letters and digits only.
//!   So a rule's parameters are found in every spelling that PHP, Express or a normalizing framework accepts, and
//!   in some that none accepts. Two things are refused if a rule has a query: `%u` with four digits (ASP.NET,
//!   Mono, Jetty, Perl), and a charset that is not ASCII-compatible (`submission/charset.rs`; Tomcat, ASP.NET,
//!   Django).
//! - **Folders**: a rule for `index.*` or `default.*` also covers the folder that a server answers with that file;
//!   with a query, everything below it, since servers route other addresses to their front controller. A path that
//!   ends in `/` also matches without it.
//! - The Antragsversand and doubtful requests are never public on the calculator's servers:
//!   `upstream.public_paths` and `portal.paths` do not open them.
//! - **Fields** that name another method, path or address are removed from every request
//!   (`domain/client_fields.rs`), and so are all whose names have other characters than letters, digits and `-`.
//!   Ambiguous framing is refused earlier (`gateway/request/conformance.rs`).
//!
//! Shown by: `domain/submission/tests.rs` (tables; a property against models of servers), `tests/fuzz/` (the
//! same law, `make fuzz`; its corpus is replayed by `tests/guard/main.rs`), `tests/gateway/real_servers.rs` (Tomcat, Jetty,
//! nginx, nginx before Tomcat, Apache with PHP, Express with method-override, each shown to run the oddest of
//! the spellings when a full session sends them), `tests/servers/main.rs` (the same before Mono, `make
//! test-servers`), `tests/gateway/real_servers/fields.rs` (gunicorn with Flask and plain WSGI, PHP's `$_SERVER`),
//! `tests/gateway/submission.rs` (bodies, upgrades, pipelining, three gateways), `benches/guard.rs`.
//!
//! Limits: a route named only in the body (no body is read: it would have to be held back to its end, in every
//! encoding and charset of every framework), or in a message on a WebSocket; a path that sends applications but
//! is not configured, such as one reached by an alias, a rewriting server before the calculator, Zope's
//! acquisition or its VirtualHostRoot; a GET that sends an application; letters that a server replaces by
//! *similar* ones (`ā` for `a`; use `submission.ascii_only`); a field, parameter or cookie that only one
//! application takes for method or address (`?action_override=POST`, `X-Path-Of-Mine`; `upstream.strip` removes
//! such a field).

mod charset;
mod pieces;
mod query;

pub use self::charset::Charset;

use self::pieces::{Piece, Pieces, Segment, SegmentPosition};
use self::query::{Parameter, breaks_line, has_numbered_escape, overrides_method};
use super::lookalikes::may_become_ascii;

/// The purpose of a request, as far as the policy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Anything but the Antragsversand, by every reading.
    Use,
    /// The Antragsversand, which needs a confirmed e-mail address.
    Submit,
    /// Servers could read it in several ways.
    Unclear(Doubt),
}

/// The reason why a request could be read in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A method that is not three to ten capital letters.
    Method,
    /// A byte in the path that browsers escape, or a path that does not begin with `/`.
    RawByte,
    /// A broken escape, a doubled one, or one of a character with a special meaning.
    Escape,
    /// Path parameters (`;name=value`) with unusual characters.
    Parameters,
    /// A segment that is empty, consists of dots, ends in a blank or dot, names a stream, or begins with `(`.
    Segment,
    /// A character that may become ASCII or disappear.
    Character,
    /// A safe method with a body, `_method=` or a line end.
    Override,
    /// A charset in which the query's bytes may mean other characters.
    Charset,
}

/// The parts of a request that the rules read.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The target as forwarded.
    pub target: &'a [u8],
    pub body: Body,
    pub charset: Charset,
}

/// Whether a request has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None, or an empty one.
    None,
    /// A body of any length, or of unknown length.
    Some,
}

/// The configured paths of the Antragsversand.
#[derive(Clone, Debug)]
pub struct SubmissionRules {
    paths: Box<[Rule]>,
    letters: LetterCase,
    alphabet: PathAlphabet,
}

/// A path, with the parameters that the query must contain.
#[derive(Clone, Debug)]
struct Rule {
    /// Matches every path that begins with it.
    path: Box<str>,
    /// The exact folder that a server answers with the file at `path`.
    folder: Option<Box<str>>,
    query: Box<[Parameter]>,
}

/// Whether the calculator's paths are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterCase {
    /// Paths are compared case-insensitively.
    Folded,
    AsWritten,
}

/// The characters allowed in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathAlphabet {
    /// All but those that may become ASCII.
    Unicode,
    /// ASCII only: for servers that replace letters by similar ones (`ā` by `a`).
    Ascii,
}

/// The reason why a rule can never match a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeverMatches {
    /// Does not begin with `/`.
    NotAPath,
    /// Requests with such a path are refused as doubtful.
    Doubtful(Doubt),
    /// A parameter without letters, which would match every query.
    EmptyQuery,
}

/// Safe methods, which send no application (RFC 9110, 9.2.1).
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// File names, with any extension, that servers answer a folder with.
const INDEX_FILES: [&str; 2] = ["index", "default"];

/// Returns the folder, with its slash, that a server answers with this file: `/` for `/index.php`. `None` for other files.
pub fn index_folder(path: &str) -> Option<&str> {
    let (folder, file) = path.rsplit_once('/')?;
    let stem = file.split('.').next().unwrap_or_default();
    let is_index = INDEX_FILES
        .iter()
        .any(|index| index.eq_ignore_ascii_case(stem));
    is_index.then(|| path.get(..=folder.len())).flatten()
}

impl SubmissionRules {
    /// Creates rules for these paths. A path is a prefix. With `?` and parameters, such as `/index.php?r=antrag/versand` or
    /// `/index.php?module=antrag&action=versand`, it matches if the query contains all of them, in any order. A file that servers answer a
    /// folder with ([`index_folder`]) covers the folder, too: with a query everything below it, since servers route other addresses there,
    /// otherwise the folder's own address.
    ///
    /// # Errors
    /// The first path that can never match, and why.
    pub fn new(
        paths: impl IntoIterator<Item = String>,
        letters: LetterCase,
        alphabet: PathAlphabet,
    ) -> Result<Self, (String, NeverMatches)> {
        let mut rules = Self {
            paths: Box::default(),
            letters,
            alphabet,
        };
        let parsed = paths
            .into_iter()
            .map(|path| rules.rule(&path).map_err(|never| (path, never)));
        rules.paths = parsed.collect::<Result<_, _>>()?;
        Ok(rules)
    }

    fn rule(&self, text: &str) -> Result<Rule, NeverMatches> {
        let (path, query) = text
            .split_once('?')
            .map_or((text, None), |(path, query)| (path, Some(query)));
        if !path.starts_with('/') {
            return Err(NeverMatches::NotAPath);
        }
        if query.is_some_and(|query| query.contains('%')) {
            return Err(NeverMatches::Doubtful(Doubt::Escape));
        }
        let parameters = query.into_iter().flat_map(|query| query.split('&'));
        let query: Option<Box<[Parameter]>> = parameters.map(Parameter::parse).collect();
        let query = query.ok_or(NeverMatches::EmptyQuery)?;
        self.check_rule(path).map_err(NeverMatches::Doubtful)?;
        let fold = |text: &str| -> Box<str> {
            if self.letters == LetterCase::Folded {
                text.chars().flat_map(folded).collect::<String>().into()
            } else {
                text.into()
            }
        };
        let folder = index_folder(path);
        Ok(match folder.filter(|_| !query.is_empty()) {
            Some(all) => Rule {
                path: fold(all),
                folder: None,
                query,
            },
            None => Rule {
                path: fold(path),
                folder: folder.map(fold),
                query,
            },
        })
    }

    /// Rules are written without escapes.
    fn check_rule(&self, path: &str) -> Result<(), Doubt> {
        let mut segment = Segment::default();
        for symbol in path.chars().skip(1) {
            match symbol {
                '/' => segment.end(SegmentPosition::Inner)?,
                '%' | ';' | '#' => return Err(Doubt::Escape),
                symbol => {
                    self.check_character(symbol)?;
                    segment.push(symbol);
                }
            }
        }
        segment.end(SegmentPosition::Last)
    }

    pub fn classify(&self, request: &Request<'_>) -> Intent {
        let method = request.method;
        if !(3..=10).contains(&method.len())
            || !method.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return Intent::Unclear(Doubt::Method);
        }
        let (path, query) = split(request.target);
        if path.first() != Some(&b'/') {
            return Intent::Unclear(Doubt::RawByte);
        }
        let intent = if SAFE_METHODS.contains(&method) {
            check_safe(request, path, query).map(|()| Intent::Use)
        } else {
            self.check(request, path, query)
                .map(|()| self.compare(path, query))
        };
        intent.unwrap_or_else(Intent::Unclear)
    }

    fn compare(&self, path: &[u8], query: &[u8]) -> Intent {
        if self
            .paths
            .iter()
            .any(|rule| self.matches(rule, path, query))
        {
            Intent::Submit
        } else {
            Intent::Use
        }
    }

    fn check(&self, request: &Request<'_>, path: &[u8], query: &[u8]) -> Result<(), Doubt> {
        let mut segment = Segment::default();
        for piece in Pieces::of(path) {
            match piece? {
                Piece::Slash => segment.end(SegmentPosition::Inner)?,
                Piece::Character(symbol) => {
                    self.check_character(symbol)?;
                    segment.push(symbol);
                }
            }
        }
        segment.end(SegmentPosition::Last)?;
        if self.paths.iter().all(|rule| rule.query.is_empty()) {
            return Ok(());
        }
        if request.charset == Charset::Other {
            return Err(Doubt::Charset);
        }
        if has_numbered_escape(query) {
            Err(Doubt::Escape)
        } else {
            Ok(())
        }
    }

    fn check_character(&self, symbol: char) -> Result<(), Doubt> {
        let refused = !symbol.is_ascii()
            && (self.alphabet == PathAlphabet::Ascii || may_become_ascii(symbol));
        if refused {
            Err(Doubt::Character)
        } else {
            Ok(())
        }
    }

    /// Returns whether the path, known to have a single reading, begins with the rule's path or is its folder, and the query contains the
    /// rule's parameters. The text after a `(` in a segment may be a session mark (`/sap(bD1kZQ==)/x`), so both readings count.
    fn matches(&self, rule: &Rule, path: &[u8], query: &[u8]) -> bool {
        let is_at = |parentheses| match self.letters {
            LetterCase::AsWritten => rule.is_at(|| read(path, parentheses)),
            LetterCase::Folded => rule.is_at(|| read(path, parentheses).flat_map(folded)),
        };
        (is_at(Parentheses::Kept) || is_at(Parentheses::Cut))
            && rule.query.iter().all(|parameter| parameter.is_in(query))
    }
}

impl Rule {
    /// Returns whether this is the path as read, with a `/` appended.
    fn is_at<I: Iterator<Item = char>>(&self, read: impl Fn() -> I) -> bool {
        let begins_with =
            |read: &mut I, path: &str| path.chars().all(|symbol| read.next() == Some(symbol));
        let is_folder = |folder: &str| {
            let mut read = read();
            begins_with(&mut read, folder)
                && read.next().is_none_or(|symbol| symbol == '/')
                && read.next().is_none()
        };
        begins_with(&mut read(), &self.path) || self.folder.as_deref().is_some_and(is_folder)
    }
}

/// Classifies a safe method: never the submission, unless a server could turn it into another method by a body or a parameter, also after
/// an escaped `?`; by a line end, if it decodes the path and rewrites the request; or by a charset in which the query reads differently.
fn check_safe(request: &Request<'_>, path: &[u8], query: &[u8]) -> Result<(), Doubt> {
    let overrides = overrides_method(query) || overrides_method(path.get(1..).unwrap_or_default());
    if request.body == Body::Some || overrides || breaks_line(path) {
        return Err(Doubt::Override);
    }
    if request.charset == Charset::Other && !query.is_empty() {
        Err(Doubt::Charset)
    } else {
        Ok(())
    }
}

/// How a `(` in a segment, and the text after it, is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parentheses {
    Kept,
    /// SAP writes session marks there.
    Cut,
}

/// The characters of a path with a single reading. A final `/` is appended, so that a folder also matches without it.
fn read(path: &[u8], parentheses: Parentheses) -> impl Iterator<Item = char> {
    let mut is_cut = false;
    let read = Pieces::of(path)
        .map_while(Result::ok)
        .filter_map(move |piece| {
            is_cut = match piece {
                Piece::Slash => false,
                Piece::Character(symbol) => {
                    is_cut || symbol == '(' && parentheses == Parentheses::Cut
                }
            };
            match piece {
                Piece::Slash => Some('/'),
                Piece::Character(symbol) => (!is_cut).then_some(symbol),
            }
        });
    std::iter::once('/').chain(read).chain(std::iter::once('/'))
}

/// Folds the case of a character; servers that compare in upper case turn `ß` into `SS`.
fn folded(symbol: char) -> impl Iterator<Item = char> {
    let sharp = matches!(symbol, 'ß' | 'ẞ');
    let pair = if sharp { ['s', 's'].as_slice() } else { &[] };
    let other = (!sharp)
        .then(|| symbol.to_lowercase())
        .into_iter()
        .flatten();
    pair.iter().copied().chain(other)
}

fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    (path, query.get(1..).unwrap_or_default())
}

/// Rules and requests for tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) fn rules(paths: &[&str]) -> SubmissionRules {
        let paths = paths.iter().map(|path| (*path).to_owned());
        SubmissionRules::new(paths, LetterCase::Folded, PathAlphabet::Ascii).expect("sound rules")
    }

    pub(crate) fn get(target: &str) -> Request<'_> {
        request("GET", target, Body::None)
    }

    pub(crate) fn post(target: &str) -> Request<'_> {
        request("POST", target, Body::Some)
    }

    fn request<'a>(method: &'a str, target: &'a str, body: Body) -> Request<'a> {
        Request {
            method,
            target: target.as_bytes(),
            body,
            charset: Charset::of([]),
        }
    }
}

#[cfg(test)]
mod tests;
