//! The servers, each with an application that writes a line for every Antragsversand that it runs.

use crate::support::ports;
use crate::support::server::Server;
use crate::support::tomcat::Tomcat;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(super) const APPLICATIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/gateway/real_servers/applications"
);
/// Express and method-override, put there by `.ci/tools`.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/express");
const JAVA: [&str; 5] = [
    "-Xmx128m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-cp",
];

/// All of them, running.
pub(crate) struct Servers {
    folder: TempDir,
    _processes: Vec<Server>,
    _tomcat: Tomcat,
    tomcat: u16,
    jetty: u16,
    nginx: u16,
    front: u16,
    apache: u16,
    express: u16,
}

/// One that a gateway can stand before.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    record: PathBuf,
    /// What begins the lines that this one caused.
    mark: &'static str,
}

impl Origin {
    /// What it ran, a line each, in the order in which it did.
    pub(crate) fn submissions(&self) -> Vec<String> {
        let record = std::fs::read(&self.record).expect("a record");
        let all = String::from_utf8_lossy(&record).into_owned();
        all.lines()
            .filter(|line| line.starts_with(self.mark))
            .map(str::to_owned)
            .collect()
    }
}

impl Servers {
    /// Starts all of them at once and waits until all answer.
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        // Apache's children are another user's where the tests run as root.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
            .expect("permissions");
        for record in ["tomcat", "jetty", "nginx", "apache", "express"] {
            let record = record_of(folder.path(), record);
            std::fs::write(&record, "").expect("written");
            std::fs::set_permissions(record, Permissions::from_mode(0o666)).expect("permissions");
        }
        let (express_port, mut express) = express(folder.path());
        compile(folder.path());
        let mut tomcat = tomcat(folder.path());
        let (jetty_port, mut jetty) = jetty(folder.path());
        let (nginx_port, front_port, mut nginx) = nginx(folder.path(), tomcat.port);
        let (apache_port, mut apache) = apache(folder.path());
        let url = |port: u16| format!("http://127.0.0.1:{port}/");
        let urls = [express_port, jetty_port, nginx_port, apache_port].map(url);
        tokio::join!(
            tomcat.ready("/"),
            express.ready(&urls[0]),
            jetty.ready(&urls[1]),
            nginx.ready(&urls[2]),
            apache.ready(&urls[3])
        );
        Self {
            folder,
            tomcat: tomcat.port,
            jetty: jetty_port,
            nginx: nginx_port,
            front: front_port,
            apache: apache_port,
            express: express_port,
            _processes: vec![express, jetty, nginx, apache],
            _tomcat: tomcat,
        }
    }

    /// Each that a gateway can stand before.
    pub(crate) fn origins(&self) -> [Origin; 6] {
        let origin = |name, port: u16, record, mark| Origin {
            name,
            url: format!("http://127.0.0.1:{port}"),
            record: record_of(self.folder.path(), record),
            mark,
        };
        [
            origin("Tomcat", self.tomcat, "tomcat", "null "),
            origin("Jetty", self.jetty, "jetty", ""),
            origin("nginx", self.nginx, "nginx", ""),
            origin("nginx before Tomcat", self.front, "tomcat", "nginx "),
            origin("Apache with PHP", self.apache, "apache", ""),
            origin("Express", self.express, "express", ""),
        ]
    }
}

pub(super) fn record_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.submissions"))
}

/// The servlets' classes, by the compiler that Tomcat has for its pages.
fn compile(folder: &Path) {
    let source = std::fs::read_to_string(Path::new(APPLICATIONS).join("Submission.java"))
        .expect("it exists");
    let jakarta = folder.join("tomcat/ROOT/WEB-INF/classes");
    let javax = folder.join("jetty");
    for (classes, source) in [
        (&jakarta, source.replace("javax.servlet", "jakarta.servlet")),
        (&javax, source),
    ] {
        std::fs::create_dir_all(classes).expect("a folder");
        std::fs::write(classes.join("Submission.java"), source).expect("written");
    }
    std::fs::copy(
        Path::new(APPLICATIONS).join("Jetty.java"),
        javax.join("Jetty.java"),
    )
    .expect("copied");
    for (folder, path) in [
        (&jakarta, jars(&["tomcat10-servlet-api.jar"])),
        (&javax, jars(&["servlet-api.jar", "jetty9-*.jar"])),
    ] {
        let mut compiler = Command::new("java");
        compiler
            .args(JAVA)
            .arg(jars(&["eclipse-jdt-core*.jar"]))
            .arg("org.eclipse.jdt.internal.compiler.batch.Main");
        let compiled = compiler
            .args(["-proc:none", "-nowarn", "-17", "-cp", &path, "-d"])
            .args([folder, folder])
            .output();
        let compiled = compiled.expect("java runs");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
    }
}

/// Debian's Java libraries by their names, as a class path.
fn jars(names: &[&str]) -> String {
    let folder = "/usr/share/java";
    let mut found = Vec::new();
    for name in names {
        let (start, end) = name.split_once('*').unwrap_or((name, ""));
        let all = std::fs::read_dir(folder)
            .expect("Java libraries")
            .flatten()
            .map(|entry| entry.file_name().into_string());
        let all = all
            .flatten()
            .filter(|file| file.starts_with(start) && file.ends_with(end));
        // The names that end in a version are the same files again.
        let is_versioned = |file: &String| {
            file.rsplit('-')
                .next()
                .is_some_and(|end| end.starts_with(|first: char| first.is_ascii_digit()))
        };
        let before = found.len();
        found.extend(all.filter(|file| !is_versioned(file)));
        assert!(
            found.len() > before,
            "{folder}/{name} is missing: see .ci/tools"
        );
    }
    found
        .iter()
        .map(|file| format!("{folder}/{file}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn tomcat(folder: &Path) -> Tomcat {
    let root = folder.join("tomcat/ROOT");
    let web = format!(
        r#"<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">
        <servlet><servlet-name>submission</servlet-name><servlet-class>Submission</servlet-class>
          <init-param><param-name>record</param-name><param-value>{0}</param-value></init-param></servlet>
        <servlet><servlet-name>else</servlet-name><servlet-class>Submission</servlet-class></servlet>
        <servlet><servlet-name>route</servlet-name><servlet-class>Submission</servlet-class>
          <init-param><param-name>record</param-name><param-value>{0}</param-value></init-param>
          <init-param><param-name>by</param-name><param-value>parameters</param-value></init-param></servlet>
        <servlet-mapping><servlet-name>submission</servlet-name><url-pattern>/antrag/versand/*</url-pattern></servlet-mapping>
        <servlet-mapping><servlet-name>route</servlet-name><url-pattern>/main</url-pattern></servlet-mapping>
        <servlet-mapping><servlet-name>else</servlet-name><url-pattern>/</url-pattern></servlet-mapping></web-app>"#,
        record_of(folder, "tomcat").display()
    );
    std::fs::write(root.join("WEB-INF/web.xml"), web).expect("written");
    // As forgiving as it can be made, and with a query that is read as the body.
    let forgiving = r#"useBodyEncodingForURI="true" encodedSolidusHandling="decode" allowBackslash="true" relaxedPathChars="&quot;&lt;&gt;[\]^`{|}" relaxedQueryChars="&quot;&lt;&gt;[\]^`{|}""#;
    Tomcat::start(
        forgiving,
        &format!(r#"<Context path="" docBase="{}"/>"#, root.display()),
    )
}

fn jetty(folder: &Path) -> (u16, Server) {
    let port = ports::free();
    let classes = folder.join("jetty");
    let path = format!(
        "{}:{}",
        classes.display(),
        jars(&["servlet-api.jar", "jetty9-*.jar"])
    );
    let mut command = Command::new("java");
    command
        .args(JAVA)
        .args([&path, "Jetty", &port.to_string()])
        .arg(record_of(folder, "jetty"));
    (
        port,
        Server::spawn("Jetty", command, &folder.join("jetty.log")),
    )
}

fn nginx(folder: &Path, tomcat: u16) -> (u16, u16, Server) {
    let (origin, front) = (ports::free(), ports::free());
    let numbers = [
        ("@ORIGIN@", origin),
        ("@FRONT@", front),
        ("@TOMCAT@", tomcat),
    ]
    .map(|(name, port)| (name, port.to_string()));
    let own = folder.join("nginx");
    std::fs::create_dir(&own).expect("a folder");
    let mut values = vec![
        (
            "@USER@",
            if is_root(folder) { "user root;" } else { "" }.to_owned(),
        ),
        ("@RECORD@", record_of(folder, "nginx").display().to_string()),
        ("@FOLDER@", own.display().to_string()),
    ];
    values.extend(numbers);
    let file = fill("nginx.conf", &values, &own);
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .args(["-e", "stderr", "-c"])
        .arg(file)
        .arg("-p")
        .arg(&own);
    (
        origin,
        front,
        Server::spawn("nginx", command, &folder.join("nginx.log")),
    )
}

pub(super) fn apache(folder: &Path) -> (u16, Server) {
    let (port, modules) = (ports::free(), Path::new("/usr/lib/apache2/modules"));
    let php = std::fs::read_dir(modules)
        .expect("Apache's modules: install apache2-bin")
        .flatten();
    let php = php
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.starts_with("libphp"));
    let own = folder.join("apache");
    std::fs::create_dir_all(own.join("documents/kfz")).expect("a folder");
    for file in ["documents/index.php", "documents/kfz/index.php"] {
        std::fs::copy(Path::new(APPLICATIONS).join("index.php"), own.join(file)).expect("copied");
    }
    let values = [
        (
            "@USER@",
            if is_root(folder) {
                "User www-data\nGroup www-data"
            } else {
                ""
            }
            .to_owned(),
        ),
        (
            "@RECORD@",
            record_of(folder, "apache").display().to_string(),
        ),
        ("@FOLDER@", own.display().to_string()),
        ("@PORT@", port.to_string()),
        ("@MODULES@", modules.display().to_string()),
        (
            "@PHP@",
            php.expect("PHP for Apache: install libapache2-mod-php"),
        ),
    ];
    let file = fill("apache.conf", &values, &own);
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(file);
    (
        port,
        Server::spawn("Apache", command, &folder.join("apache.log")),
    )
}

fn express(folder: &Path) -> (u16, Server) {
    let port = ports::free();
    assert!(
        Path::new(PACKAGES)
            .join("node_modules/method-override")
            .exists(),
        "Express is missing: see .ci/tools"
    );
    let mut command = Command::new("node");
    command
        .arg(Path::new(APPLICATIONS).join("express.js"))
        .arg(port.to_string());
    command.arg(record_of(folder, "express")).arg(PACKAGES);
    (
        port,
        Server::spawn("Express", command, &folder.join("express.log")),
    )
}

/// A configuration with its values put in.
fn fill(name: &str, values: &[(&str, String)], folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(Path::new(APPLICATIONS).join(name)).expect("it exists");
    let text = values
        .iter()
        .fold(text, |text, (name, value)| text.replace(name, value));
    let file = folder.join(name);
    std::fs::write(&file, text).expect("written");
    file
}

/// Whether this process is root's, who owns what it makes.
fn is_root(made: &Path) -> bool {
    std::fs::metadata(made).expect("a folder").uid() == 0
}
