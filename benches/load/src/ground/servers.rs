//! The servers that are not ours: nginx in several set-ups, HAProxy, redis-server, and the peers written in Rust.

use super::process::{OURS, Process, THEIRS};
use super::{Ground, TOKEN, VTNR, free};
use std::net::SocketAddr;

/// Where a server speaks plain http, and TLS.
#[derive(Clone, Copy)]
pub(crate) struct Doors {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
}

impl Doors {
    pub(crate) fn free() -> Self {
        Self {
            http: free(),
            https: free(),
        }
    }
}

/// What an nginx does about a request before it forwards it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    None,
    /// Asks another service.
    Service(SocketAddr),
    /// Looks into Redis each time.
    Redis(SocketAddr),
    /// Keeps what Redis said in a cache of its own.
    Cached(SocketAddr),
}

/// The old application: files from memory, as quickly as nginx has them.
pub(crate) fn upstream(ground: &Ground) -> (SocketAddr, Process) {
    let address = free();
    let body = format!(
        "server {{ listen {address} reuseport; root {}; open_file_cache max=100; keepalive_requests 100000000;
           location = /check {{ add_header X-Seen-Vtnr $http_x_vtnr; add_header X-Seen-Cookie $http_cookie; }} }}",
        ground.text("www")
    );
    (address, nginx(ground, "upstream", OURS, &body, address))
}

/// An nginx that forwards, after this check.
pub(crate) fn proxy(
    ground: &Ground,
    name: &str,
    upstream: SocketAddr,
    check: Check,
) -> (Doors, Process) {
    let doors = Doors::free();
    let (cert, key) = (ground.text("cert.pem"), ground.text("key.pem"));
    let (helpers, before) = lua_or_service(check);
    let body = format!(
        "upstream application {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
         {helpers}
         server {{
           listen {} reuseport backlog=4096; listen {} ssl http2 reuseport backlog=4096;
           ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
           keepalive_requests 100000000; http2_max_concurrent_streams 128;
           proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
           {before}
         }}",
        doors.http, doors.https
    );
    (doors, nginx(ground, name, THEIRS, &body, doors.http))
}

fn lua_or_service(check: Check) -> (String, String) {
    let forward = "proxy_pass http://application;";
    match check {
        Check::None => (String::new(), format!("location / {{ {forward} }}")),
        Check::Service(service) => (
            format!("upstream service {{ server {service}; keepalive 256; keepalive_requests 100000000; }}"),
            format!(
                "location = /auth {{ internal; proxy_pass http://service; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\"; }}
                 location / {{ auth_request /auth; auth_request_set $vtnr $upstream_http_x_vtnr; proxy_set_header X-VTNR $vtnr; {FORWARDED} {forward} }}"
            ),
        ),
        Check::Redis(redis) => (lua(redis), lua_location("return look_up(token)", forward)),
        Check::Cached(redis) => (
            format!("{} init_worker_by_lua_block {{ known = require('resty.lrucache').new(10000) }}", lua(redis)),
            lua_location("local session = known:get(token) if not session then session = look_up(token) known:set(token, session, 60) end return session", forward),
        ),
    }
}

/// The same duties as the gateway's: who is it, for how long yet, may they go on, and noting once a minute that they did.
fn lua(redis: SocketAddr) -> String {
    format!(
        "lua_package_path '/usr/share/lua/5.1/?.lua;;'; lua_package_cpath '/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;;';
         init_by_lua_block {{
           local redis, cjson = require 'nginx.redis', require 'cjson.safe'
           local function with_redis(use)
             local connection = redis:new()
             connection:set_timeout(1000)
             assert(connection:connect('{}', {}))
             local answer = use(connection)
             connection:set_keepalive(60000, 256)
             return answer
           end
           function look_up(token)
             local text = with_redis(function(connection) return connection:get('session:' .. token) end)
             return text ~= ngx.null and cjson.decode(text) or nil
           end
           function is_alive(session, now)
             return now - session.signed_in_at < 43200 and now - session.seen_at < 3600
           end
           function note_use(token, session, now)
             if now - session.seen_at < 60 then return end
             session.seen_at = now
             with_redis(function(connection) return connection:set('session:' .. token, cjson.encode(session)) end)
           end
         }}",
        redis.ip(),
        redis.port()
    )
}

fn lua_location(find: &str, forward: &str) -> String {
    format!(
        "location / {{
           access_by_lua_block {{
             local function find(token) {find} end
             local token, now = ngx.var['cookie___Host-vtnr_session'], ngx.now()
             local session = token and find(token)
             if not session or not is_alive(session, now) then return ngx.exit(401) end
             note_use(token, session, now)
             ngx.req.set_header('X-VTNR', session.vtnr)
             local theirs = string.gsub(ngx.var.http_cookie, '__Host%-vtnr_%a+=[^;]*;? ?', '')
             ngx.req.set_header('Cookie', theirs)
           }}
           {FORWARDED} {forward}
         }}"
    )
}

/// What the application is told of the client, whatever the client says of itself.
/// A location that says any of this inherits none of it, so that it stands here whole.
const FORWARDED: &str = "proxy_set_header Connection \"\"; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
           proxy_set_header X-Forwarded-Host $http_host; proxy_set_header Forwarded \"\"; proxy_set_header X-Original-URL \"\";
           proxy_set_header X-Rewrite-URL \"\"; proxy_set_header X-HTTP-Method-Override \"\";";

fn nginx(ground: &Ground, name: &str, core: usize, http: &str, address: SocketAddr) -> Process {
    let log = ground.path(&format!("{name}.log"));
    let folder = ground.path(name);
    std::fs::create_dir(&folder).expect("a folder");
    let folder = folder.display();
    let config = format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr warn; worker_rlimit_nofile 16384;
         include /usr/share/nginx/modules-available/mod-http-ndk.conf;
         include /usr/share/nginx/modules-available/mod-http-lua.conf;
         events {{ worker_connections 16000; }}
         http {{
           access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; server_tokens off; keepalive_timeout 600;
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
           uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
           {http}
         }}"
    );
    let file = ground.write(&format!("{name}.conf"), &config);
    Process::start(core, "/usr/sbin/nginx", &["-c", &file], &log).listens(address, &log)
}

/// An HAProxy that forwards.
pub(crate) fn haproxy(ground: &Ground, upstream: SocketAddr) -> (Doors, Process) {
    let doors = Doors::free();
    let pem = [ground.path("cert.pem"), ground.path("key.pem")]
        .map(|file| std::fs::read_to_string(file).expect("read"))
        .concat();
    let pem = ground.write("haproxy.pem", &pem);
    let config = format!(
        "global\n nbthread 1\n maxconn 9000\n\
         defaults\n mode http\n timeout client 600s\n timeout server 60s\n timeout connect 5s\n timeout http-keep-alive 600s\n option http-keep-alive\n http-reuse always\n\
         frontend in\n bind {}\n bind {} ssl crt {pem} alpn h2,http/1.1\n default_backend application\n\
         backend application\n server one {upstream} pool-max-conn 1024\n",
        doors.http, doors.https
    );
    let log = ground.path("haproxy.log");
    let file = ground.write("haproxy.cfg", &config);
    (
        doors,
        Process::start(THEIRS, "/usr/sbin/haproxy", &["-f", &file], &log).listens(doors.http, &log),
    )
}

/// A Redis on our core, with the session that peers know.
pub(crate) fn redis(ground: &Ground) -> (SocketAddr, Process) {
    let (address, log) = (free(), ground.path("redis.log"));
    let port = address.port().to_string();
    let folder = ground.text("");
    let arguments = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--save",
        "",
        "--dir",
        &folder,
    ];
    let process =
        Process::start(OURS, "/usr/bin/redis-server", &arguments, &log).listens(address, &log);
    let key = format!("session:{TOKEN}");
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_secs());
    let session =
        format!(r#"{{"vtnr":"{VTNR}","level":"full","signed_in_at":{now},"seen_at":{now}}}"#);
    let set = std::process::Command::new("redis-cli")
        .args(["-p", &port, "set", &key, &session])
        .output();
    assert!(
        set.is_ok_and(|done| done.stdout.starts_with(b"OK")),
        "redis-cli set the session"
    );
    (address, process)
}

/// A peer written in Rust.
pub(crate) fn peer(
    ground: &Ground,
    program: &str,
    kind: &str,
    core: usize,
    upstream: SocketAddr,
) -> (Doors, Process) {
    let (doors, log) = (Doors::free(), ground.path(&format!("{program}-{kind}.log")));
    let program = ground.programs.join(program).display().to_string();
    let addresses = [doors.http, doors.https, upstream].map(|address| address.to_string());
    let [http, https, upstream] = addresses.each_ref().map(String::as_str);
    let arguments = [
        kind,
        http,
        https,
        upstream,
        &ground.text("cert.pem"),
        &ground.text("key.pem"),
    ];
    (
        doors,
        Process::start(core, &program, &arguments, &log).listens(doors.http, &log),
    )
}
