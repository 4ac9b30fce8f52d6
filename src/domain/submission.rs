//! Which requests count as the Antragsversand, whatever a server may read into them.
//!
//! Servers differ in what they make of a path: they decode it, once or twice, cut parameters, merge slashes, resolve dots, fold case.
//! So a request of a session without submission is judged like this (security.md, 1): what any server could read differently from
//! plain sight is refused as doubtful; what is left has one reading, and that is compared. It is judged in the very bytes that are
//! forwarded, and judging allocates nothing. A safe method sends no application, whatever the address, unless something in the request
//! could turn it into another method.
//!
//! # The rule
//!
//! For sessions without e-mail `domain/submission.rs` judges method, target, the charset that `Content-Type`
//! names and whether a body comes, in the very bytes that are forwarded. Whatever any server could read
//! differently from plain sight is doubtful and refused (400); what is left has one reading, and if that begins
//! with a configured path, it is the Antragsversand (403). Full sessions are not judged: the calculator stays
//! transparent. Judging allocates nothing and looks at each byte a few times.
//!
//! - **Safe methods** (GET, HEAD, OPTIONS) pass as sent, whatever the path, unless another method may become of
//!   them: by a body; by `_method`, also behind a `?` that a server decodes in the path; by a line end that a
//!   server decodes in the path and writes on (`proxy_pass http://server$uri`); by a charset in which the query
//!   says something else.
//! - **Doubtful** with all others: methods that are not three to ten capital letters; raw bytes that browsers
//!   escape; broken and doubled escapes, and escapes of `/ \ . ; ? #` and controls; `%u`; UTF-8 that is none;
//!   odd path parameters; empty segments, dot segments, blanks and dots at a segment's ends; streams of Windows
//!   (`:$`); segments that begin with `(` (ASP.NET's sessions without cookies); a dot before `(`, where SAP cuts
//!   its sessions and would leave a dot segment; characters that case folding, compatibility or dropping turn
//!   into ASCII or nothing (`lookalikes.rs`). What follows `(` within a segment is compared with and without it.
//! - **Queries** (`submission/query.rs`) are read, not refused, since honest ones hold anything: decoded up to
//!   twice, parted before or after, names up to a NUL or `[`, `_` for any sign, values by their letters and
//!   digits only. So a rule's parameters are found in every spelling that PHP, Express or a framework that
//!   tidies takes for them, and in some that none does. Two things are refused where a rule has a query: `%u`
//!   with four digits (ASP.NET, Mono, Jetty, Perl), and a charset in which ASCII is not ASCII
//!   (`submission/charset.rs`; Tomcat, ASP.NET, Django).
//! - **Folders**: a rule for `index.*` or `default.*` guards the folder that a server answers with it; with a
//!   query all of the folder, as servers lead other addresses to their front controller. A path that ends in
//!   `/` is found without it too.
//! - What is the Antragsversand or in doubt is never public on the calculator's servers:
//!   `upstream.public_paths` and `portal.paths` do not open it.
//! - **Fields** that name another method, path or address are taken away from every request, whoever sends it
//!   (`domain/client_fields.rs`), and so are all whose names have anything but letters, digits and `-`; framing
//!   that two servers could read differently is refused before (`gateway/request/conformance.rs`).
//!
//! Shown by: `domain/submission/tests.rs` (tables; a property against models of servers), `tests/fuzz/` (the
//! same law, `make fuzz`; its corpus is replayed by `tests/guard/main.rs`), `tests/gateway/real_servers.rs` (Tomcat, Jetty,
//! nginx, nginx before Tomcat, Apache with PHP, Express with method-override, each shown to run the oddest of
//! the spellings when a full session sends them), `tests/servers/main.rs` (the same before Mono, `make
//! test-servers`), `tests/gateway/real_servers/fields.rs` (gunicorn with Flask and plain WSGI, PHP's `$_SERVER`),
//! `tests/gateway/submission.rs` (bodies, upgrades, pipelining, three gateways), `benches/guard.rs`.
//!
//! What it cannot know: a route that only the body names (no body is read: it would have to be held back to its
//! end, in every encoding and charset that some framework knows), or a message on a WebSocket; a path of the
//! calculator that sends applications and is not configured, such as one that an alias, a rewriting server
//! before the calculator, Zope's acquisition or its VirtualHostRoot leads there; a GET that sends an
//! application; letters that a server replaces by *similar* ones (`ā` for `a`; `submission.ascii_only` is for
//! those); a field, a parameter or a cookie that one application alone takes for method or address
//! (`?action_override=POST`, `X-Path-Of-Mine`; `upstream.strip` takes such a field away).

mod charset;
mod pieces;
mod query;

pub use self::charset::Charset;

use self::pieces::{Piece, Pieces, Segment, SegmentPosition};
use self::query::{Parameter, breaks_line, has_numbered_escape, overrides_method};
use super::lookalikes::may_become_ascii;

/// What a request means to do, as far as the policy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Anything but the Antragsversand, by every reading.
    Use,
    /// The Antragsversand: needs a confirmed e-mail address.
    Submit,
    /// Servers could read it in several ways.
    Unclear(Doubt),
}

/// What could be read in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A method that is not three to ten capital letters.
    Method,
    /// A byte in the path that browsers escape, or that does not begin with `/`.
    RawByte,
    /// A broken escape, a doubled one, or one of a character with a meaning of its own.
    Escape,
    /// Path parameters (`;name=value`) of unusual characters.
    Parameters,
    /// An empty segment within the path, one of dots or with blanks or a dot at its end, one that names a stream or begins with `(`.
    Segment,
    /// A character that may become ASCII or vanish.
    Character,
    /// A body, `_method=` or the end of a line with a method that promises to change nothing.
    Override,
    /// A charset in which the query's bytes may mean other characters.
    Charset,
}

/// What of a request is judged.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The request's target as it is forwarded.
    pub target: &'a [u8],
    /// Whether a body comes with it.
    pub body: Body,
    /// The charset that it names.
    pub charset: Charset,
}

/// Whether a body comes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None, or an empty one.
    None,
    /// One of some length, or of unknown length.
    Some,
}

/// The calculator's ways of sending an application.
#[derive(Clone, Debug)]
pub struct SubmissionRules {
    paths: Box<[Rule]>,
    letters: LetterCase,
    alphabet: PathAlphabet,
}

/// A path, and what the query must hold for it.
#[derive(Clone, Debug)]
struct Rule {
    /// Guarded with all that begins like it.
    path: Box<str>,
    /// A folder that is guarded by itself, since the server answers it with the file that `path` names.
    folder: Option<Box<str>>,
    query: Box<[Parameter]>,
}

/// Whether the calculator tells upper from lower case in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterCase {
    /// Paths are compared without regard to case.
    Folded,
    AsWritten,
}

/// Which characters paths may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathAlphabet {
    /// All but those that may become ASCII.
    Unicode,
    /// ASCII only: for servers that replace letters by similar ones (`ā` by `a`).
    Ascii,
}

/// Why a rule can never match a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeverMatches {
    /// Does not begin with `/`.
    NotAPath,
    /// A request with such a path is refused as doubtful before it is compared.
    Doubtful(Doubt),
    /// A parameter without letters, which every query would hold.
    EmptyQuery,
}

/// Methods that send no application, by RFC 9110, 9.2.1 ("safe").
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// The names, with any extension, of files that servers answer a folder with.
const INDEX_FILES: [&str; 2] = ["index", "default"];

/// The folder, with its slash, that a server answers with the file of this path: `/` for `/index.php`. `None` for other files.
pub fn index_folder(path: &str) -> Option<&str> {
    let (folder, file) = path.rsplit_once('/')?;
    let stem = file.split('.').next().unwrap_or_default();
    let is_index = INDEX_FILES
        .iter()
        .any(|index| index.eq_ignore_ascii_case(stem));
    is_index.then(|| path.get(..=folder.len())).flatten()
}

impl SubmissionRules {
    /// Rules for these paths. A path matches with everything that begins with it. With `?` and parameters, such as
    /// `/index.php?r=antrag/versand` or `/index.php?module=antrag&action=versand`, it matches if the query holds all of them, in any order.
    /// A file that servers answer a folder with ([`index_folder`]) guards the folder too: with a query all of it, since servers lead
    /// other addresses there as well, else the folder's own address.
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

    /// A rule is written as people read it, without escapes.
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

    pub fn judge(&self, request: &Request<'_>) -> Intent {
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
        let judged = if SAFE_METHODS.contains(&method) {
            check_safe(request, path, query).map(|()| Intent::Use)
        } else {
            self.check(request, path, query)
                .map(|()| self.compare(path, query))
        };
        judged.unwrap_or_else(Intent::Unclear)
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

    /// Whether the path, which was found to have one reading only, begins with the rule's or is its folder, and the query holds the
    /// rule's parameters. What follows a `(` in a segment may be a session's mark (`/sap(bD1kZQ==)/x`) and is read both ways.
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
    /// Whether this is the path as it was read, with one more `/` at its end.
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

/// A safe method is never the submission, unless another one may become of it: by a body or a parameter, also one that a server finds
/// behind an escaped `?`; by a line's end, where a server decodes the path and writes the request anew; by a charset in which the query
/// says something else.
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

/// What is made of a `(` in a segment, and of what follows it there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parentheses {
    Kept,
    /// SAP puts marks of sessions there.
    Cut,
}

/// The characters of a path that was found to have one reading. They end in a `/`, so that a folder is found without it too.
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

/// A character as comparisons without regard to case see it; servers that compare in upper case take `ß` for `SS`.
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

/// Rules and requests for tests of what takes them.
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
