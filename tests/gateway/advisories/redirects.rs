//! Where a stranger would like a broker to land after signing in. `@` stands for a host of the stranger's.

/// The hosts, as browsers also take them.
const HOSTS: [&str; 3] = ["evil.example", "3221225985", "[2001:db8::666]"];

const SHAPES: [&str; 68] = [
    "//@",
    "///@",
    "////@",
    "/////@//",
    "//@/%2e%2e",
    "//@/..;/kfz",
    "//@:443/",
    "//@?x=/kfz",
    "//@#/kfz",
    "//@\\@HOST/",
    "//HOST@@/",
    "//HOST:80@@/",
    "//HOST%40@/",
    "///HOST@@",
    "/\\@",
    "/\\/@",
    "/\\\\@",
    "\\/@",
    "\\\\@",
    "\\\\\\@",
    "\\@",
    "/\t/@",
    "\t//@",
    "/\t\\@",
    "/\n/@",
    "\n//@",
    "/\r/@",
    "/\r\n/@",
    "\r\n//@",
    "/\u{b}/@",
    "/\u{c}/@",
    "/\0/@",
    "\0//@",
    "/\u{1f}/@",
    " //@",
    "/ /@",
    "\u{a0}//@",
    "/\u{a0}/@",
    "\u{feff}//@",
    "/\u{200b}/@",
    "/\u{2028}/@",
    "/\u{3000}/@",
    "/\u{2f}\u{2044}@",
    "\u{ff0f}\u{ff0f}@",
    "/\u{ff0f}@",
    "/\u{2215}@",
    "http://@",
    "https://@",
    "HTTPS://@/kfz",
    "hTTp:@",
    "https:@",
    "https:/@",
    "https:///@",
    "https:\\\\@",
    "https:/\\@",
    "http:\t//@",
    "ht\ntps://@",
    "https://HOST@@",
    "https://HOST.@",
    "https://@/HOST",
    "https://@\\HOST",
    "ftp://@",
    "ws://@",
    "blob:https://@/x",
    "view-source:https://@",
    "@",
    "@/kfz",
    "?//@",
];

/// What is no path on this host, whatever host it is about.
const OTHERS: [&str; 16] = [
    "",
    "javascript:alert(document.domain)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    "\u{1}javascript:alert(1)",
    "javascript://HOST/%0aalert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "#//evil.example",
    ".//evil.example",
    "..//evil.example",
    "/kfz\r\nLocation: https://evil.example/",
    "/kfz\r\n\r\n<script>alert(1)</script>",
    "/kfz\nSet-Cookie: vtnr_session=x",
    "/kfz\u{10d}\u{10a}Location: https://evil.example/",
];

/// Every one of them, with this host's own authority where it helps to deceive.
pub(crate) fn all(own: &str) -> Vec<String> {
    let shaped = SHAPES
        .iter()
        .flat_map(|shape| HOSTS.map(|host| fill(shape, host, own)));
    let mut all: Vec<String> = shaped
        .chain(OTHERS.map(|other| fill(other, "", own)))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// `@@` is an `@` and the stranger's host.
fn fill(shape: &str, host: &str, own: &str) -> String {
    let marked = shape.replace("@@", "\u{e000}");
    marked
        .replace('@', host)
        .replace('\u{e000}', &format!("@{host}"))
        .replace("HOST", own)
}
