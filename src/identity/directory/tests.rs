//! Files as operators write them, and as they go wrong.

use super::*;
use domain::email::Email;
use domain::vtnr::Vtnr;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_000);
/// A time by which any file of a test has been left alone for long.
const MUCH_LATER: Timestamp = Timestamp::from_millis(1 << 50);
const TWO: &str = "vtnr;email\n60/123/4567;ada@makler.example\n60/123/4568;bob@makler.example\n";

struct Office {
    folder: TempDir,
}

impl Office {
    fn with(content: impl AsRef<[u8]>) -> Self {
        let office = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        office.write(content);
        office
    }

    /// Renames a new file onto the old one.
    fn write(&self, content: impl AsRef<[u8]>) {
        let new = self.folder.path().join("new");
        fs::write(&new, content).expect("written");
        fs::rename(new, self.config().file).expect("renamed");
    }

    fn config(&self) -> config::DirectoryConfig {
        config::DirectoryConfig {
            file: self.folder.path().join("brokers.csv"),
            poll: Duration::from_millis(20),
            certificates: None,
        }
    }

    fn open(&self) -> Directory {
        Directory::open(&self.config(), NOW).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn vtnr(text: &str) -> Vtnr {
    Vtnr::parse(text).expect("well-formed")
}

fn emails(snapshot: &Snapshot, number: &str) -> Option<Vec<String>> {
    snapshot.find(vtnr(number)).map(|broker| {
        broker
            .emails()
            .iter()
            .map(|email| email.as_str().to_owned())
            .collect()
    })
}

fn fault(content: impl AsRef<[u8]>) -> String {
    match Directory::open(&Office::with(content).config(), NOW) {
        Err(Error::Unusable(_, fault)) => fault.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => "none".to_owned(),
    }
}

#[test]
fn a_file_from_any_usual_program_is_read() {
    let files = [
        TWO.to_owned(),
        format!("\u{feff}{TWO}"),
        TWO.replace('\n', "\r\n"),
        TWO.trim_end().to_owned(),
        TWO.replace("vtnr;email", " VTNR ; EMail"),
        TWO.replace('\n', "\n\n").replace("vtnr", "\n\r\nvtnr"),
        TWO.replace(
            "60/123/4567;ada@makler.example",
            "\"601234567\";\" ada@makler.example \"",
        ),
        TWO.replace("email", "email;Ort")
            .replace(".example", ".example;\"Hof; \"\"Saale\"\"\""),
        TWO.replace(".example", ".example;"),
        format!("{TWO};\n  \n60-123-4567;ADA@makler.example\n60/123/4567;\n"),
    ];
    for file in files {
        let snapshot = Office::with(&file).open().snapshot();
        assert_eq!(snapshot.len(), 2, "{file:?}");
        assert_eq!(
            emails(&snapshot, "60/123/4567"),
            Some(vec!["ada@makler.example".into()]),
            "{file:?}"
        );
        assert_eq!(emails(&snapshot, "60/123/4569"), None, "{file:?}");
        assert_eq!(
            (snapshot.generation(), snapshot.loaded_at()),
            (1, NOW),
            "{file:?}"
        );
    }
}

#[test]
fn a_broker_has_all_addresses_of_all_lines_and_may_have_none() {
    let file = "email;vtnr\nb@x.example;60/123/4567\n;60/123/4568\nA@x.example;60/123/4567\n";
    let snapshot = Office::with(file).open().snapshot();
    assert_eq!(
        emails(&snapshot, "60/123/4567"),
        Some(vec!["b@x.example".into(), "A@x.example".into()])
    );
    assert_eq!(emails(&snapshot, "60/123/4568"), Some(vec![]));
    let broker = snapshot.find(vtnr("60/123/4567")).expect("on file");
    let confirmed = |typed: &str| {
        broker
            .confirms(&Email::parse(typed).expect("well-formed"))
            .map(Email::as_str)
    };
    assert_eq!(confirmed("a@X.example"), Some("A@x.example"));
    assert_eq!(confirmed("c@x.example"), None);
}

#[test]
fn a_malformed_file_is_refused_with_its_lines_and_without_their_content() {
    let line = |line: &str| format!("{TWO}\n\r\n{line}\n{TWO}").replace("\nvtnr;email", "");
    let cases = [
        (
            String::new(),
            "the file is empty; a header line with vtnr;email is wanted",
        ),
        (
            "\n\n".to_owned(),
            "the file is empty; a header line with vtnr;email is wanted",
        ),
        ("vtnr;email\n".to_owned(), "the file names no broker"),
        ("vtnr;email\n;\n\n".to_owned(), "the file names no broker"),
        (
            TWO.replace("email", "mail"),
            "the header line does not have the column email exactly once; columns are divided by ;",
        ),
        (
            TWO.replace(';', ","),
            "the header line does not have the column vtnr exactly once; columns are divided by ;",
        ),
        (
            TWO.replace("vtnr", "email"),
            "the header line does not have the column vtnr exactly once; columns are divided by ;",
        ),
        (line("60/123;a@b.example"), "line 6: not a VTNR"),
        (line(";a@b.example"), "line 6: not a VTNR"),
        (line("60/123/4567;a@b"), "line 6: not an e-mail address"),
        (
            line("60/123/4567;a@b.example, c@d.example"),
            "line 6: not an e-mail address",
        ),
        (
            line("60/123/4567"),
            "line 6: not as many fields as the header has",
        ),
        (
            line("60/123/4567;a@b.example;c@d.example"),
            "line 6: not as many fields as the header has",
        ),
        (
            line("60/123/4567;\"a@b.example"),
            "line 6: a quoted field does not end on its line",
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(fault(&file), expected, "{file:?}");
    }
    assert_eq!(
        fault(b"vtnr;email\n60/123/4567;a@b.example\n60/123/4568;m\xfcller@b.example\n"),
        "line 3 is not UTF-8"
    );
}

#[test]
fn of_many_bad_lines_twenty_are_listed_and_the_rest_counted() {
    let told = fault(format!("vtnr;email\n{}", "x;y\n".repeat(25)));
    assert!(told.starts_with("line 2: not a VTNR; line 3: "), "{told}");
    assert!(
        told.ends_with("; line 21: not a VTNR; and 5 more lines"),
        "{told}"
    );
}

#[test]
fn a_reload_puts_a_whole_file_in_force_or_nothing_of_it() {
    let office = Office::with(TWO);
    let directory = office.open();
    assert_eq!(directory.reload(NOW).ok(), Some(Reload::Unchanged));
    let held = directory.snapshot();
    for bad in [
        "",
        "vtnr;email\n",
        "vtnr;email\n60/123/4569;c@d.example\n60;a@b.example\n",
    ] {
        office.write(bad);
        assert!(
            matches!(directory.reload(NOW), Err(Error::Unusable(..))),
            "{bad:?}"
        );
        assert!(Arc::ptr_eq(&held, &directory.snapshot()), "{bad:?}");
    }
    fs::remove_file(office.config().file).expect("removed");
    assert!(matches!(directory.reload(NOW), Err(Error::Unreadable(..))));
    office.write("vtnr;email\n60/123/4568;new@d.example\n60/123/4569;c@d.example\n60/123/4570;\n");
    assert_eq!(
        directory.reload(MUCH_LATER).ok(),
        Some(Reload::Swapped {
            brokers: 3,
            added: 2,
            removed: 1
        })
    );
    let snapshot = directory.snapshot();
    assert_eq!(
        (snapshot.generation(), snapshot.loaded_at()),
        (2, MUCH_LATER)
    );
    assert_eq!(
        emails(&snapshot, "60/123/4568"),
        Some(vec!["new@d.example".into()])
    );
    assert_eq!(
        emails(&held, "60/123/4568"),
        Some(vec!["bob@makler.example".into()])
    );
}

#[test]
fn a_look_tells_of_each_change_once() {
    let office = Office::with(TWO);
    let directory = office.open();
    let look = || {
        directory
            .0
            .reload_if_due(MUCH_LATER)
            .map(|reloaded| reloaded.outcome)
    };
    assert!(look().is_none());
    office.write(TWO);
    assert!(matches!(look(), Some(Ok(Reload::Unchanged))));
    assert!(look().is_none());
    office.write("nonsense");
    assert!(matches!(look(), Some(Err(Error::Unusable(..)))));
    assert!(look().is_none());
    office.write(format!("{TWO}60/123/4569;c@d.example\n"));
    assert!(matches!(
        look(),
        Some(Ok(Reload::Swapped {
            brokers: 3,
            added: 1,
            removed: 0
        }))
    ));
    assert!(look().is_none());
    fs::remove_file(office.config().file).expect("removed");
    assert!(
        look().is_none(),
        "a gap of one look may be a file on its way"
    );
    assert!(matches!(look(), Some(Err(Error::Unreadable(..)))));
    assert!(look().is_none());
    office.write(TWO);
    assert!(matches!(
        look(),
        Some(Ok(Reload::Swapped {
            brokers: 2,
            added: 0,
            removed: 1
        }))
    ));
}

#[test]
fn a_file_that_was_just_written_is_read_once_two_looks_agree() {
    let office = Office::with(TWO);
    let directory = office.open();
    // By this clock the file is always young.
    let look = || {
        directory
            .0
            .reload_if_due(NOW)
            .map(|reloaded| reloaded.outcome)
    };
    let grow = |content: &str| fs::write(office.config().file, content).expect("written");
    grow("vtnr;email\n60/123/4567;ada@makler.example\n");
    assert!(look().is_none());
    grow(&format!("{TWO}60/123/4569;c@d.example\n"));
    assert!(look().is_none());
    assert!(matches!(
        look(),
        Some(Ok(Reload::Swapped {
            brokers: 3,
            added: 1,
            removed: 0
        }))
    ));
    assert!(look().is_none());
}

#[tokio::test]
async fn the_watch_tells_its_owner_of_a_swap() {
    let office = Office::with(TWO);
    let directory = office.open();
    let (told, mut events) = tokio::sync::mpsc::unbounded_channel();
    let report = move |reloaded: Reloaded<Brokers>| drop(told.send(reloaded.outcome));
    let watch = directory.keep_up_to_date(|| MUCH_LATER, report);
    let watch = tokio::spawn(watch.expect("a signal handler"));
    office.write("vtnr;email\n60/123/4569;c@d.example\n");
    let event = tokio::time::timeout(Duration::from_secs(20), events.recv())
        .await
        .expect("in time")
        .expect("an event");
    assert_eq!(
        event.ok(),
        Some(Reload::Swapped {
            brokers: 1,
            added: 1,
            removed: 2
        })
    );
    assert_eq!(directory.snapshot().generation(), 2);
    watch.abort();
}

#[test]
fn a_large_insurers_brokers_fit() {
    let lines: String = (0..100_000)
        .rev()
        .map(|n| {
            format!(
                "60/{:03}/{:04};makler{n}@haus{}.example\n",
                n / 10_000,
                n % 10_000,
                n % 977
            )
        })
        .collect();
    let snapshot = Office::with(format!("vtnr;email\n{lines}"))
        .open()
        .snapshot();
    assert_eq!(snapshot.len(), 100_000);
    assert_eq!(
        emails(&snapshot, "60/009/9999"),
        Some(vec!["makler99999@haus345.example".into()])
    );
}
