//! What operators write, and what they are told.

use super::*;
use domain::submission::{Body, Charset, Intent, Request};
use domain::throttle::Allowance;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// The least that a configuration holds, as in the operator's contract.
const LEAST: [&str; 9] = [
    "listen.http = \"127.0.0.1:8080\"",
    "listen.public_url = \"http://127.0.0.1:8080\"",
    "upstream.url = \"http://127.0.0.1:9000\"",
    "store.url = \"redis://127.0.0.1:6379/0\"",
    "store.secret_file = \"secret\"",
    "directory.file = \"brokers.csv\"",
    "mail.url = \"smtp://127.0.0.1:2525\"",
    "mail.from = \"Tarifrechner <noreply@insurer.example>\"",
    "submission.paths = [\"/antrag/versand\"]",
];
const ADMIN: &str = "admin.listen = \"127.0.0.1:9090\"";

/// A folder as an operator would prepare it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "secret", &format!("{}\n", "s".repeat(32)));
    write(&folder, "short", "too short\n");
    write(&folder, "empty", "\n");
    write(&folder, "password", "pa:ss/wö@rd\r\n");
    write(&folder, "two-lines", "pass\nword\n");
    write(&folder, "logo.svg", "<svg/>");
    for name in ["one", "two"] {
        let made =
            rcgen::generate_simple_self_signed([format!("{name}.example")]).expect("a certificate");
        write(&folder, &format!("{name}.pem"), &made.cert.pem());
        write(
            &folder,
            &format!("{name}.key"),
            &made.signing_key.serialize_pem(),
        );
    }
    let (ca, other) = (authority("Makler CA 1"), authority("Makler CA 2"));
    write(&folder, "ca.pem", &ca);
    write(&folder, "old-ca.pem", &authority_until("Makler CA 0", 2020));
    write(&folder, "cas.pem", &format!("{ca}{other}"));
    folder
}

fn authority(name: &str) -> String {
    authority_until(name, 2090)
}

fn authority_until(name: &str, year: i32) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .self_signed(&rcgen::KeyPair::generate().expect("a key"))
        .expect("a certificate")
        .pem()
}

fn write(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("made private");
}

/// `lines` on top, followed by those of the least configuration whose keys they do not name; `-key` leaves one out.
fn text_with(lines: &str) -> String {
    let named: Vec<&str> = lines
        .lines()
        .map(|line| line.trim_start_matches('-').split(' ').next().unwrap_or(""))
        .collect();
    let given = lines
        .lines()
        .map(|line| if line.starts_with('-') { "" } else { line });
    let rest = LEAST
        .iter()
        .chain([&ADMIN])
        .copied()
        .filter(|line| !named.contains(&line.split(' ').next().unwrap_or("")));
    given.chain(rest).map(|line| format!("{line}\n")).collect()
}

fn server(host: &str, port: u16) -> HostPort {
    HostPort {
        host: host.into(),
        port,
    }
}

fn parse(lines: &str) -> Result<Config, Mistakes> {
    Config::parse(&text_with(lines), folder().path())
}

/// The mistakes without the name of the file; names of the folder are cut.
fn told(lines: &str) -> Vec<String> {
    let folder = folder();
    let place = format!("{}/", folder.path().display());
    match Config::parse(&text_with(lines), folder.path()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes
            .to_string()
            .lines()
            .map(|line| line.replace("configuration:", "").replace(&place, ""))
            .collect(),
    }
}

fn sound(lines: &str) -> Config {
    parse(lines).unwrap_or_else(|mistakes| panic!("{lines}\n{mistakes}"))
}

#[test]
fn the_contracts_example_loads() {
    let example = r#"
[listen]
http = "127.0.0.1:8080"                  # https = "0.0.0.0:8443" with [listen.tls] cert, key
public_url = "http://127.0.0.1:8080"
[upstream]
url = "http://127.0.0.1:9000"
[store]
url = "redis://127.0.0.1:6379/0"         # or rediss://, redis+sentinel://, redis+cluster://, file:PATH, memory:
secret_file = "secret" # keys for digests and sealing
[directory]
file = "/etc/vtnr-gateway/brokers.csv"
[mail]
url = "smtp://127.0.0.1:2525"            # or smtps://, smtp://...?tls=required
from = "Tarifrechner <noreply@insurer.example>"
[submission]
paths = ["/antrag/versand"]
[admin]
listen = "127.0.0.1:9090"
"#;
    let config =
        Config::parse(example, folder().path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(
        config.directory.file,
        Path::new("/etc/vtnr-gateway/brokers.csv")
    );
    assert_eq!(config.store.secret.reveal(), "s".repeat(32).as_bytes());
    let submit = Request {
        method: "POST",
        target: b"/antrag/versand",
        body: Body::Some,
        charset: Charset::AsciiCompatible,
    };
    assert_eq!(config.submission.classify(&submit), Intent::Submit);
    assert_eq!(
        (config.upstream.servers.as_slice(), config.upstream.tls),
        ([server("127.0.0.1", 9_000)].as_slice(), false)
    );
    assert_eq!(
        relays(&config),
        [("127.0.0.1", 2525, MailProtection::Plain, None)]
    );
}

#[test]
fn defaults_are_the_products() {
    let config = sound("");
    let minutes = |number: u64| Duration::from_secs(number * 60);
    assert_eq!(config.login.prefix, "/ui/login/de/");
    assert_eq!(
        config.login.tan,
        domain::challenge::TanLimits {
            lifetime: minutes(15),
            attempt: minutes(60)
        }
    );
    assert_eq!(config.login.tries, 5);
    assert_eq!(config.login.trust, minutes(30 * 24 * 60));
    assert_eq!(
        config.session,
        SessionLimits {
            idle: minutes(60),
            absolute: minutes(12 * 60)
        }
    );
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.store.outage_grace, minutes(1));
    assert_eq!(
        (config.login.enumeration, config.login.without_email),
        (Enumeration::Open, true)
    );
    assert_eq!(
        (
            config.listen.threads,
            config.listen.max_connections,
            config.listen.hosts.len()
        ),
        (0, 20_000, 0)
    );
    assert_eq!(
        (
            config.log.json,
            config.log.access,
            config.log.filter.as_str()
        ),
        (true, true, "info")
    );
}

#[test]
fn the_defaults_that_are_documented_are_those_that_hold() {
    // Sections that need not be there, with what is required in them.
    let bare = format!("{CERTIFICATE}\n{PORTAL}\npassword.file = \"users.csv\"");
    let written: String = known_keys()
        .into_iter()
        .filter_map(|key| match key.absent {
            Absent::Default(default) if !bare.contains(&format!("{} =", key.name)) => {
                Some(format!("{} = {default}\n", key.name))
            }
            _ => None,
        })
        .collect();
    let (written, bare) = (format!("{written}{bare}"), bare.as_str());
    let folder = folder();
    let sound = |lines: &str| {
        Config::parse(&text_with(lines), folder.path())
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
    };
    assert_eq!(
        format!("{:?}", sound(&written).limits),
        format!("{:?}", sound(bare).limits)
    );
    let without_warnings = |mut config: Config| {
        config.warnings.clear();
        config.directory.file = PathBuf::new();
        config
            .password
            .iter_mut()
            .for_each(|password| password.file = PathBuf::new());
        format!("{config:?}")
    };
    assert_eq!(
        without_warnings(sound(&written)),
        without_warnings(sound(bare))
    );
}

/// The way in with a certificate, with what it cannot do without.
const CERTIFICATE: &str = "listen.https = \"0.0.0.0:8443\"\nlisten.tls.cert = \"one.pem\"\nlisten.tls.key = \"one.key\"\n\
                           listen.public_url = \"https://rechner.example\"\ncertificate.listen = \"0.0.0.0:8444\"\n\
                           certificate.public_url = \"https://zert.example\"\ncertificate.ca_file = \"ca.pem\"";

/// The same for the portal.
const PORTAL: &str =
    "portal.check_url = \"http://127.0.0.1:9001/wer\"\nportal.cookies = [\"PORTAL\"]";

#[test]
fn the_other_ways_in_refuse_what_would_leave_them_open_or_of_no_use() {
    let with = |section: &str, line: &str| {
        let key = line
            .split([' ', '-'])
            .find(|word| !word.is_empty())
            .expect("a key");
        let kept: Vec<&str> = section
            .lines()
            .filter(|other| !other.starts_with(&format!("{key} ")))
            .collect();
        let lines = kept.join("\n");
        if line.starts_with('-') {
            lines
        } else {
            format!("{line}\n{lines}")
        }
    };
    let certificate = [
        (
            "-certificate.listen",
            "certificate.listen: is missing; [certificate] requires it",
        ),
        (
            "-certificate.public_url",
            "certificate.public_url: is missing; [certificate] requires it",
        ),
        (
            "-certificate.ca_file",
            "certificate.ca_file: is missing; [certificate] requires it",
        ),
        (
            "certificate.ca_file = \"nowhere.pem\"",
            "certificate.ca_file: or certificate.crl_files cannot be used",
        ),
        (
            "certificate.ca_file = \"empty\"",
            "there is no certificate in it",
        ),
        (
            "certificate.ca_file = \"secret\"",
            "there is no certificate in it",
        ),
        (
            "certificate.ca_file = \"one.pem\"",
            "not that of a certification authority",
        ),
        (
            "certificate.ca_file = \"cas.pem\"",
            "certificate.issuer_column: is missing; certificate.ca_file has several issuers",
        ),
        ("certificate.crl_files = [\"nowhere.crl\"]", "nowhere.crl"),
        (
            "certificate.public_url = \"https://rechner.example\"",
            "is the same as listen.public_url; choose another host or port",
        ),
        (
            "certificate.public_url = \"http://127.0.0.1\"",
            "must begin with https://",
        ),
        (
            "certificate.identity = \"subject.name\"",
            "certificate.identity: \"subject.name\" is not",
        ),
        (
            "certificate.column = \"email\"",
            "is reserved; choose another column",
        ),
        (
            "certificate.cert = \"one.pem\"",
            "certificate: has only one of cert and key; give both or none",
        ),
        (
            "certificate.listen = \"0.0.0.0:8443\"",
            "certificate.listen",
        ),
        (
            "login.certificate_url = \"https://zert.example/\"",
            "conflicts with [certificate]",
        ),
    ];
    for (line, mistake) in certificate {
        let told = told(&with(CERTIFICATE, line)).join("\n");
        assert!(told.contains(mistake), "{line}\n{told}");
    }
    let portal = [
        (
            "-portal.check_url",
            "portal.check_url: is missing; [portal] requires it",
        ),
        ("-portal.cookies", "portal.cookies: is missing or empty"),
        (
            "portal.check_url = \"ftp://a/\"",
            "no address with http:// or https://",
        ),
        (
            "portal.check_url = \"http://ada:pass@a/\"",
            "no address with http:// or https://",
        ),
        ("portal.paths = [\"/\"]", "must end with / and not be"),
        ("portal.paths = [\"/portal\"]", "must end with / and not be"),
        (
            "portal.paths = [\"/Antrag/\"]",
            "covers \"/antrag/versand\" in submission.paths, so anybody could submit",
        ),
        (
            "portal.paths = [\"/Antrag/VERSAND/portal/\"]",
            "begins with \"/antrag/versand\" in submission.paths",
        ),
        (
            "portal.paths = [\"/antrag/versandstatus/\"]",
            "begins with \"/antrag/versand\" in submission.paths",
        ),
        (
            "portal.paths = [\"/index.php/\"]\nsubmission.paths = [\"/INDEX.php?r=antrag/versand\"]",
            "begins with \"/INDEX.php?r=antrag/versand\" in submission.paths",
        ),
        ("portal.ca_file = \"nowhere.pem\"", "cannot be read"),
        ("portal.ca_file = \"empty\"", "contains no PEM certificate"),
        ("portal.paths = [\"/ui/\"]", "overlaps login.prefix"),
        (
            "portal.paths = [\"/ui/login/de/x/\"]",
            "overlaps login.prefix",
        ),
        (
            "portal.server = \"http://127.0.0.1:9001\"",
            "is of no use without portal.paths",
        ),
        (
            "portal.cookies = [\"__Host-vtnr_session\"]",
            "is one of the gateway's own cookies",
        ),
        (
            "portal.paths = [\"/portal%2f/\"]",
            "which servers interpret differently",
        ),
        ("portal.vtnr_header = \"Set-Cookie\"", "is reserved in HTTP"),
        (
            "portal.sign_in_url = \"javascript:alert(1)\"",
            "is neither a path",
        ),
    ];
    for (line, mistake) in portal {
        let told = told(&with(PORTAL, line)).join("\n");
        assert!(told.contains(mistake), "{line}\n{told}");
    }
    let warnings = sound(&with(CERTIFICATE, "certificate.ca_file = \"old-ca.pem\""))
        .warnings
        .join("\n");
    assert!(
        warnings.contains("the certificate of issuer \"Makler CA 0\" has expired"),
        "{warnings}"
    );
    let warnings = sound(&format!(
        "{}\n{CERTIFICATE}",
        with(PORTAL, "portal.check_url = \"http://portal.example/\"")
    ))
    .warnings
    .join("\n");
    assert!(
        warnings.contains("certificate.crl_files: is empty")
            && warnings.contains("portal.check_url: begins with http://")
    );
}

#[test]
fn each_mistake_is_told_with_its_line_and_key() {
    let cases = [
        // What kind of value.
        (
            "login.tan_lifetime = \"0s\"",
            "1: login.tan_lifetime: 0s is shorter than the minimum, 5m",
        ),
        (
            "login.tan_lifetime = \"16m\"",
            "1: login.tan_lifetime: 16m is longer than the maximum, 15m",
        ),
        (
            "login.tan_lifetime = 900",
            "1: login.tan_lifetime: must be a duration in quotes, such as \"15m\"",
        ),
        (
            "login.tan_lifetime = \"15 m\"",
            "1: login.tan_lifetime: \"15 m\" is not a duration, such as \"500ms\", \"30s\", \"15m\", \"12h\" or \"30d\"",
        ),
        (
            "login.tan_tries = 0",
            "1: login.tan_tries: 0 is not between 1 and 10",
        ),
        (
            "login.tan_tries = \"5\"",
            "1: login.tan_tries: must be a whole number, without quotes",
        ),
        (
            "log.access = \"yes\"",
            "1: log.access: must be true or false, without quotes",
        ),
        (
            "log.format = \"xml\"",
            "1: log.format: \"xml\" is not \"json\" or \"text\"",
        ),
        (
            "log.filter = \"info,redis=loud\"",
            "1: log.filter: is not a filter, such as \"info\" or \"vtnr_gateway=debug,info\"",
        ),
        (
            "log.filter = \"inof\"",
            "1: log.filter: is not a filter, such as \"info\" or \"vtnr_gateway=debug,info\"",
        ),
        (
            "\nlisten.http = \"localhost:80\"",
            "2: listen.http: \"localhost:80\" is not an IP address with a port, such as \"127.0.0.1:8080\" or \"[::]:8443\"",
        ),
        (
            "limits.mail_day = \"10/24h\"",
            "1: limits.mail_day: \"10/24h\" is not a limit, such as \"10 in 24h\"",
        ),
        (
            "limits.mail_day = \"0 in 24h\"",
            "1: limits.mail_day: 0 would lock everybody out; the minimum is 1",
        ),
        // What is not there.
        ("-upstream.url", "upstream.url: is missing"),
        (
            "-store.secret_file",
            "5: store.secret_file: is missing, and so is store.secret; give one of them",
        ),
        ("-submission.paths", "submission.paths: is missing"),
        (
            "submission.paths = []",
            "1: submission.paths: must have at least one entry",
        ),
        (
            "-listen.http",
            "2: listen: has neither http nor https; give at least one",
        ),
        // What nobody knows.
        (
            "login.tan_lifetme = \"15m\"",
            "1: login.tan_lifetme: unknown key; did you mean `login.tan_lifetime`?",
        ),
        (
            "session.tan_tries = 5",
            "1: session.tan_tries: unknown key; did you mean `login.tan_tries`?",
        ),
        ("colour = 5", "1: colour: unknown key"),
        (
            "lgoin.tan_tries = 5",
            "1: lgoin: unknown section; did you mean `login`?",
        ),
        (
            "log.filter.x = 5",
            "1: log.filter: is a single value, not a section",
        ),
        (
            "brand = 5",
            "1: brand: is a section, written [brand] on a line of its own",
        ),
        (
            "\"listen.http\" = 5",
            "1: \"listen.http\": unknown key; did you mean `listen.http`?",
        ),
    ];
    for (lines, expected) in cases {
        let expected = if expected.starts_with(|c: char| c.is_ascii_digit()) {
            expected.to_owned()
        } else {
            format!(" {expected}")
        };
        assert_eq!(told(lines), [expected], "{lines}");
    }
}

#[test]
fn each_section_refuses_what_would_do_harm() {
    let cases = [
        (
            "listen.public_url = \"http://insurer.example\"",
            "begin with https://, since browsers keep the cookies",
        ),
        (
            "listen.public_url = \"https://insurer.example/x\"",
            "scheme and host only",
        ),
        (
            "listen.public_url = \"https://a@insurer.example\"",
            "scheme and host only",
        ),
        ("listen.public_url = \"insurer.example\"", "has no scheme"),
        (
            "listen.hosts = [\"a.example\", \"b/c\"]",
            "\"b/c\" has no valid host name",
        ),
        (
            "listen.https = \"127.0.0.1:8443\"\nlisten.tls.cert = \"one.pem\"",
            "listen.tls.key: is missing; listen.https requires it",
        ),
        (
            "listen.tls.cert = \"one.pem\"",
            "has no effect without listen.https",
        ),
        (
            "listen.https = \"0.0.0.0:8080\"\nlisten.tls = {cert = \"one.pem\", key = \"one.key\"}",
            "has the same address as listen.http; choose another port",
        ),
        (
            "listen.https = \"0.0.0.0:8443\"\nlisten.tls = {cert = \"one.pem\", key = \"two.key\"}",
            "two.key is not the key of the certificate in one.pem",
        ),
        (
            "listen.https = \"0.0.0.0:8443\"\nlisten.tls = {cert = \"one.key\", key = \"one.key\"}",
            "one.key contains no PEM certificate",
        ),
        (
            "listen.https = \"0.0.0.0:8443\"\nlisten.tls = {cert = \"one.pem\", key = \"one.pem\"}",
            "one.pem contains no PEM private key",
        ),
        (
            "listen.https = \"0.0.0.0:8443\"\nlisten.tls = {cert = \"none.pem\", key = \"one.key\"}",
            "none.pem cannot be read",
        ),
        (
            "admin.listen = \"0.0.0.0:8080\"",
            "has the same address as listen.http; choose another port",
        ),
        (
            "password.queue = 1",
            "password.file: is missing; [password] requires it",
        ),
        (
            "password.file = \"users.csv\"\nlogin.password_url = \"/x\"",
            "login.password_url: conflicts with [password], which has a page of its own; delete one of them",
        ),
        (
            "password.file = \"users.csv\"\npassword.memory = \"16KiB\"\npassword.lanes = 4",
            "must be at least 8KiB per lane (password.lanes)",
        ),
        (
            "password.file = \"users.csv\"\npassword.memory = \"2GiB\"",
            "2GiB is not between 8KiB and 1GiB",
        ),
        (
            "upstream.url = \"ftp://a\"",
            "must begin with http:// or https://",
        ),
        (
            "upstream.url = \"http://a/b\"",
            "paths are forwarded unchanged",
        ),
        ("upstream.url = 9000", "must be text in quotes"),
        ("upstream.url = []", "must have at least one entry"),
        (
            "upstream.url = [\"http://a\",\n\"b\"]",
            "2: upstream.url: has no scheme",
        ),
        (
            "upstream.url = [\"http://a\", \"https://b\"]",
            "use the same for all servers",
        ),
        (
            "upstream.url = [\"http://a\", \"http://A:80/\"]",
            "names a:80 twice",
        ),
        (
            "upstream.routes = [\"a\", \"b\"]\nupstream.affinity_cookie = \"J\"",
            "has 2 routes for 1 servers",
        ),
        ("upstream.routes = [\"a.b\"]", "is not a route"),
        (
            "upstream.routes = [\"a\"]",
            "has no effect without upstream.affinity_cookie",
        ),
        (
            "upstream.url = [\"http://a\", \"http://b\"]\nupstream.routes = [\"x\", \"x\"]\nupstream.affinity_cookie = \"J\"",
            "names \"x\" twice",
        ),
        (
            "upstream.affinity_cookie = \"J SESSION\"",
            "is not a cookie name",
        ),
        (
            "upstream.affinity_cookie = [\"JSESSIONID\", \"\"]",
            "\"\" is not a cookie name",
        ),
        ("upstream.health_path = \"health\"", "must begin with /"),
        (
            "upstream.health_interval = \"0s\"",
            "is shorter than the minimum",
        ),
        (
            "upstream.write_timeout = \"0s\"",
            "is shorter than the minimum",
        ),
        (
            "upstream.vtnr_header = \"X VTNR\"",
            "is not a header field name",
        ),
        ("upstream.vtnr_header = \"Cookie\"", "is reserved in HTTP"),
        (
            "upstream.level_header = \"transfer-encoding\"",
            "is reserved in HTTP",
        ),
        (
            "upstream.vtnr_header = \"X-A\"\nupstream.level_header = \"x-a\"",
            "must not be the same field",
        ),
        (
            "upstream.strip = [\"X-Internal-*\", \"\"]",
            "1: upstream.strip: \"\" is not a header field name",
        ),
        ("upstream.strip = [\"*\"]", "is allowed at its end only"),
        (
            "upstream.strip = [\"X-*-User\"]",
            "is allowed at its end only",
        ),
        (
            "upstream.strip = [\n\"X-A\",\n\"X Rolle\"]",
            "3: upstream.strip: \"X Rolle\" is not a header field name",
        ),
        (
            "upstream.strip = [\"Host\"]",
            "\"Host\" would remove host, which requests need",
        ),
        (
            "upstream.strip = [\"Content-*\"]",
            "would remove content-encoding, which requests need",
        ),
        (
            "upstream.pass_fields = [\"X Alt\"]",
            "1: upstream.pass_fields: \"X Alt\" is not a header field name",
        ),
        (
            "upstream.pass_fields = [\"X_*\"]",
            "is not a header field name, such as \"X_Legacy_Token\"",
        ),
        (
            "upstream.pass_fields = [\n\"X_A\",\n\"SCRIPT_NAME\"]",
            "3: upstream.pass_fields: \"SCRIPT_NAME\" can be mistaken for script-* (",
        ),
        (
            "upstream.pass_fields = [\"sm.user\"]",
            "can be mistaken for sm-* (CA and Broadcom SiteMinder",
        ),
        (
            "upstream.pass_fields = [\"X-Forwarded-User\"]",
            "can be mistaken for x-forward* (",
        ),
        (
            "upstream.vtnr_header = \"X-Makler\"\nupstream.pass_fields = [\"X_MAKLER\"]",
            "can be mistaken for X-Makler, the gateway",
        ),
        (
            "upstream.level_header = \"X_Stufe\"\nupstream.pass_fields = [\"X_Stufe\"]",
            "can be mistaken for X_Stufe, the gateway",
        ),
        (
            "upstream.pass_fields = [\"Content_Length\"]",
            "can be mistaken for content-length, which has a meaning",
        ),
        (
            "upstream.strip = [\"X-Alt-*\"]\nupstream.pass_fields = [\"X_Alt_Token\"]",
            "2: upstream.pass_fields: \"X_Alt_Token\" is removed by \"X-Alt-*\" in upstream.strip",
        ),
        (
            "upstream.vtnr_header = \"X-A\"\nupstream.level_header = \"x_a\"",
            "must not be the same field",
        ),
        (
            "admin.hosts = [\"m.internal:9090\"]",
            "\"m.internal:9090\" is not a host name without a port",
        ),
        (
            "admin.hosts = [\"http://m.internal\"]",
            "is not a host name without a port",
        ),
        ("admin.hosts = [\"*\"]", "is not a host name without a port"),
        (
            "upstream.websocket_origins = [\"partner.example\"]",
            "\"partner.example\" is not an origin, such as",
        ),
        (
            "upstream.websocket_origins = [\"https://partner.example/\"]",
            "is not an origin",
        ),
        (
            "upstream.websocket_origins = [\"wss://partner.example\"]",
            "is not an origin",
        ),
        (
            "upstream.websocket_origins = [\"null\"]",
            "is not an origin",
        ),
        (
            "upstream.websocket_origins = [\"*\", \"https://partner.example\"]",
            "allows every origin, besides others",
        ),
        (
            "upstream.public_paths = [\"/a\", \"b\"]",
            "\"b\" must begin with /",
        ),
        (
            "upstream.public_paths = [\"/ui/login/de/x\"]",
            "is below login.prefix",
        ),
        (
            "upstream.public_paths = [\"/Antrag/versand/\"]",
            "anybody could submit",
        ),
        (
            "store.url = \"redis+sentinel://a,b\"",
            "has no master name; write redis+sentinel://",
        ),
        (
            "store.url = \"redis+sentinel://a,b/my master\"",
            "has spaces or non-ASCII characters",
        ),
        (
            "store.url = \"redis+sentinel://a,b/my@master\"",
            "has no master name",
        ),
        (
            "store.url = \"redis+sentinel://a,b/mymaster/x\"",
            "not a database number",
        ),
        (
            "store.url = \"redis+sentinel://a,,b/mymaster\"",
            "has no valid host name or address",
        ),
        (
            "store.url = \"redis+sentinel://a,b:0/mymaster\"",
            "has no valid port",
        ),
        (
            "store.url = \"redis+sentinel://a,b,A:26379/mymaster\"",
            "names a:26379 twice",
        ),
        (
            "store.url = \"redis+sentinel://%ff@a/mymaster\"",
            "has a user or password that is not UTF-8",
        ),
        (
            "store.url = \"redis+cluster://a,b/1\"",
            "has a path, but a cluster has only one database; remove it",
        ),
        (
            "store.url = \"redis+cluster://a,b?x\"",
            "has a query, which is not supported",
        ),
        (
            "store.url = \"redis+raft://a\"",
            "must begin with redis://, redis+sentinel://",
        ),
        (
            "store.url = \"redis://a,b\"",
            "has several servers, which only redis+sentinel://",
        ),
        (
            "store.url = \"redis+cluster://a\"\nstore.sentinel_user = \"u\"",
            "2: store.sentinel_user: has no effect with this kind",
        ),
        (
            "store.sentinel_password_file = \"password\"",
            "store.sentinel_password_file: has no effect with this kind",
        ),
        (
            "store.url = \"redis+sentinel://a/m\"\nstore.sentinel_user = \"a b\"",
            "\"a b\" is not a Redis user name",
        ),
        (
            "store.url = \"memory:\"\nstore.replicas = 1",
            "2: store.replicas: has no effect with this kind of store",
        ),
        ("store.replicas = 6", "6 is not between 0 and 5"),
        ("store.url = \"redis://a/x\"", "not a database number"),
        ("store.url = \"http://a\"", "must begin with redis://"),
        ("store.url = \"file:\"", "has no file name"),
        (
            "store.secret_file = \"short\"",
            "short has 9 bytes, but needs at least 32",
        ),
        ("store.secret_file = \"empty\"", "empty is empty"),
        ("store.secret_file = \"absent\"", "absent cannot be read"),
        (
            "store.secret = \"x\"\n-store.secret_file",
            "has 1 bytes, but needs at least 32",
        ),
        (
            "listen.trusted_proxies = [\"10.0.0.0/8\",\n\"front.insurer.example\"]",
            "is not an IP address or network",
        ),
        (
            "listen.trusted_proxies = [\"10.0.0.0/33\"]",
            "is not an IP address or network",
        ),
        (
            "listen.trusted_proxies = [\"10.0.0.1/8\"]",
            "write 10.0.0.1 or 10.0.0.0/8",
        ),
        (
            "listen.trusted_proxies = [\"::/0\"]",
            "covers all addresses",
        ),
        (
            "listen.trusted_proxies = [\"::ffff:10.0.0.0/104\"]",
            "is an IPv4 network",
        ),
        (
            "parking.largest = \"5MiB\"",
            "5MiB is not between 0B and 4MiB",
        ),
        ("parking.largest = \"1 MB\"", "is not a size, such as"),
        ("parking.largest = 1048576", "must be a size in quotes"),
        ("parking.largest = \"100B\"", "at least 4KiB"),
        (
            "parking.per_client = \"512KiB\"",
            "must not be less than parking.largest",
        ),
        (
            "parking.total = \"31MiB\"",
            "must be at least twice parking.per_client",
        ),
        (
            "parking.lifetime = \"30s\"",
            "30s is shorter than the minimum, 1m",
        ),
        ("listen.trusted_proxies = [7]", "must be text in quotes"),
        (
            "listen.body_timeout = \"11m\"",
            "11m is longer than the maximum, 10m",
        ),
        (
            "store.secret = \"0123456789abcdef0123456789abcdef\"\nstore.secret_file = \"secret\"",
            "give only one of them",
        ),
        (
            "store.url = \"redis://:a@b\"\nstore.password_file = \"password\"",
            "has a password, which conflicts with",
        ),
        (
            "store.url = \"memory:\"\nstore.password_file = \"password\"",
            "has no effect with this kind of store",
        ),
        (
            "store.key_prefix = \"a b\"",
            "\"a b\" must be at most 64 characters",
        ),
        (
            "store.outage_grace = \"31m\"",
            "31m is longer than the maximum, 30m",
        ),
        (
            "mail.url = \"smtp://mail.insurer.example\"",
            "add ?tls=required, or ?tls=none to accept that",
        ),
        (
            "mail.url = \"smtp://a?tls=maybe\"",
            "has a query other than",
        ),
        ("mail.url = \"smtp://u:p@a\"", "use mail.username instead"),
        ("mail.url = []", "1: mail.url: must have at least one entry"),
        (
            "mail.url = [\n\"smtps://a\",\n\"smtp://b\",\n]",
            "3: mail.url: would send TANs unencrypted over the network",
        ),
        (
            "mail.url = [\"smtps://a\", \"smtps://A:465\"]",
            "names a:465 twice",
        ),
        (
            "mail.url = [\"smtps://a\", \"smtps://b\", \"smtps://c\", \"smtps://d\", \"smtps://e\", \"smtps://f\"]",
            "has 6 servers; at most 5 are allowed",
        ),
        (
            "mail.url = [\"smtps://a\", \"smtps://b\"]\nmail.username = [\"u\", \"v\", \"w\"]\nmail.password = \"p\"",
            "2: mail.username: has 3 entries for 2 servers; give one for all or one per server",
        ),
        (
            "mail.url = [\"smtps://a\", \"smtps://b\"]\nmail.username = [\"u\", \"\"]\nmail.password = \"p\"",
            "2: mail.username: has no user for server 2, which has a password",
        ),
        (
            "mail.url = [\"smtps://a\", \"smtps://b\"]\nmail.username = \"u\"\nmail.password = [\"\", \"p\"]",
            "2: mail.username: has a user for server 1, but no password",
        ),
        (
            "mail.username = \"u\"\nmail.password_file = [\"none\"]",
            "none cannot be read",
        ),
        ("mail.from = \"Tarifrechner\"", "is not a sender"),
        (
            "mail.from = \"A <a@b.example>, C <c@d.example>\"",
            "is not a sender",
        ),
        (
            "mail.from = \"A <a@b.example>\\r\\nBcc: c@d.example\"",
            "must be one line",
        ),
        (
            "mail.username = \"u\"",
            "requires mail.password or mail.password_file",
        ),
        (
            "mail.password_file = \"password\"",
            "has a password but no username; give mail.username",
        ),
        (
            "mail.username = \"u\"\nmail.password_file = \"two-lines\"",
            "is not one line of UTF-8 text",
        ),
        (
            "mail.ca_file = \"secret\"",
            "secret contains no PEM certificate",
        ),
        ("submission.paths = [\"antrag\"]", "must begin with /"),
        ("submission.paths = [\"/antrag?\"]", "has an empty query"),
        ("submission.paths = [\"//antrag\"]", "can never match"),
        (
            "submission.paths = [\"/antrag%20x\"]",
            "can never match: write it decoded",
        ),
        (
            "upstream.public_paths = [\"/antrag/Versand.css\"]",
            "anybody could submit",
        ),
        (
            "upstream.public_paths = [\"/\"]\nsubmission.paths = [\"/index.php?r=antrag/versand\"]",
            "anybody could submit",
        ),
        (
            "upstream.public_paths = [\"/Kfz\"]\nsubmission.paths = [\"/kfz/default.aspx\"]",
            "anybody could submit",
        ),
        (
            "submission.paths = [\"/(x)/antrag\"]",
            "can never match: requests with //, dot segments, a segment that begins with (",
        ),
        (
            "submission.paths = [\"/ui/login/de/x\"]",
            "is below login.prefix",
        ),
        ("login.prefix = \"/\"", "would hide every path"),
        ("login.prefix = \"/ui\"", "must begin and end with /"),
        ("login.prefix = \"/UI/\"", "may only contain"),
        ("login.prefix = \"/a//b/\"", "has empty or dot segments"),
        ("login.prefix = \"/a/../\"", "has empty or dot segments"),
        ("login.tan_alphabet = \"ABC\"", "has fewer than 20 symbols"),
        (
            "login.tan_alphabet = \"BCDFGHJKLMNPQRSTVWXZB\"",
            "repeats the letter 'B'",
        ),
        (
            "login.attempt_lifetime = \"10m\"",
            "must not be shorter than login.tan_lifetime",
        ),
        (
            "login.trust_lifetime = \"91d\"",
            "91d is longer than the maximum, 90d",
        ),
        (
            "login.enumeration = \"neutral\"\nlogin.without_email = true",
            "reveals whether a VTNR exists",
        ),
        (
            "login.password_url = \"//evil.example/\"",
            "is neither a path",
        ),
        (
            "login.password_url = \"javascript:alert(1)\"",
            "is neither a path",
        ),
        (
            "login.entry_origins = [\"https://a.example/x\"]",
            "must have scheme and host only",
        ),
        (
            "login.entry_origins = [\"https://a.example/\"]",
            "must have scheme and host only",
        ),
        (
            "login.entry_origins = [\"https://a.example?x\"]",
            "must have scheme and host only",
        ),
        (
            "login.entry_origins = [\"https://a@b.example\"]",
            "must have scheme and host only",
        ),
        (
            "login.entry_origins = [\"https://*.example\"]",
            "has no valid host name",
        ),
        ("login.entry_origins = [\"*\"]", "has no scheme"),
        ("login.entry_origins = [\"null\"]", "has no scheme"),
        (
            "login.entry_origins = [\"http://a.example\"]",
            "over http:// anybody on the network",
        ),
        (
            "login.entry_origins = [\"ftp://a.example\"]",
            "must begin with https://",
        ),
        (
            "login.entry_origins = [\"https://vergleich.example\", \"https://ü.example\"]",
            "has spaces or non-ASCII characters",
        ),
        (
            "login.entry_origins = \"https://a.example\"",
            "must be a list",
        ),
        (
            "login.time_zone = \"Europe/Bayreuth\"",
            "is not a known time zone",
        ),
        (
            "session.idle = \"13h\"",
            "must not be longer than session.absolute",
        ),
        ("brand.color = \"red\"", "is not a colour"),
        ("brand.name = \" \"", "must not be empty"),
        ("brand.logo = \"logo.gif\"", "must be an .svg or .png file"),
        ("brand.logo = \"absent.svg\"", "absent.svg cannot be read"),
        ("brand.templates = \"absent\"", "is not a folder"),
        ("brand.support_email = \"a@b\"", "is not an e-mail address"),
    ];
    for (lines, expected) in cases {
        let told = told(lines);
        let [mistake] = told.as_slice() else {
            panic!("{lines}: {told:#?}")
        };
        assert!(mistake.contains(expected), "{lines}: {mistake}");
    }
}

#[test]
fn a_template_under_a_name_that_does_not_exist_is_named_with_those_that_do() {
    let folder = folder();
    let file = |name: &str| {
        let path = folder.path().join("own").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "x").expect("written");
    };
    let read = || {
        Config::parse(
            &text_with("brand.templates = \"own\"\nbrand.logo = \"own/logo.svg\""),
            folder.path(),
        )
    };
    // What editors, version control and mounted volumes leave there, and the logo.
    for left in [
        "logo.svg",
        "help.html~",
        ".help.html.swp",
        "help.html.bak",
        "#help.html#",
        ".git/x.html",
        "..2026/y.html",
        "help.html",
        "README.md",
    ] {
        file(left);
    }
    for name in templates() {
        file(name);
    }
    assert!(read().is_ok(), "{}", read().expect_err("refused"));
    for name in [
        "signin.html",
        "Help.HTML",
        "mail/help.html",
        "subject.txt",
        "mails/tan.txt",
        "assets/gateway.js",
    ] {
        file(name);
        let told = read().expect_err("it would be ignored").to_string();
        let path = folder.path().join("own").join(name).display().to_string();
        assert!(
            told.contains("brand.templates: ") && told.contains(&path),
            "{told}"
        );
        assert!(templates().all(|known| told.contains(known)), "{told}");
        fs::remove_file(folder.path().join("own").join(name)).expect("it is there");
    }
    assert!(read().is_ok());
}

#[test]
fn what_is_unusual_and_right_is_accepted() {
    let cases = [
        "listen.public_url = \"https://Rechner.Insurer.example:443/\"",
        "listen.http = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"",
        "listen.https = \"[::]:8443\"\nlisten.tls.cert = \"one.pem\"\nlisten.tls.key = \"one.key\"",
        "listen.trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.1\", \"2001:db8::/48\", \"::1\", \"::ffff:192.0.2.1\"]",
        "upstream.url = \"https://[::1]:9443\"",
        "upstream.url = [\"http://a\", \"http://a:81\"]\nupstream.routes = [\"node1\", \"node2\"]\nupstream.affinity_cookie = \"JSESSIONID\"",
        "upstream.affinity_cookie = [\"PHPSESSID\", \"ASP.NET_SessionId\"]\nupstream.health_path = \"/gesund\"",
        "parking.largest = \"0B\"",
        "parking.largest = \"4MiB\"\nparking.per_client = \"4096KiB\"\nparking.total = \"1GiB\"",
        "store.url = \"rediss://ada@redis.example:6380\"\nstore.password_file = \"password\"",
        "store.url = \"rediss+sentinel://ada@a,b:1,[::1]:2/my-master/3\"\nstore.sentinel_password_file = \"password\"\nstore.replicas = 1",
        "store.url = \"redis+cluster://a:1,a:2,b\"\nstore.replicas = 1",
        "mail.url = \"smtp://mail.example?tls=none\"",
        "mail.from = \"noreply@insurer.example\"",
        "mail.from = \"\\\"Müller, Söhne & Co.\\\" <noreply@insurer.example>\"",
        "mail.from = \"Müller Versicherung <noreply@insurer.example>\"",
        "login.enumeration = \"neutral\"\nlogin.without_email = false",
        "password.file = \"users.csv\"\npassword.memory = \"64MiB\"\npassword.iterations = 3\npassword.lanes = 4\npassword.queue = 0",
        "login.certificate_url = \"https://zert.insurer.example/ui#a\"",
        "login.trust_lifetime = \"0s\"",
        "brand.logo = \"logo.svg\"\nbrand.templates = \".\"",
    ];
    for lines in cases {
        assert_eq!(told(lines), [""; 0], "{lines}");
    }
}

#[test]
fn values_arrive_as_they_were_meant() {
    let config = sound("listen.public_url = \"https://Rechner.Insurer.example:443/\"");
    assert_eq!(
        config.listen.public_url,
        PublicUrl {
            secure: true,
            authority: "rechner.insurer.example".into()
        }
    );
    let config =
        sound("store.url = \"rediss://ada@redis.example/3\"\nstore.password_file = \"password\"");
    let url =
        RedisServers::parse("rediss://ada:pa%3Ass%2Fw%C3%B6%40rd@redis.example/3").expect("sound");
    assert_eq!(config.store.url, StoreUrl::Redis(url));
    assert!(
        !format!("{config:?}").contains("pa:"),
        "a password is shown"
    );
    let config = sound(
        "mail.url = \"smtps://mail.example\"\nmail.username = \"u\"\nmail.password_file = \"password\"",
    );
    assert_eq!(
        relays(&config),
        [(
            "mail.example",
            465,
            MailProtection::Tls,
            Some("u:pa:ss/wö@rd".into())
        )]
    );
    let config = sound(
        "login.entry_origins = [\"https://Vergleich.example:443\", \"http://127.0.0.1:80\", \"https://[::1]:8443\"]",
    );
    assert_eq!(
        config.login.entry_origins,
        [
            "https://vergleich.example",
            "http://127.0.0.1",
            "https://[::1]:8443"
        ]
    );
    let config = sound("limits.mail_day = \"7 in 90m\"\nlogin.enumeration = \"neutral\"");
    assert_eq!(
        (config.limits.mail_day, config.login.without_email),
        (Allowance::per(7, 5_400), false)
    );
    let config = sound(
        "upstream.url = [\"https://A.example\", \"https://b.example:8443/\"]\nupstream.affinity_cookie = \"JSESSIONID\"\nupstream.connect_timeout = \"3s\"",
    );
    let UpstreamConfig {
        tls,
        servers,
        affinity_cookies,
        ..
    } = &config.upstream;
    assert_eq!(
        (*tls, servers.as_slice()),
        (
            true,
            [server("a.example", 443), server("b.example", 8_443)].as_slice()
        )
    );
    assert_eq!(affinity_cookies, &["JSESSIONID"]);
    assert_eq!(
        config.parking.settles,
        Duration::from_secs(14),
        "four tries of 3 s, and 2 s more"
    );
    let config = sound("upstream.connect_timeout = \"3s\"");
    assert_eq!(
        config.parking.settles,
        Duration::from_secs(5),
        "one address is tried once"
    );
    let config = sound("store.url = \"file:/var/lib/x\"");
    assert_eq!(config.store.url, StoreUrl::File("/var/lib/x".into()));
}

#[test]
fn the_servers_of_redis_arrive_as_they_were_meant() {
    let servers = |lines| match sound(lines).store.url {
        StoreUrl::Redis(servers) => servers,
        other => panic!("{other:?}"),
    };
    let one = servers("store.url = \"redis://:secret@Redis.example\"");
    assert_eq!(
        (one.deployment, one.servers, one.database),
        (Deployment::Single, vec![server("redis.example", 6_379)], 0)
    );
    assert_eq!(
        one.login,
        Credentials {
            user: None,
            password: Some(Secret::new("secret"))
        }
    );
    let sentinels = "store.url = \"rediss+sentinel://ada:p%40ss@a,b:1,[2001:DB8::1]/my-master/3\"\nstore.sentinel_user = \"gateway\"\nstore.sentinel_password_file = \"password\"";
    let named = servers(sentinels);
    let login = Credentials {
        user: Some("gateway".into()),
        password: Some(Secret::new("pa:ss/wö@rd")),
    };
    assert_eq!(
        named.deployment,
        Deployment::Sentinel {
            master: "my-master".into(),
            login
        }
    );
    assert_eq!(
        named.servers,
        [
            server("a", 26_379),
            server("b", 1),
            server("2001:db8::1", 26_379)
        ]
    );
    assert_eq!(
        named.login,
        Credentials {
            user: Some("ada".into()),
            password: Some(Secret::new("p@ss"))
        }
    );
    assert_eq!((named.transport, named.database), (Transport::Tls, 3));
    let cluster =
        servers("store.url = \"redis+cluster://a,b:1\"\nstore.password_file = \"password\"");
    assert_eq!(cluster.servers, [server("a", 6_379), server("b", 1)]);
    assert_eq!(
        (cluster.deployment, cluster.transport),
        (Deployment::Cluster, Transport::Plain)
    );
    assert_eq!(cluster.login.password, Some(Secret::new("pa:ss/wö@rd")));
}

/// The mail servers: host, port, protection, and user with password.
fn relays(config: &Config) -> Vec<(&str, u16, MailProtection, Option<String>)> {
    let login = |(user, password): &(String, Secret)| {
        format!("{user}:{}", String::from_utf8_lossy(password.reveal()))
    };
    let relays = config.mail.relays.iter();
    relays
        .map(|relay| {
            (
                relay.host.as_str(),
                relay.port,
                relay.protection,
                relay.credentials.as_ref().map(login),
            )
        })
        .collect()
}

#[test]
fn several_mail_servers_have_logins_of_their_own_or_one_together() {
    let urls = "mail.url = [\"smtps://a.example\", \"smtp://b.example?tls=required\", \"smtp://127.0.0.1\"]";
    let config = sound(&format!(
        "{urls}\nmail.username = [\"u\", \"v\", \"\"]\nmail.password = [\"p\", \"q\", \"\"]"
    ));
    let (a, b, here) = (
        ("a.example", 465, MailProtection::Tls),
        ("b.example", 587, MailProtection::StartTls),
        ("127.0.0.1", 25, MailProtection::Plain),
    );
    let with = |(host, port, protection): (&'static str, u16, MailProtection), login: &str| {
        (
            host,
            port,
            protection,
            Some(login.to_owned()).filter(|login| !login.is_empty()),
        )
    };
    assert_eq!(
        relays(&config),
        [with(a, "u:p"), with(b, "v:q"), with(here, "")]
    );
    let config = sound(&format!(
        "{urls}\nmail.username = \"u\"\nmail.password_file = \"password\""
    ));
    let login = "u:pa:ss/wö@rd";
    assert_eq!(
        relays(&config),
        [with(a, login), with(b, login), with(here, login)]
    );
    let config = sound(&format!(
        "{urls}\nmail.username = [\"u\", \"\", \"\"]\nmail.password_file = [\"password\", \"\", \"\"]"
    ));
    assert_eq!(
        relays(&config),
        [with(a, login), with(b, ""), with(here, "")]
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_lines() {
    let lines = "login.tan_tries = 99\nsubmission.paths = [\n  \"/a\",\n  \"b\",\n]\nnonsense = 1\nlisten.header_timeout = \"0s\"\n-mail.from";
    assert_eq!(
        told(&format!("{lines}\nadmin.listen = \"127.0.0.1:8080\"")),
        [
            "1: login.tan_tries: 99 is not between 1 and 10",
            "4: submission.paths: \"b\" must begin with /",
            "6: nonsense: unknown key",
            "7: listen.header_timeout: 0s is shorter than the minimum, 10ms",
            "9: admin.listen: has the same address as listen.http; choose another port",
            "16: mail.from: is missing",
        ]
    );
    assert_eq!(parse(lines).expect_err("mistakes").len(), 5);
}

#[test]
fn a_syntax_error_has_its_line_and_hides_no_other_mistake() {
    let told = told("login.tan_lifetime = 15m\nlogin.tan_tries = 99");
    assert!(
        told.iter().any(|mistake| mistake.starts_with("1: ")),
        "{told:#?}"
    );
    assert!(
        told.contains(&"2: login.tan_tries: 99 is not between 1 and 10".to_owned()),
        "{told:#?}"
    );
    assert_eq!(
        told.iter()
            .filter(|mistake| mistake.contains("is missing"))
            .count(),
        0,
        "{told:#?}"
    );
}

#[test]
fn no_message_repeats_a_secret() {
    let secrets = "store.url = \"redis://ada:hunter2@\"\nstore.secret = \"hunter2\"\nmail.password = \"hunter2\\n\"\nstore.password = hunter2";
    let told = told(secrets).join("\n");
    assert!(
        !told.contains("hunter2") && told.lines().count() >= 4,
        "{told}"
    );
}

#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let folder = folder();
    let config = folder.path().join("gateway.toml");
    fs::write(
        &config,
        text_with("mail.username = \"u\"\nmail.password = \"p\""),
    )
    .expect("written");
    for (name, mode) in [("secret", 0o640), ("gateway.toml", 0o644)] {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode))
            .expect("opened");
    }
    let warnings = Config::load(&config).expect("sound").warnings.join("\n");
    assert!(
        warnings
            .contains("gateway.toml:2: mail.password: is a secret in a file that group or others"),
        "{warnings}"
    );
    assert!(
        warnings.contains("store.secret_file:")
            && warnings.contains("secret is readable by group or others"),
        "{warnings}"
    );
}

#[test]
fn what_a_rule_with_a_query_may_leave_open_is_warned_of() {
    let warnings = |paths: &str| {
        let all = sound(&format!("submission.paths = [{paths}]")).warnings;
        all.into_iter()
            .filter(|warning| warning.contains("submission.paths"))
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings("\"/antrag/versand\", \"/index.php\""), [""; 0]);
    let query = warnings("\"/index.php?r=antrag/versand\", \"/main?module=antrag\"");
    assert!(
        query.len() == 1 && query[0].contains("match the query only"),
        "{query:?}"
    );
    let file = warnings("\"/kfz/start.php?r=antrag/versand\"");
    let missing =
        "does not guard the folder: if start.php is its index file, add \"/kfz/?r=antrag/versand\"";
    assert!(file.len() == 2 && file[1].contains(missing), "{file:?}");
    assert_eq!(
        warnings("\"/kfz/start.php?r=antrag/versand\", \"/kfz/?r=antrag/versand\"").len(),
        1
    );
}

#[test]
fn a_secret_that_others_can_write_is_a_mistake() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let set = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("set")
    };
    let config = path("gateway.toml");
    let keys = "store.password_file = \"password\"\nmail.username = \"u\"\nmail.password_file = \"password\"\n\
                listen.https = \"127.0.0.1:8443\"\nlisten.tls.cert = \"one.pem\"\nlisten.tls.key = \"one.key\"";
    fs::write(&config, text_with(keys)).expect("written");
    set("gateway.toml", 0o600);
    let told =
        || Config::load(&config).map_or_else(|mistakes| mistakes.to_string(), |_| String::new());
    for (name, keys) in [
        ("secret", &["store.secret_file"][..]),
        ("password", &["store.password_file", "mail.password_file"]),
        ("one.key", &["listen.tls.key"]),
    ] {
        for mode in [0o620, 0o602, 0o622, 0o660, 0o666, 0o777] {
            set(name, mode);
            let told = told();
            for key in keys {
                let mistake = format!(
                    "{key}: {} is writable by group or others; chmod go-w it",
                    path(name).display()
                );
                assert!(told.contains(&mistake), "{name} {mode:o}: {told}");
            }
        }
        for mode in [0o600, 0o400, 0o640, 0o440, 0o644, 0o444] {
            set(name, mode);
            assert_eq!(told(), "", "{name} {mode:o}");
        }
    }
    // Another file can be put in its place, unless names are sticky, as in /tmp.
    for (mode, is_mistake) in [
        (0o777, true),
        (0o703, true),
        (0o1777, false),
        (0o775, false),
        (0o755, false),
        (0o700, false),
    ] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(
            told().contains("can be replaced by everybody"),
            is_mistake,
            "{mode:o}: {}",
            told()
        );
    }
    // As Kubernetes mounts secrets: a link to a link, the folder open and sticky, the file for all to read.
    for (link, target) in [("..data", "..2026_12_01"), ("mounted", "..data/mounted")] {
        fs::create_dir_all(path("..2026_12_01")).expect("a folder");
        std::os::unix::fs::symlink(target, path(link)).expect("a link");
    }
    write(&folder, "..2026_12_01/mounted", &"s".repeat(32));
    fs::write(&config, text_with("store.secret_file = \"mounted\"")).expect("written");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("set");
    set("..2026_12_01/mounted", 0o644);
    assert_eq!(told(), "");
    set("..2026_12_01", 0o777);
    assert!(
        told().contains("store.secret_file:"),
        "where the file lies counts too: {}",
        told()
    );
    set("..2026_12_01", 0o755);
    // A secret in the configuration itself.
    fs::write(
        &config,
        text_with("store.secret = \"0123456789abcdef0123456789abcdef\"\n-store.secret_file"),
    )
    .expect("written");
    set("gateway.toml", 0o660);
    assert!(
        told().contains(
            "gateway.toml:1: store.secret: is a secret in a file that group or others can write"
        ),
        "{}",
        told()
    );
    set("gateway.toml", 0o640);
    assert_eq!(told(), "");
}

#[test]
fn what_owasp_takes_for_too_little_is_warned_of() {
    for (memory, iterations, is_enough) in [
        ("19MiB", 2, true),
        ("19MiB", 1, false),
        ("46MiB", 1, true),
        ("7MiB", 5, true),
        ("7MiB", 4, false),
        ("1GiB", 1, true),
    ] {
        let lines = format!(
            "password = {{file = \"users.csv\", memory = \"{memory}\", iterations = {iterations}}}"
        );
        let warned = sound(&lines)
            .warnings
            .iter()
            .any(|warning| warning.contains("OWASP"));
        assert_eq!(warned, !is_enough, "{memory}, {iterations}");
    }
}

#[test]
fn a_link_that_leads_back_to_the_sign_in_page_is_warned_of() {
    let inner = sound(
        "upstream.public_paths = [\"/impressum\"]\nbrand.privacy_url = \"https://insurer.example/datenschutz\"",
    );
    assert_eq!(inner.warnings, [""; 0]);
    assert_eq!(sound("").warnings.len(), 2);
}

#[test]
fn a_field_that_arrives_without_being_listed_is_warned_of() {
    let config = sound(
        "upstream.pass_fields = [\"X_Legacy_Token\", \"X-Legacy-Token\"]\nupstream.strip = [\"X-Internal-*\"]",
    );
    assert_eq!(
        (config.upstream.strip, config.upstream.pass_fields.len()),
        (vec!["X-Internal-*".to_owned()], 2)
    );
    let warned: Vec<_> = config
        .warnings
        .iter()
        .filter(|warning| warning.contains("pass_fields"))
        .collect();
    assert!(
        warned.len() == 1 && warned[0].contains("\"X-Legacy-Token\" need not be listed"),
        "{warned:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_too() {
    let mistakes = Config::load(Path::new("/nowhere/gateway.toml")).expect_err("no such file");
    assert!(
        mistakes
            .to_string()
            .starts_with("/nowhere/gateway.toml: cannot be read: "),
        "{mistakes}"
    );
}

#[test]
fn no_key_is_asked_for_twice() {
    let mut names: Vec<_> = known_keys().into_iter().map(|key| key.name).collect();
    let asked = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), asked);
}

/// What the operator's example says of a key: in force, or shown behind a `#`.
fn shown_in_the_example() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line
            .strip_prefix("# ")
            .unwrap_or(line)
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
        }
        let key_value = line.strip_prefix("# ").unwrap_or(line).split_once(" = ");
        if let Some((key, value)) =
            key_value.filter(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        {
            shown.push((format!("{section}.{key}"), value.to_owned()));
        }
    }
    shown
}

const EXAMPLE: &str = include_str!("../../config/vtnr-gateway.toml");

#[test]
fn the_example_loads_without_a_warning() {
    let folder = folder();
    let text = EXAMPLE
        .replace("/etc/vtnr-gateway/tls", "one")
        .replace("/etc/vtnr-gateway/", "");
    let config =
        Config::parse(&text, folder.path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_example_shows_every_key_once_and_no_other_and_each_with_its_default() {
    let shown = shown_in_the_example();
    let mut names: Vec<_> = shown.iter().map(|(name, _)| name.as_str()).collect();
    let mut known: Vec<_> = known_keys().into_iter().map(|key| key.name).collect();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);
    for KeyDoc { name, absent, .. } in known_keys() {
        let in_force = ["brand.imprint_url", "brand.privacy_url"].contains(&name);
        if let Absent::Default(default) = absent
            && !in_force
        {
            assert!(
                shown.contains(&(name.to_owned(), default.clone())),
                "{name} = {default}"
            );
        }
    }
}

#[test]
fn a_file_from_windows_is_read() {
    let text = format!(
        "\u{feff}{}",
        text_with("log.access = false").replace('\n', "\r\n")
    );
    let config =
        Config::parse(&text, folder().path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(!config.log.access);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_none_that_is_wrong_passes(text in "([a-z.\\[\\]]{0,12}( = |\n|\"|\\{|,|[0-9]|é){0,3}){0,8}") {
        let mistakes = Config::parse(&text, Path::new("/nowhere")).expect_err("it lacks what is required");
        proptest::prop_assert!(mistakes.len() > 0);
    }
}
