//! Spellings of the Antragsversand: what some server, somewhere, takes for it, and what lies close to that.
//!
//! They are made from tables: each letter, each separator, each end and each beginning of `/antrag/versand` in every form, then
//! methods, fields that speak of another request, and framing. Bytes are written as characters up to U+00FF.

use std::collections::BTreeSet;

/// A request as it is put on the wire; `@HOST` stands for the gateway's own authority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spelling {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Fields, each with its line end.
    pub(crate) fields: String,
    pub(crate) body: Body,
}

/// What comes after the header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Body {
    /// A form, sent in each of the ways in which a body can be sent.
    Any,
    /// This form, with its length.
    Form(&'static str),
    /// These bytes; the row's own fields say how long they are, or lie about it.
    Raw(&'static str),
}

impl Spelling {
    /// A form to this target.
    pub(crate) fn plain(method: &str, target: &str) -> Self {
        Self::new(
            method,
            target,
            "",
            if method == "GET" {
                Body::Raw("")
            } else {
                Body::Any
            },
        )
    }

    fn new(method: &str, target: &str, fields: &str, body: Body) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: fields.to_owned(),
            body,
        }
    }
}

/// All of them, each once.
pub(crate) fn all() -> Vec<Spelling> {
    let mut all: BTreeSet<Spelling> = targets()
        .iter()
        .map(|target| Spelling::new("POST", target, "", Body::Any))
        .collect();
    all.extend(methods());
    all.extend(fields());
    all.extend(framings());
    all.into_iter().collect()
}

/// Every target.
pub(crate) fn targets() -> BTreeSet<String> {
    let mut all = letters();
    all.extend(separators());
    all.extend(ENDS.iter().map(|end| format!("/antrag/versand{end}")));
    all.extend(
        BEGINNINGS
            .iter()
            .map(|beginning| format!("{beginning}/antrag/versand")),
    );
    all.extend(WHOLE.iter().map(ToString::to_string));
    all
}

/// Each letter in each form, one at a time and all at once.
fn letters() -> BTreeSet<String> {
    let forms: [fn(char) -> String; 10] = [
        |letter| format!("%{:02x}", letter as u32),
        |letter| format!("%{:02X}", letter as u32),
        |letter| format!("%25{:02x}", letter as u32),
        |letter| format!("%2525{:02x}", letter as u32),
        |letter| format!("%u00{:02x}", letter as u32),
        |letter| format!("%c1%{:02x}", 0x80 | (letter as u32 & 0x3f)),
        |letter| format!("%e0%81%{:02x}", 0x80 | (letter as u32 & 0x3f)),
        // Full width: U+FF41 is `a`.
        |letter| format!("%ef%bd%{:02x}", 0x81 + (letter as u32 - 'a' as u32)),
        // Bold: U+1D41A is `a`.
        |letter| format!("%f0%9d%90%{:02x}", 0x9a + (letter as u32 - 'a' as u32)),
        |letter| letter.to_ascii_uppercase().to_string(),
    ];
    let path = "/antrag/versand";
    let mut all = BTreeSet::new();
    for form in forms {
        let written = |changed: &dyn Fn(usize) -> bool| -> String {
            let each = path.char_indices().map(|(at, symbol)| {
                if symbol != '/' && changed(at) {
                    form(symbol)
                } else {
                    symbol.to_string()
                }
            });
            each.collect()
        };
        all.extend((0..path.len()).map(|at| written(&|other| other == at)));
        all.insert(written(&|_| true));
    }
    all.remove(path);
    all
}

/// Each of the two slashes in each form.
fn separators() -> BTreeSet<String> {
    SEPARATORS
        .iter()
        .flat_map(|form| {
            [
                format!("{form}antrag/versand"),
                format!("/antrag{form}versand"),
            ]
        })
        .collect()
}

/// What some server reads as `/`, or as `/` and something that it cuts.
const SEPARATORS: [&str; 86] = [
    "::$INDEX_ALLOCATION/",
    ":$I30:$INDEX_ALLOCATION/",
    "//",
    "///",
    "/./",
    "/.//",
    "/././",
    "\\",
    "\\\\",
    "/\\",
    "\\/",
    "%2f",
    "%2F",
    "%5c",
    "%5C",
    "%2f%2f",
    "/%2f",
    "%2f/",
    "/%5c",
    "%252f",
    "%252F",
    "%255c",
    "%25252f",
    "%u002f",
    "%u002F",
    "%U002f",
    "%u005c",
    "%u2215",
    "%u2216",
    "%uff0f",
    "%c0%af",
    "%c0%2f",
    "%e0%80%af",
    "%f0%80%80%af",
    "%f8%80%80%80%af",
    "%c1%9c",
    "%c1%af",
    "%ef%bc%8f",
    "%ef%bc%bc",
    "%e2%88%95",
    "%e2%81%84",
    "%e2%88%96",
    "/;/",
    "/;x/",
    "/;x=1/",
    "/;;/",
    ";/",
    ";x/",
    ";x=1,2/",
    ";jsessionid=1/",
    "/.;/",
    "/.;x/",
    "/%2e/",
    "/%2E/",
    "/%2e;/",
    "%3b/",
    "%3bx/",
    "/%3b/",
    "/%3bx/",
    "/x/../",
    "/x/..;/",
    "/x/..;x/",
    "/x/%2e%2e/",
    "/x/.%2e/",
    "/x/%2e./",
    "/x/%2e%2e;/",
    "/x/%252e%252e/",
    "/x/..%2f",
    "/x/..%5c",
    "/x%2f..%2f",
    "/x/..\\",
    "/x/%u002e%u002e/",
    "/.../",
    "/....//",
    "/%20/",
    "/%09/",
    "/%0a/",
    "/%00/",
    "%00/",
    "%0d%0a/",
    "%20/",
    "./",
    "%2e/",
    "/%c2%a0/",
    "/%e2%80%8b/",
    "/%ef%bb%bf/",
];

/// What some server cuts from the end, or takes for a form of the same resource.
const ENDS: [&str; 130] = [
    "",
    "/",
    "//",
    "///",
    "/.",
    "/./",
    "/..",
    "/x/..",
    "/x/../",
    "/x/..;",
    "/%2e",
    "/%2e/",
    "/%2f",
    "/%5c",
    "\\",
    "%2f",
    "%5c",
    "%255c",
    "%252f",
    ".",
    "..",
    "...",
    "%2e",
    ".json",
    ".xml",
    ".html",
    ".do",
    ".php",
    ".jsp",
    ".css",
    ".%6a%73on",
    ";",
    ";x",
    ";.css",
    ";jsessionid=1A2B.node1",
    ";x=/y",
    ";/",
    "/;",
    "/;x",
    ";%2f",
    ";%00",
    ";a\"b",
    "%3b",
    "%3bx",
    "%3B",
    "%3b.css",
    "%00",
    "%00.html",
    "%01",
    "%08",
    "%09",
    "%0a",
    "%0A",
    "%0b",
    "%0c",
    "%0d",
    "%0d%0a",
    "%1c",
    "%1d",
    "%1e",
    "%1f",
    "%20",
    "%20%20",
    "%7f",
    "%85",
    "%a0",
    "%ff",
    "%c2%85",
    "%c2%a0",
    "%c2%ad",
    "%e2%80%8b",
    "%e2%80%8e",
    "%ef%bb%bf",
    "%e3%80%80",
    "%cc%88",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{1c}",
    "\u{1f}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{ff}",
    "::$DATA",
    "::$INDEX_ALLOCATION",
    ".php::$DATA",
    "~",
    "~1",
    "*",
    "?",
    "?x",
    "??",
    "?/public",
    "?/../x",
    "?x=/ui/login/de/vtnr-login",
    "?_method=PUT",
    "?_method=GET",
    "?;x",
    "?#",
    "?%00",
    "?%23",
    "#",
    "#x",
    "#/../x",
    "%23",
    "%23x",
    "%3f",
    "%3fx",
    "%3F/public",
    "%26",
    "&x",
    ",x",
    ":x",
    "@x",
    "!",
    "'",
    "\"",
    "(",
    "=",
    "$",
    "+",
    "|",
    "^",
    "`",
    "{}",
    "<",
    "%",
    "%4",
    "%zz",
];

/// What some server cuts from the beginning, or takes for another host that it does not mind.
const BEGINNINGS: [&str; 74] = [
    ".",
    "./",
    "../",
    "..",
    "/.",
    "/..",
    "/../..",
    "/./.",
    "/%2e",
    "/%2e%2e",
    "/.%2e",
    "/x/..",
    "/x/../.",
    "/x/y/../..",
    "/x//../..",
    "/x/..;",
    "/x;/..",
    "/x/%2e%2e",
    "/x/..%2f",
    "/x%2f..",
    "/x/%252e%252e",
    "/x\\..",
    "/;",
    "/;x",
    "/;x=1",
    "/.;",
    "/..;",
    "/%3b",
    "/%3bx",
    "//",
    "///",
    "//evil.example",
    "//@HOST",
    "//x/..",
    "\\",
    "/\\",
    "\\\\",
    "%2f",
    "/%2f",
    "%5c",
    "/%5c",
    "/%00",
    "/%09",
    "/%20",
    "/%0a",
    "/%c2%a0",
    "/%e2%80%8b",
    "/%ef%bb%bf",
    "\t",
    "\u{b}",
    "?",
    "#",
    "*",
    "/*",
    "http:",
    "http:/",
    "http://@HOST",
    "HTTP://@HOST",
    "http://evil.example",
    "https://@HOST",
    "x://@HOST",
    "http://ada@@HOST",
    "http://@HOST.",
    "http://",
    "urn:",
    "http:http:",
    "/http://@HOST",
    "/ui/login/de/..",
    "/ui/login/de/../../..",
    "/ui/login/de/%2e%2e/%2e%2e/%2e%2e",
    "/ui/login/de/..%2f..%2f..",
    "/ui/login/de/..;/..;/..;",
    "/index.php/..",
    "/antrag/..",
];

/// Targets that are none of these: letters of either case, characters that become ASCII, and routes of front controllers.
const WHOLE: [&str; 90] = [
    "antrag/versand",
    "*",
    "/ANTRAG/VERSAND",
    "/Antrag/Versand",
    "/aNTRAG/vERSAND",
    "/ANTRAG/versand/",
    "/%41NTRAG/%56ersand",
    "/%41ntrag%2f%56ersand",
    "/antrag/ver%c5%bfand",
    "/antrag/VER%C5%BFAND",
    "/ANTRAG/VERSAND.JSON",
    "/antrag/ver%c2%adsand",
    "/an%e2%80%8btrag/versand",
    "/%c2%aantrag/versand",
    "/antr%c2%aag/versand",
    "/antrag/ver%cb%a2and",
    "/antrag/versan%e2%85%be",
    "/antrag/versan%e1%b5%88",
    "/antrag/%e2%85%b4ersand",
    "/%e2%93%90ntrag/versand",
    "/antrag%e2%93%a5versand",
    "/ant%72ag/%2576ersand",
    "/antrag/ve%72s%61nd",
    "/a%6etrag/v%65rsand?x",
    "/antrag+/versand",
    "/antrag%2b/versand",
    "/antrag/versand/1",
    "/antrag/versand/%31",
    "/antrag/versand/../versand",
    "/antrag/versand/x/../..//versand",
    "/antrag/x/../versand/",
    "/antrag/x/..;/versand;y",
    "/antrag;a=1;b=2/versand;c=3",
    "/antrag;a=%2f/versand",
    "/antrag;a=b%3bc/versand",
    "/antrag;%0a/versand",
    "/antrag/;a/;b/versand",
    "/;a/antrag/;b/versand/;c",
    "/index.php/antrag/versand",
    "/index.php/antrag/versand/",
    "/index.php/antrag%2fversand",
    "/index.php//antrag/versand",
    "/index.php/ANTRAG/Versand",
    "/index.php/%61ntrag/versand",
    "/INDEX.PHP/antrag/versand",
    "/index.php;/antrag/versand",
    "/index%2ephp/antrag/versand",
    "/index.php/./antrag/versand",
    "/index.php/x/../antrag/versand",
    "/index.php?r=antrag/versand",
    "/index.php?r=antrag%2fversand",
    "/index.php?r=antrag%2Fversand",
    "/index.php?%72=antrag/versand",
    "/index.php?r=%61ntrag/versand",
    "/index.php?r=ANTRAG/VERSAND",
    "/index.php?r=/antrag/versand",
    "/index.php?r=antrag/versand/",
    "/index.php?r=%20antrag/versand",
    "/index.php?r=+antrag/versand",
    "/index.php?r=%0aantrag/versand%00",
    "/index.php?r=%00antrag/versand",
    "/index.php?r%00=antrag/versand",
    "/index.php?r%00x=antrag/versand",
    "/index.php?+r=antrag/versand",
    "/index.php?%20r=antrag/versand",
    "/index.php?r[]=antrag/versand",
    "/index.php?r%5b%5d=antrag/versand",
    "/index.php?r[x]=antrag/versand",
    "/index.php?r=x&r=antrag/versand",
    "/index.php?a=1&&r=antrag/versand&r2=x",
    "/?r=antrag/versand",
    "/x/y?r=antrag/versand",
    "/index.php/x?r=antrag/versand",
    "?r=antrag/versand",
    "/?r=%2561ntrag/versand",
    "/x?r=%2fantrag%2fversand%2f",
    "/x?r=%09antrag/versand",
    "/x?%2572=antrag/versand",
    "/x?r==antrag/versand",
    "/kfz?r=antrag/versand",
    "/kfz/?r=antrag/versand",
    "/index?r=antrag/versand",
    "/index.php?%u0072=antrag/versand",
    "/index.php?r=%u0061ntrag/versand",
    "/index.php?r=%25u0061ntrag/versand",
    "/(S(lit3py55t21z5v55vlm25s55))/antrag/versand",
    "/(A(x)S(y))/antrag/versand.aspx",
    "/antrag/(x)/versand",
    "/antrag(bD1kZSZjPTAwMA==)/versand",
    "/%28x%29/antrag/versand",
];

fn methods() -> Vec<Spelling> {
    let acting = [
        "post",
        "Post",
        "pOST",
        "POSt",
        "PUT",
        "put",
        "PATCH",
        "DELETE",
        "JEFF",
        "X",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "MOVE",
        "LOCK",
        "REPORT",
        "SEARCH",
        "QUERY",
        "PURGE",
        "LINK",
        "TRACE",
        "TRACK",
        "CONNECT",
        "P-OST",
        "POST1",
        "get",
        "Get",
        "head",
        "options",
    ];
    let form = "_method=POST&fahrer=Ada";
    let mut all: Vec<_> = acting
        .map(|method| Spelling::new(method, "/antrag/versand", "", Body::Any))
        .into();
    for method in ["GET", "HEAD", "OPTIONS"] {
        all.push(Spelling::new(
            method,
            "/antrag/versand",
            "",
            Body::Form(form),
        ));
        all.push(Spelling::new(
            method,
            "/antrag/versand",
            "X-HTTP-Method-Override: POST\r\n",
            Body::Form(form),
        ));
    }
    let queries = [
        "_method=POST",
        "_method=post",
        "_METHOD=POST",
        "%5fmethod=POST",
        "%5Fmethod=POST",
        "a=1&_method=POST",
        "_method=GET&_method=POST",
        "_method%3dPOST",
        "_method[]=POST",
        "_method%5b%5d=POST",
        "_method[0]=POST",
        "_method[x]=POST",
        "%5fmethod%5b%5d=POST",
        "_method%00=POST",
        "_method%00x=POST",
        ".method=POST",
        "+_method=POST",
        "%20_method=POST",
        "[method=POST",
        "%255fmethod=POST",
        ";_method=POST",
        "_m%65thod=POST",
        "_method=POST#",
        "_method =POST",
        "%2emethod=POST",
    ];
    all.extend(queries.map(|query| {
        Spelling::new(
            "GET",
            &format!("/antrag/versand?{query}"),
            "",
            Body::Raw(""),
        )
    }));
    all
}

/// Fields that some application believes about method or address.
fn fields() -> Vec<Spelling> {
    let mut all = Vec::new();
    let addresses = [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-URI",
        "X-Forwarded-Uri",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
    ];
    let overrides = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Forwarded-Method",
    ];
    for name in addresses {
        for spelled in forms_of(name) {
            all.push(Spelling::new(
                "POST",
                "/tarif",
                &format!("{spelled}: /antrag/versand\r\n"),
                Body::Form("fahrer=Ada"),
            ));
        }
    }
    for name in overrides {
        for spelled in forms_of(name) {
            all.push(Spelling::new(
                "GET",
                "/antrag/versand",
                &format!("{spelled}: POST\r\n"),
                Body::Raw(""),
            ));
        }
    }
    // Twice, nominated away, or in a tunnel's clothes.
    for fields in [
        "X-Original-URL: /x\r\nX-Original-URL: /antrag/versand\r\n",
        "X-Original-URL: /antrag/versand\r\nConnection: X-Forwarded-For\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nX-Rewrite-URL: /antrag/versand\r\n",
    ] {
        all.push(Spelling::new(
            "POST",
            "/tarif",
            fields,
            Body::Form("fahrer=Ada"),
        ));
    }
    for fields in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "X-Forwarded-Uri: /tarif\r\n",
        "X-Original-URL: /tarif\r\n",
        "X-HTTP-Method-Override: GET\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/json\r\n",
        "Connection: close\r\n",
        "Connection: Content-Length\r\n",
        "Connection: Cookie\r\n",
        "X-VTNR-Level: full\r\n",
        "X_VTNR_Level: full\r\n",
    ] {
        all.push(Spelling::new(
            "POST",
            "/antrag/versand",
            fields,
            Body::Form("fahrer=Ada"),
        ));
    }
    all
}

/// A name as servers take it for the same one.
fn forms_of(name: &str) -> [String; 5] {
    [
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        name.replace('-', "_"),
        name.replace('-', "."),
    ]
}

/// A request within another one's body, and bodies that two servers end at different places.
fn framings() -> Vec<Spelling> {
    const INNER: &str = "POST /antrag/versand HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    // A length that covers the whole, and chunks that end before the inner request.
    const CHUNKED: &str =
        "0\r\n\r\nPOST /antrag/versand HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    const AS_CHUNK: &str =
        "3d\r\nPOST /antrag/versand HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n\r\n0\r\n\r\n";
    const BARE: &str =
        "1\nx\n0\n\nPOST /antrag/versand HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let all = CHUNKED.len();
    let rows = [
        (format!("Content-Length: {}\r\n", INNER.len()), INNER),
        ("Content-Length: 0\r\n".to_owned(), INNER),
        (String::new(), INNER),
        (
            "Content-Length: 0\r\nContent-Length: 0\r\n".to_owned(),
            INNER,
        ),
        ("Content-Length: 0, 0\r\n".to_owned(), INNER),
        ("Content-Length: +0\r\n".to_owned(), INNER),
        ("Content-Length: 0x0\r\n".to_owned(), INNER),
        (
            format!("Content-Length: 0\r\nContent-Length: {}\r\n", INNER.len()),
            INNER,
        ),
        (format!("Content_Length: {}\r\n", INNER.len()), INNER),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding: chunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {all}\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer_Encoding: chunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding: xchunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding : chunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding:\tchunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding: identity\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding: chunked, identity\r\n"),
            CHUNKED,
        ),
        (
            format!(
                "Content-Length: {all}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"
            ),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nTransfer-Encoding: \u{b}chunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\n Transfer-Encoding: chunked\r\n"),
            CHUNKED,
        ),
        (
            format!("Content-Length: {all}\r\nX: x\nTransfer-Encoding: chunked\r\n"),
            CHUNKED,
        ),
        ("Transfer-Encoding: chunked\r\n".to_owned(), CHUNKED),
        ("Transfer-Encoding: CHUNKED\r\n".to_owned(), CHUNKED),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), CHUNKED),
        ("Transfer-Encoding: chunked\r\n".to_owned(), AS_CHUNK),
        ("Transfer-Encoding: chunked\r\n".to_owned(), BARE),
        (
            format!(
                "Content-Length: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                INNER.len()
            ),
            INNER,
        ),
        (
            format!(
                "Content-Length: {}\r\nExpect: 100-continue\r\n",
                INNER.len()
            ),
            INNER,
        ),
    ];
    let mut spellings = Vec::new();
    for (fields, body) in rows {
        for method in ["POST", "GET"] {
            spellings.push(Spelling::new(method, "/tarif", &fields, Body::Raw(body)));
        }
    }
    spellings
}

/// Headers that only HTTP/2 has: pseudo-fields that are odd, twice, late or at odds with each other. `@HOST` as in spellings.
pub(crate) fn pseudo_fields() -> Vec<Vec<(&'static str, &'static str)>> {
    const METHOD: (&str, &str) = (":method", "POST");
    const SCHEME: (&str, &str) = (":scheme", "https");
    const HOST: (&str, &str) = (":authority", "@HOST");
    const PATH: (&str, &str) = (":path", "/antrag/versand");
    const ELSE: (&str, &str) = (":path", "/tarif");
    let splitting = [
        "/tarif HTTP/1.1\r\nHost: x\r\n\r\nPOST /antrag/versand HTTP/1.1\r\nX: ",
        "/tarif\r\n\r\nPOST /antrag/versand",
        "/tarif /antrag/versand",
        "/tarif\u{0}/antrag/versand",
        "/antrag/versand HTTP/1.1",
    ];
    let methods = [
        "POST /antrag/versand HTTP/1.1\r\nX:",
        "POST /antrag/versand",
        "POST\r\n",
        " POST",
        "P\u{d6}ST",
        "",
        "PRI",
        "CONNECT",
    ];
    let mut all = vec![
        vec![METHOD, SCHEME, HOST, ELSE, PATH],
        vec![METHOD, SCHEME, HOST, PATH, ELSE],
        vec![(":method", "GET"), METHOD, SCHEME, HOST, PATH],
        vec![METHOD, (":method", "GET"), SCHEME, HOST, PATH],
        vec![SCHEME, HOST, PATH],
        vec![METHOD, HOST, PATH],
        vec![METHOD, SCHEME, PATH],
        vec![METHOD, SCHEME, HOST],
        vec![METHOD, SCHEME, HOST, (":path", "")],
        vec![METHOD, (":scheme", "http"), HOST, PATH],
        vec![METHOD, (":scheme", "x"), HOST, PATH],
        vec![
            METHOD,
            (":scheme", "https://@HOST/antrag/versand?"),
            HOST,
            ELSE,
        ],
        vec![METHOD, SCHEME, (":authority", "evil.example"), PATH],
        vec![
            METHOD,
            SCHEME,
            (":authority", "@HOST/antrag/versand?"),
            ELSE,
        ],
        vec![METHOD, SCHEME, (":authority", "ada@@HOST"), PATH],
        vec![METHOD, SCHEME, (":authority", ""), PATH],
        vec![METHOD, SCHEME, HOST, PATH, ("host", "evil.example")],
        vec![METHOD, SCHEME, HOST, PATH, ("host", "@HOST")],
        vec![METHOD, SCHEME, PATH, ("host", "@HOST")],
        vec![METHOD, SCHEME, HOST, PATH, (":protocol", "websocket")],
        vec![METHOD, SCHEME, HOST, ELSE, (":path2", "/antrag/versand")],
        vec![("x", "y"), METHOD, SCHEME, HOST, PATH],
        vec![METHOD, SCHEME, HOST, PATH, ("transfer-encoding", "chunked")],
        vec![METHOD, SCHEME, HOST, PATH, ("connection", "close")],
        vec![METHOD, SCHEME, HOST, PATH, ("content-length", "0")],
        vec![METHOD, SCHEME, HOST, PATH, ("content-length", "99")],
        vec![METHOD, SCHEME, HOST, PATH, ("te", "trailers")],
        vec![METHOD, SCHEME, HOST, PATH, ("expect", "100-continue")],
        vec![
            METHOD,
            SCHEME,
            HOST,
            ELSE,
            ("x-original-url", "/antrag/versand"),
        ],
        vec![
            METHOD,
            SCHEME,
            HOST,
            ELSE,
            ("X-Original-URL", "/antrag/versand"),
        ],
        vec![
            METHOD,
            SCHEME,
            HOST,
            ELSE,
            ("x", "y\r\nX-Original-URL: /antrag/versand"),
        ],
        vec![
            METHOD,
            SCHEME,
            HOST,
            ELSE,
            ("x: y\r\nx-original-url", "/antrag/versand"),
        ],
        vec![(":method", "GET"), SCHEME, HOST, PATH],
        vec![
            (":method", "GET"),
            SCHEME,
            HOST,
            PATH,
            ("content-length", "0"),
        ],
        vec![(":method", "CONNECT"), HOST],
        vec![(":method", "OPTIONS"), SCHEME, HOST, (":path", "*")],
    ];
    all.extend(splitting.map(|path| vec![METHOD, SCHEME, HOST, (":path", path)]));
    all.extend(methods.map(|method| vec![(":method", method), SCHEME, HOST, PATH]));
    all
}
