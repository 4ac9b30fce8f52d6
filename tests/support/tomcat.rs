//! Debian's Tomcat.

use super::ports;
use super::server::Server;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const HOME: &str = "/usr/share/tomcat10";

/// A Tomcat of its own.
pub struct Tomcat {
    server: Server,
    pub port: u16,
    pub base: TempDir,
}

impl Tomcat {
    /// Starts one: `connector` are further attributes of its connector, `contexts` its applications.
    pub fn start(connector: &str, contexts: &str) -> Self {
        assert!(
            Path::new(HOME).join("bin/catalina.sh").exists(),
            "Tomcat is missing: install Debian's tomcat10"
        );
        let (base, port) = (TempDir::new().expect("a folder"), ports::free());
        for folder in ["conf", "logs", "temp", "webapps", "work"] {
            std::fs::create_dir(base.path().join(folder)).expect("a folder");
        }
        for file in ["web.xml", "catalina.properties", "context.xml"] {
            std::fs::copy(
                format!("{HOME}/etc/{file}"),
                base.path().join("conf").join(file),
            )
            .expect("copied");
        }
        // The connector as Tomcat ships it, on loopback; no Listener, no log of accesses.
        let server = format!(
            r#"<Server port="-1"><Service name="Catalina"><Connector port="{port}" address="127.0.0.1" protocol="HTTP/1.1" connectionTimeout="20000" {connector}/>
               <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps" autoDeploy="false">
               {contexts}</Host></Engine></Service></Server>"#
        );
        std::fs::write(base.path().join("conf/server.xml"), server).expect("written");
        // `catalina.sh run` becomes the Java process.
        let mut command = Command::new(format!("{HOME}/bin/catalina.sh"));
        command
            .arg("run")
            .envs([
                ("CATALINA_HOME", HOME.as_ref()),
                ("CATALINA_BASE", base.path().as_os_str()),
            ])
            .env(
                "CATALINA_OPTS",
                "-Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            );
        let server = Server::spawn("Tomcat", command, &base.path().join("logs/out"));
        Self { server, port, base }
    }

    /// Waits until it answers this path.
    pub async fn ready(&mut self, path: &str) {
        self.server
            .ready(&format!("http://127.0.0.1:{}{path}", self.port))
            .await;
    }
}
