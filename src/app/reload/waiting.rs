//! Which keys of a changed configuration wait for a restart.
//!
//! Every section is taken apart whole, so that a key that is added does not compile until it is said here what becomes of it.

use crate::config::{
    Certificate, CertificateColumns, Config, Credentials, Deployment, DirectoryConfig, HashCost,
    Https, ListenConfig, Log, LoginConfig, MailConfig, MailRelay, PasswordConfig, PortalConfig,
    RedisServers, Secret, Shutdown, StoreConfig, StoreUrl, UpstreamConfig,
};
use domain::parking::ParkingLimits;
use domain::session::SessionLimits;

/// Notes the keys whose fields differ. Those of the second list are looked at elsewhere, or come into force by themselves.
macro_rules! differing {
    ($keys:ident, $old:expr, $new:expr, $kind:ident { $($field:ident: $key:literal),* $(,)? } $(but $($other:ident),+)?) => {{
        let $kind { $($field,)* $($($other: _,)+)? } = $old;
        $(if *$field != $new.$field { $keys.push($key); })*
    }};
}

/// The names of the keys, in the order of the sections.
pub(super) fn waiting(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    listen(&mut keys, &old.listen, &new.listen);
    upstream(&mut keys, &old.upstream, &new.upstream);
    store(&mut keys, &old.store, &new.store);
    differing!(keys, &old.directory, new.directory, DirectoryConfig { file: "directory.file", poll: "directory.poll" } but certificates);
    mail(&mut keys, &old.mail, &new.mail);
    parking(&mut keys, &old.parking, &new.parking);
    differing!(keys, &old.login, new.login, LoginConfig { prefix: "login.prefix" }
        but alphabet, tan, tries, trust, without_email, enumeration, doors, entry_origins, time_zone);
    password(&mut keys, old.password.as_ref(), new.password.as_ref());
    certificate(
        &mut keys,
        old.certificate.as_ref(),
        new.certificate.as_ref(),
    );
    portal(&mut keys, old.portal.as_ref(), new.portal.as_ref());
    differing!(
        keys,
        &old.session,
        new.session,
        SessionLimits {
            idle: "session.idle",
            absolute: "session.absolute"
        }
    );
    differing!(keys, old, new, Config { admin_listen: "admin.listen", admin_hosts: "admin.hosts" }
        but listen, upstream, store, directory, mail, parking, login, password, certificate, portal, session, log, shutdown,
        submission, limits, brand, warnings);
    differing!(
        keys,
        &old.log,
        new.log,
        Log {
            json: "log.format",
            filter: "log.filter",
            access: "log.access"
        }
    );
    differing!(
        keys,
        &old.shutdown,
        new.shutdown,
        Shutdown {
            delay: "shutdown.delay",
            grace: "shutdown.grace"
        }
    );
    keys
}

fn note(keys: &mut Vec<&'static str>, key: &'static str, differs: bool) {
    if differs {
        keys.push(key);
    }
}

fn listen(keys: &mut Vec<&'static str>, old: &ListenConfig, new: &ListenConfig) {
    let address = |listen: &ListenConfig| listen.https.as_ref().map(|https| https.address);
    note(keys, "listen.https", address(old) != address(new));
    differing!(keys, old, new, ListenConfig {
        http: "listen.http",
        public_url: "listen.public_url",
        hosts: "listen.hosts",
        header_timeout: "listen.header_timeout",
        body_timeout: "listen.body_timeout",
        keepalive: "listen.keepalive",
        trusted_proxies: "listen.trusted_proxies",
        max_connections: "listen.max_connections",
        max_connections_per_client: "listen.max_connections_per_client",
        handover: "listen.handover",
        max_requests: "listen.max_requests",
        threads: "listen.threads",
    } but https);
}

fn upstream(keys: &mut Vec<&'static str>, old: &UpstreamConfig, new: &UpstreamConfig) {
    note(
        keys,
        "upstream.url",
        (old.tls, &old.servers) != (new.tls, &new.servers),
    );
    differing!(keys, old, new, UpstreamConfig {
        routes: "upstream.routes",
        affinity_cookies: "upstream.affinity_cookie",
        session_cookies: "upstream.session_cookies",
        connect_timeout: "upstream.connect_timeout",
        write_timeout: "upstream.write_timeout",
        read_timeout: "upstream.read_timeout",
        keepalive: "upstream.keepalive",
        pool_size: "upstream.pool_size",
        vtnr_header: "upstream.vtnr_header",
        level_header: "upstream.level_header",
        strip: "upstream.strip",
        pass_fields: "upstream.pass_fields",
        public_paths: "upstream.public_paths",
        websocket_origins: "upstream.websocket_origins",
        health_interval: "upstream.health_interval",
        health_timeout: "upstream.health_timeout",
        health_path: "upstream.health_path",
    } but tls, servers);
}

fn store(keys: &mut Vec<&'static str>, old: &StoreConfig, new: &StoreConfig) {
    match (&old.url, &new.url) {
        (StoreUrl::Redis(old), StoreUrl::Redis(new)) => redis(keys, old, new),
        (old, new) => note(keys, "store.url", old != new),
    }
    secret(keys, Some(&old.secret), Some(&new.secret));
    differing!(keys, old, new, StoreConfig {
        key_prefix: "store.key_prefix",
        timeout: "store.timeout",
        replicas: "store.replicas",
        outage_grace: "store.outage_grace",
    } but url, secret);
}

fn redis(keys: &mut Vec<&'static str>, old: &RedisServers, new: &RedisServers) {
    let where_to = |servers: &RedisServers| {
        let RedisServers {
            deployment,
            servers,
            transport,
            login: Credentials { user, password: _ },
            database,
        } = servers.clone();
        let master = match deployment {
            Deployment::Single => (false, None),
            Deployment::Sentinel { master, login: _ } => (false, Some(master)),
            Deployment::Cluster => (true, None),
        };
        (master, servers, transport, user, database)
    };
    note(keys, "store.url", where_to(old) != where_to(new));
    secret(
        keys,
        old.login.password.as_ref(),
        new.login.password.as_ref(),
    );
    let old = sentinels(old);
    let new = sentinels(new);
    note(
        keys,
        "store.sentinel_user",
        old.and_then(|login| login.user.as_ref()) != new.and_then(|login| login.user.as_ref()),
    );
    secret(
        keys,
        old.and_then(|login| login.password.as_ref()),
        new.and_then(|login| login.password.as_ref()),
    );
}

fn sentinels(servers: &RedisServers) -> Option<&Credentials> {
    if let Deployment::Sentinel { login, .. } = &servers.deployment {
        Some(login)
    } else {
        None
    }
}

/// By the key where the new one stands, or the former one stood.
fn secret(keys: &mut Vec<&'static str>, old: Option<&Secret>, new: Option<&Secret>) {
    if let Some(differs) = new.or(old).filter(|_| old != new)
        && !keys.contains(&differs.key())
    {
        keys.push(differs.key());
    }
}

fn mail(keys: &mut Vec<&'static str>, old: &MailConfig, new: &MailConfig) {
    let addresses = |mail: &MailConfig| {
        let address = |MailRelay {
                           host,
                           port,
                           protection,
                           credentials: _,
                       }: MailRelay| (host, port, protection);
        mail.relays.iter().cloned().map(address).collect::<Vec<_>>()
    };
    note(keys, "mail.url", addresses(old) != addresses(new));
    // A server that is added or taken away brings or takes its user along: that is no other user.
    let pairs = || old.relays.iter().zip(&new.relays);
    let user = |relay: &MailRelay| relay.credentials.as_ref().map(|(user, _)| user.clone());
    note(
        keys,
        "mail.username",
        pairs().any(|(old, new)| user(old) != user(new)),
    );
    let password = |relay: &MailRelay| {
        relay
            .credentials
            .as_ref()
            .map(|(_, password)| password.clone())
    };
    for (old, new) in pairs() {
        secret(keys, password(old).as_ref(), password(new).as_ref());
    }
    differing!(keys, old, new, MailConfig {
        ca_file: "mail.ca_file",
        timeout: "mail.timeout",
        connections: "mail.connections",
    } but relays, from, reply_to);
}

fn parking(keys: &mut Vec<&'static str>, old: &ParkingLimits, new: &ParkingLimits) {
    differing!(keys, old, new, ParkingLimits {
        lifetime: "parking.lifetime",
        largest: "parking.largest",
        per_client: "parking.per_client",
        total: "parking.total",
    } but settles);
}

fn password(
    keys: &mut Vec<&'static str>,
    old: Option<&PasswordConfig>,
    new: Option<&PasswordConfig>,
) {
    let (Some(old), Some(new)) = (old, new) else {
        return note(keys, "password.file", old.is_some() != new.is_some());
    };
    differing!(keys, old, new, PasswordConfig {
        file: "password.file",
        hashers: "password.hashers",
        queue: "password.queue",
    } but cost);
    differing!(
        keys,
        &old.cost,
        new.cost,
        HashCost {
            memory: "password.memory",
            iterations: "password.iterations",
            lanes: "password.lanes"
        }
    );
}

fn certificate(keys: &mut Vec<&'static str>, old: Option<&Certificate>, new: Option<&Certificate>) {
    let (Some(old), Some(new)) = (old, new) else {
        return note(keys, "certificate.listen", old.is_some() != new.is_some());
    };
    differing!(keys, &old.https, new.https, Https { address: "certificate.listen" } but cert, key);
    differing!(keys, old, new, Certificate {
        public_url: "certificate.public_url",
        identity: "certificate.identity",
    } but https, ca_file, crl_files, columns);
    differing!(
        keys,
        &old.columns,
        new.columns,
        CertificateColumns {
            name: "certificate.column",
            issuer: "certificate.issuer_column",
            key: "certificate.key_column"
        }
    );
}

fn portal(keys: &mut Vec<&'static str>, old: Option<&PortalConfig>, new: Option<&PortalConfig>) {
    let (Some(old), Some(new)) = (old, new) else {
        return note(keys, "portal.check_url", old.is_some() != new.is_some());
    };
    differing!(
        keys,
        old,
        new,
        PortalConfig {
            check_url: "portal.check_url",
            ca_file: "portal.ca_file",
            cookies: "portal.cookies",
            vtnr_header: "portal.vtnr_header",
            timeout: "portal.timeout",
            cache: "portal.cache",
            cache_size: "portal.cache_size",
            connections: "portal.connections",
            sign_in_url: "portal.sign_in_url",
            sign_out_url: "portal.sign_out_url",
            paths: "portal.paths",
            server: "portal.server",
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::known_keys;

    const LEAST: &str = "listen.http = \"127.0.0.1:1\"\nlisten.public_url = \"http://127.0.0.1:1\"\nupstream.url = \"http://a\"\n\
        store.url = \"redis+sentinel://a,b/m\"\nstore.secret = \"0123456789abcdef0123456789abcdef\"\ndirectory.file = \"b.csv\"\n\
        mail.url = \"smtp://127.0.0.1\"\nmail.from = \"a@b.example\"\nsubmission.paths = [\"/a\"]\nadmin.listen = \"127.0.0.1:2\"\n\
        password.file = \"users\"\nportal.check_url = \"https://p.example/\"\nportal.cookies = [\"SSO\"]\n";

    fn with(lines: &[&str]) -> Config {
        let is_replaced = |line: &&str| {
            !lines
                .iter()
                .any(|new| new.split(" = ").next() == line.split(" = ").next())
        };
        let text: Vec<&str> = LEAST
            .lines()
            .filter(is_replaced)
            .chain(lines.iter().copied())
            .collect();
        Config::parse(&text.join("\n"), std::path::Path::new(""))
            .unwrap_or_else(|mistakes| panic!("{lines:?}: {mistakes}"))
    }

    #[test]
    fn each_key_that_waits_is_named_alone_and_by_its_own_name() {
        let cases: &[(&[&str], &str)] = &[
            (&["listen.http = \"127.0.0.1:3\""], "listen.http"),
            (&["listen.hosts = [\"b.example\"]"], "listen.hosts"),
            (&["listen.max_requests = 9"], "listen.max_requests"),
            (&["upstream.url = \"http://b\""], "upstream.url"),
            (
                &["upstream.websocket_origins = [\"*\"]"],
                "upstream.websocket_origins",
            ),
            (
                &["upstream.affinity_cookie = \"JSESSIONID\""],
                "upstream.affinity_cookie",
            ),
            (&["store.url = \"redis+sentinel://a,b/n\""], "store.url"),
            (&["store.url = \"memory:\""], "store.url"),
            (&["store.url = \"redis+sentinel://ada@a,b/m\""], "store.url"),
            (
                &["store.url = \"redis+sentinel://:geheim@a,b/m\""],
                "store.url",
            ),
            (&["store.password = \"geheim\""], "store.password"),
            (&["store.sentinel_user = \"ada\""], "store.sentinel_user"),
            (
                &["store.sentinel_password = \"geheim\""],
                "store.sentinel_password",
            ),
            (
                &["store.secret = \"fedcba9876543210fedcba9876543210\""],
                "store.secret",
            ),
            (&["store.timeout = \"2s\""], "store.timeout"),
            (&["directory.poll = \"3s\""], "directory.poll"),
            (&["mail.url = \"smtp://127.0.0.2\""], "mail.url"),
            (
                &["mail.url = [\"smtp://127.0.0.1\", \"smtp://127.0.0.2\"]"],
                "mail.url",
            ),
            (&["mail.timeout = \"9s\""], "mail.timeout"),
            (&["parking.largest = \"2MiB\""], "parking.largest"),
            (&["login.prefix = \"/a/b/\""], "login.prefix"),
            (&["password.lanes = 2"], "password.lanes"),
            (&["portal.cache = \"9s\""], "portal.cache"),
            (&["session.idle = \"9m\""], "session.idle"),
            (&["admin.listen = \"127.0.0.1:9\""], "admin.listen"),
            (&["admin.hosts = [\"m.internal\"]"], "admin.hosts"),
            (&["log.access = false"], "log.access"),
            (&["shutdown.delay = \"9s\""], "shutdown.delay"),
        ];
        let (before, known) = (with(&[]), known_keys());
        for (lines, key) in cases {
            assert_eq!(waiting(&before, &with(lines)), [*key], "{lines:?}");
            assert!(
                known.iter().any(|known| known.name == *key),
                "{key} is no key"
            );
        }
        let both = with(&["mail.username = \"ada\"", "mail.password = \"geheim\""]);
        assert_eq!(waiting(&before, &both), ["mail.username", "mail.password"]);
        assert_eq!(
            waiting(
                &with(&["mail.username = \"ada\"", "mail.password = \"alt\""]),
                &both
            ),
            ["mail.password"]
        );
        for now in [
            "brand.name = \"Haus\"",
            "mail.from = \"c@b.example\"",
            "login.tan_tries = 3",
            "limits.mail_day = \"9 in 24h\"",
        ] {
            assert_eq!(waiting(&before, &with(&[now])), [""; 0], "{now}");
        }
    }
}
