//! `vtnr-gateway users`: the users file, as an operator keeps it.

use crate::support;
use crate::support::users::{ADA_KEY, UsersFile, users};
use crate::support::world::{ADA, BEN, UNKNOWN, private};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse battery staple";

/// A configuration without a gateway that runs with it.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::with("[password]\nfile = \"users.csv\"\nmemory = \"64KiB\"\niterations = 1\n")
    }

    fn with(section: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(
            folder.path().join("brokers.csv"),
            format!("vtnr;email\n{};{}\n{};\n", ADA.0, ADA.1, BEN.0),
        )
        .expect("written");
        let text = format!(
            "[listen]\nhttp = \"127.0.0.1:1\"\npublic_url = \"http://127.0.0.1:1\"\n[upstream]\nurl = \"http://127.0.0.1:2\"\n\
             [store]\nurl = \"memory:\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n[directory]\nfile = \"brokers.csv\"\n\
             [mail]\nurl = \"smtp://127.0.0.1:3\"\nfrom = \"noreply@insurer.example\"\n[submission]\npaths = [\"/antrag/versand\"]\n\
             [admin]\nlisten = \"127.0.0.1:4\"\n{section}"
        );
        fs::write(folder.path().join("gateway.toml"), text).expect("written");
        private(&folder.path().join("gateway.toml"));
        Self { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("users.csv")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// What the command says, without the warnings that a configuration for tests brings, and its exit code.
    fn run(&self, arguments: &[&str], stdin: &str) -> (Option<i32>, String) {
        said(&users(&self.config(), arguments, stdin))
    }

    fn check(&self) -> (Option<i32>, String) {
        let command = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"))
            .args(["check", "--config"])
            .arg(self.config())
            .output();
        said(&command.expect("it runs"))
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    let lines = String::from_utf8(all).expect("UTF-8");
    let told = lines
        .lines()
        .filter(|line| !line.starts_with("warning: /"))
        .map(|line| format!("{line}\n"))
        .collect();
    (output.status.code(), told)
}

fn chmod(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).expect("permissions");
}

#[test]
fn users_are_added_listed_replaced_and_removed() {
    let desk = Desk::new();
    let (code, told) = desk.run(&["add", "Ada", ADA.0], &format!("{PASSWORD}\n"));
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "Ada can sign in as 60/123/4567\n")
    );
    assert_eq!(
        fs::metadata(desk.file()).expect("it is there").mode() & 0o777,
        0o600,
        "nobody else reads it"
    );
    assert!(
        desk.text()
            .starts_with("user;vtnr;hash\nAda;60/123/4567;$argon2id$v=19$m=64,t=1,p=1$"),
        "{}",
        desk.text()
    );
    assert!(!desk.text().contains("horse"));
    desk.run(&["add", "ben", "601234568"], PASSWORD);
    let (code, told) = desk.run(&["add", "ADA", BEN.0], PASSWORD);
    assert_eq!(
        (code, told.as_str()),
        (
            Some(64),
            "vtnr-gateway: the user ADA already exists; use --replace to change the password\n"
        )
    );
    let before = desk.text();
    let (code, told) = desk.run(
        &["add", "--replace", "ada", ADA.0],
        "another horse battery staple\r\n",
    );
    assert!(
        code == Some(0) && told.contains("vtnr-gateway revoke --config FILE 60/123/4567"),
        "{told}"
    );
    assert_ne!(desk.text(), before);
    let (code, told) = desk.run(&["list"], "");
    assert_eq!(
        (code, told.as_str()),
        (
            Some(0),
            "ada;60/123/4567;m=64,t=1,p=1\nben;60/123/4568;m=64,t=1,p=1\n"
        )
    );
    let (code, told) = desk.run(&["remove", " BEN "], "");
    assert!(
        code == Some(0)
            && told.starts_with("BEN cannot sign in as 60/123/4568 any more; sessions end once"),
        "{told}"
    );
    assert_eq!(
        desk.run(&["remove", "ben"], ""),
        (Some(64), "vtnr-gateway: there is no user ben\n".into())
    );
    let (code, told) = desk.run(&["add", "--replace", "ben", BEN.0], PASSWORD);
    assert_eq!(
        (code, told.as_str()),
        (Some(64), "vtnr-gateway: there is no user ben to replace\n")
    );
    assert_eq!(desk.run(&["list"], "").1, "ada;60/123/4567;m=64,t=1,p=1\n");
    assert_eq!(desk.check().0, Some(0));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let desk = Desk::new();
    desk.run(&["add", "ada", ADA.0], PASSWORD);
    let before = desk.text();
    let long = "x".repeat(1_025);
    let refusals: [(&[&str], &str, &str); 9] = [
        (
            &["add", "ben", "60/12"],
            PASSWORD,
            "`60/12` is not a broker number such as 60/123/4567",
        ),
        (&["add", " ", BEN.0], PASSWORD, "not a user key"),
        (&["add", "ben", BEN.0], "", "no password was given"),
        (&["add", "ben", BEN.0], "\n", "no password was given"),
        (
            &["add", "ben", BEN.0],
            "too short",
            "the password has fewer than 15 characters",
        ),
        (
            &["add", "ben2", BEN.0],
            "this is BEN2's password",
            "the password contains the user key",
        ),
        (
            &["add", "ben", BEN.0],
            "xyxyxyxyxyxyxyxy",
            "the password only repeats a short piece",
        ),
        (
            &["add", "ben", BEN.0],
            &long,
            "the password has more than 1024 bytes",
        ),
        (&["remove", "\u{7}"], "", "not a user key"),
    ];
    for (arguments, stdin, expected) in refusals {
        let (code, told) = desk.run(arguments, stdin);
        assert!(
            code == Some(64) && told.contains(expected),
            "{arguments:?}: {code:?} {told}"
        );
        assert_eq!(desk.text(), before);
    }
    for arguments in [
        &["add", "ben"][..],
        &["add", "ben", BEN.0, PASSWORD],
        &["remove"],
        &["change"],
    ] {
        assert_eq!(desk.run(arguments, "").0, Some(64), "{arguments:?}");
    }
    let (code, told) = desk.run(&["add", "cem", UNKNOWN], PASSWORD);
    assert!(
        code == Some(0) && told.contains("warning: 60/999/9999 is not in the directory"),
        "{told}"
    );
}

#[test]
fn a_file_with_a_mistake_in_it_is_refused_by_all_and_left_alone() {
    let desk = Desk::new();
    let (code, told) = desk.check();
    assert!(
        code == Some(64) && told.contains("password.file") && told.contains("cannot be read"),
        "{told}"
    );
    assert_eq!(desk.run(&["list"], "").0, Some(69));
    desk.run(&["add", "ada", ADA.0], PASSWORD);
    assert_eq!(desk.check().0, Some(0));
    let sound = desk.text();
    for (text, mode, expected) in [
        (
            format!("{sound}geheim\n"),
            0o600,
            "line 3: not as many fields as the header has",
        ),
        (
            "user;vtnr\n".into(),
            0o600,
            "does not have the column hash exactly once",
        ),
        (
            sound.clone(),
            0o644,
            "can be read or written by everybody; chmod o= it",
        ),
        (
            sound.clone(),
            0o606,
            "can be read or written by everybody; chmod o= it",
        ),
    ] {
        fs::write(desk.file(), &text).expect("written");
        chmod(&desk.file(), mode);
        let serve = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"))
            .args(["serve", "--config"])
            .arg(desk.config())
            .output();
        let (code, told) = said(&serve.expect("it runs"));
        assert!(
            code.is_some_and(|code| code != 0) && told.contains(expected),
            "{code:?} {told}"
        );
        for (code, told) in [
            desk.check(),
            desk.run(&["list"], ""),
            desk.run(&["remove", "ada"], ""),
            desk.run(&["add", "ben", BEN.0], PASSWORD),
        ] {
            assert!(
                code == Some(64) && told.contains(expected) && !told.contains("geheim"),
                "{code:?} {told}"
            );
        }
        assert_eq!(desk.text(), text);
    }
}

#[test]
fn without_the_section_there_are_no_users() {
    let desk = Desk::with("");
    let (code, told) = desk.run(&["list"], "");
    assert_eq!(
        (code, told.as_str()),
        (
            Some(64),
            "vtnr-gateway: the configuration has no [password] section, so there are no users\n"
        )
    );
    for (section, expected) in [
        (
            "[password]\nlanes = 1\n",
            "password.file: is missing; [password] requires it",
        ),
        (
            "[password]\nfile = \"users.csv\"\n[login]\npassword_url = \"/x\"\n",
            "login.password_url: conflicts with [password]",
        ),
        (
            "[password]\nfile = \"users.csv\"\nmemory = \"8KiB\"\nlanes = 2\n",
            "password.memory: must be at least 8KiB per lane (password.lanes)",
        ),
    ] {
        let (code, told) = Desk::with(section).check();
        assert!(code == Some(64) && told.contains(expected), "{told}");
    }
}

/// `script` gives the command a terminal, on which it finds what is typed and shows what is echoed.
#[test]
fn on_a_terminal_the_password_is_asked_for_twice_and_not_shown() {
    let desk = Desk::new();
    let command = format!(
        "{} users add --config {} ada {}",
        env!("CARGO_BIN_EXE_vtnr-gateway"),
        desk.config().display(),
        ADA.0
    );
    let typed = |first: &str, second: &str| {
        let mut terminal = support::users::Terminal::start(&command);
        terminal.waits_for("Password: ");
        terminal.type_in(first);
        terminal.waits_for("Once more: ");
        terminal.type_in(second);
        terminal.ends()
    };
    let (code, shown) = typed(PASSWORD, "another horse battery staple");
    assert!(
        code == Some(64) && shown.contains("the passwords differ; nothing was changed"),
        "{code:?} {shown}"
    );
    assert!(
        !shown.contains("horse") && desk.text().is_empty(),
        "{shown}"
    );
    let (code, shown) = typed(PASSWORD, PASSWORD);
    assert!(
        code == Some(0) && shown.contains("ada can sign in as 60/123/4567"),
        "{code:?} {shown}"
    );
    assert!(!shown.contains("horse"), "{shown}");
    assert_eq!(desk.run(&["list"], "").1, "ada;60/123/4567;m=64,t=1,p=1\n");
}

#[test]
fn a_files_owner_sees_which_hashes_are_to_be_renewed() {
    let desk =
        Desk::with("[password]\nfile = \"users.csv\"\nmemory = \"128KiB\"\niterations = 1\n");
    fs::copy(UsersFile::of_two().path(), desk.file()).expect("copied");
    let told = desk.run(&["list"], "").1;
    assert_eq!(
        told.lines().next(),
        Some(
            format!(
                "{};60/123/4567;m=64,t=1,p=1;renewed at the next sign-in",
                ADA_KEY.0
            )
            .as_str()
        )
    );
}
