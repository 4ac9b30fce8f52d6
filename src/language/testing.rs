//! A second language, for tests.

use super::{BuiltIn, GERMAN, Language};

const CATALOGUE: &str = r#"
[time]
months = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]
near = "%-I:%M %p"
far = "%-I:%M %p on %-d %B"
near_second = "%-I:%M:%S %p"
far_second = "%-I:%M:%S %p on %-d %B"
date = "%-d %B %Y"
clock = "%-I:%M %p"
same_day = "%-I:%M %p"
other_day = "%-I:%M %p on %-d %B %Y"

[size]
kilobytes = "{number} kilobytes"
megabytes = "{number} megabytes"
decimal_mark = "."

[browser]
unknown = "an unknown browser"
on_system = "{browser} on {system}"

[browser.systems]
Android = "Android"
ChromeOS = "ChromeOS"
Linux = "Linux"
Mac = "a Mac"
Windows = "Windows"
iPad = "an iPad"
iPhone = "an iPhone"
"#;

/// English, with a few templates of its own.
pub(crate) fn english() -> Language {
    english_with(CATALOGUE)
}

/// English without one line of its catalogue.
pub(crate) fn english_without(line: &str) -> Language {
    assert!(CATALOGUE.contains(line));
    english_with(CATALOGUE.replace(line, "").leak())
}

fn english_with(catalogue: &'static str) -> Language {
    Language {
        code: "en",
        pages: translated(
            GERMAN.pages,
            &[
                (
                    "session-ended.html",
                    "{% if keeping.state == 'kept' %}We keep it until {{ keeping.until }}.{% else %}It is larger than {{ parking.size }}.{% endif %}",
                ),
                ("help.html", "Help"),
            ],
        ),
        mails: translated(
            GERMAN.mails,
            &[
                (
                    "mail/subject.txt",
                    "Your TAN, requested at {{ asked_time }}",
                ),
                (
                    "mail/tan.txt",
                    "{{ tan }}\nvalid until {{ valid_until }}, requested on {{ asked_date }} in {{ browser }}",
                ),
            ],
        ),
        last_resort: "This page cannot be shown",
        catalogue,
    }
}

fn translated(german: &[BuiltIn], english: &[(&'static str, &'static str)]) -> &'static [BuiltIn] {
    let translate = |&template: &BuiltIn| {
        let found = english.iter().find(|(name, _)| *name == template.name);
        let source = found.map_or(template.source, |(_, source)| source);
        BuiltIn { source, ..template }
    };
    german.iter().map(translate).collect::<Vec<_>>().leak()
}
