use super::*;
use crate::language::testing::{english, english_without};
use crate::mail::testing::{ADDRESS, ASKED_AT, HOUR, TAN, brand, letter, login, mail};
use mail_parser::{MessageParser, MimeHeaders as _};

const MINUTE: Duration = Duration::from_secs(60);

fn writer() -> Writer {
    Writer::new(&mail(25), &login(), &brand()).expect("the built-in templates are sound")
}

fn written(letter: &Letter, now: Timestamp) -> Vec<u8> {
    let to = letter.to.clone().expect("not a decoy");
    writer()
        .write(letter, &to, now)
        .expect("written")
        .formatted()
}

/// Decodes text and HTML as a mail program does.
fn bodies(raw: &[u8]) -> [String; 2] {
    let parsed = MessageParser::default().parse(raw).expect("a mail");
    assert_eq!(
        (
            parsed.text_body_count(),
            parsed.html_body_count(),
            parsed.attachment_count()
        ),
        (1, 1, 0)
    );
    [
        parsed.body_text(0).expect("text").into_owned(),
        parsed.body_html(0).expect("html").into_owned(),
    ]
}

#[test]
fn the_mail_says_all_that_was_promised_in_text_and_in_html() {
    let raw = written(&letter(7), ASKED_AT.plus(MINUTE));
    for body in bodies(&raw) {
        let flowing = body
            .replace("&nbsp;", " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let flowing = flowing.replace("<strong>", "").replace("</strong>", "");
        for promise in [
            "persönlichen Zugang zu den Tarifrechnern",
            "für eine einzige Anmeldung",
            "15 Minuten gültig, also bis 14:18 Uhr.",
            "Angefordert: 29. September 2026, 14:02 Uhr",
            "Browser: Firefox unter Windows",
            "nur alle 30 Tage. Sie dient Ihrer eigenen Sicherheit.",
            "Sie haben keine TAN angefordert?",
            "Dann müssen Sie nichts tun:",
            "Maklerbetreuer oder unserer Unterstützung:",
            "Telefon: 0800 123456",
            "E-Mail: hilfe@insurer.example",
            "auch nicht am Telefon.",
        ] {
            assert!(
                flowing.contains(promise),
                "{promise:?} is missing from\n{body}"
            );
        }
        assert_eq!(
            body.lines().filter(|line| *line == TAN).count(),
            1,
            "{body}"
        );
        assert_eq!(body.matches(TAN).count(), 1, "{body}");
        for forbidden in ["http:", "https:", "<a", "<img", "<table", "url(", "src="] {
            assert!(!body.contains(forbidden), "{forbidden} in\n{body}");
        }
    }
}

#[test]
fn on_the_wire_the_mail_is_ascii_with_the_text_first_and_the_tan_unbroken() {
    let raw = String::from_utf8(written(&letter(7), ASKED_AT)).expect("text");
    assert!(raw.is_ascii());
    let (text, html) = (
        raw.find("text/plain; charset=utf-8"),
        raw.find("text/html; charset=utf-8"),
    );
    assert!(text.is_some() && text < html, "{raw}");
    assert_eq!(
        raw.matches("Content-Transfer-Encoding: quoted-printable")
            .count(),
        2
    );
    assert_eq!(raw.matches(&format!("\r\n{TAN}\r\n")).count(), 2, "{raw}");
    assert!(
        raw.lines()
            .all(|line| line.len() <= 76 || !line.contains('=')),
        "{raw}"
    );
}

#[test]
fn the_headers_say_who_writes_to_whom_and_that_nobody_need_answer() {
    let raw = written(&letter(0xab), ASKED_AT);
    let parsed = MessageParser::default().parse(&raw).expect("a mail");
    let header = |name: &str| {
        parsed
            .header_raw(name)
            .map(str::trim)
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        parsed.subject(),
        Some("Ihre TAN für „Tarifrechner“, angefordert um 14:02 Uhr")
    );
    let from = parsed
        .from()
        .and_then(|from| from.first())
        .expect("a sender");
    assert_eq!(
        (from.name(), from.address()),
        (Some("Tarifrechner Müller"), Some("noreply@insurer.example"))
    );
    assert_eq!(
        parsed
            .to()
            .and_then(|to| to.first())
            .and_then(|to| to.address()),
        Some(ADDRESS)
    );
    assert_eq!(
        parsed.message_id(),
        Some("000000000000000000000000000000ab@insurer.example")
    );
    assert_eq!(
        parsed.date().map(|date| date.to_timestamp() * 1_000),
        i64::try_from(ASKED_AT.as_millis()).ok()
    );
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert_eq!(header("X-Auto-Response-Suppress"), "All");
    assert!(
        parsed
            .content_type()
            .is_some_and(|kind| kind.subtype() == Some("alternative"))
    );
    assert!(parsed.reply_to().is_none());
}

#[test]
fn a_configured_address_for_answers_is_named() {
    let config = config::MailConfig {
        reply_to: Some("Hilfe <hilfe@insurer.example>".to_owned()),
        ..mail(25)
    };
    let writer = Writer::new(&config, &login(), &brand()).expect("sound");
    let letter = letter(1);
    let to = letter.to.clone().expect("not a decoy");
    let raw = writer
        .write(&letter, &to, ASKED_AT)
        .expect("written")
        .formatted();
    let parsed = MessageParser::default().parse(&raw).expect("a mail");
    assert_eq!(
        parsed
            .reply_to()
            .and_then(|to| to.first())
            .and_then(|to| to.address()),
        Some("hilfe@insurer.example")
    );
}

#[test]
fn two_attempts_carry_the_same_name_and_each_its_own_times() {
    let (early, late) = (
        written(&letter(7), ASKED_AT),
        written(&letter(7), ASKED_AT.plus(MINUTE * 20)),
    );
    let id = |raw: &[u8]| {
        MessageParser::default()
            .parse(raw)
            .and_then(|mail| mail.message_id().map(str::to_owned))
    };
    assert_eq!(id(&early), id(&late));
    assert!(bodies(&early)[0].contains("also bis 14:17 Uhr."));
    assert!(bodies(&late)[0].contains("also bis 14:37 Uhr."));
    assert!(bodies(&late)[0].contains("Angefordert: 29. September 2026, 14:02 Uhr"));
}

#[test]
fn no_mail_promises_more_time_than_the_sign_in_has_left() {
    let [text, _] = bodies(&written(&letter(7), ASKED_AT.plus(MINUTE * 50)));
    assert!(
        text.contains("10 Minuten gültig, also bis 15:02 Uhr."),
        "{text}"
    );
    let [text, html] = bodies(&written(&letter(7), ASKED_AT.plus(MINUTE * 59)));
    assert!(
        text.contains("nur noch sehr kurz gültig,\nnämlich bis 15:02 Uhr.")
            || text.contains("nämlich bis 15:02 Uhr."),
        "{text}"
    );
    assert!(html.contains("nur noch sehr kurz gültig"), "{html}");
}

#[test]
fn across_midnight_and_the_change_of_clocks_the_time_is_the_brokers() {
    // 25 October 2026, 02:55 summer time: a quarter of an hour later it is 02:10 winter time.
    let asked_at = Timestamp::from_millis(1_792_889_700_000);
    let letter = |asked_at: Timestamp| Letter {
        asked_at,
        not_after: asked_at.plus(HOUR),
        ..letter(7)
    };
    let [text, _] = bodies(&written(&letter(asked_at), asked_at));
    assert!(
        text.contains("Angefordert: 25. Oktober 2026, 2:55 Uhr") && text.contains("bis 2:10 Uhr."),
        "{text}"
    );
    let nine_to_midnight = Timestamp::from_millis(1_790_719_200_000 - 9 * 60_000);
    let [text, _] = bodies(&written(&letter(nine_to_midnight), nine_to_midnight));
    assert!(
        text.contains("bis 0:06 Uhr am 30. September 2026."),
        "{text}"
    );
}

#[test]
fn a_domain_with_umlauts_is_written_to_in_ascii() {
    let to = Email::parse("info@Müller-Makler.de").expect("well-formed");
    let message = writer().write(&letter(1), &to, ASKED_AT).expect("written");
    assert_eq!(
        message.envelope().to()[0].to_string(),
        "info@xn--mller-makler-dlb.de"
    );
}

#[test]
fn what_a_brand_is_called_does_not_become_html() {
    let [text, html] = bodies(&written(&letter(7), ASKED_AT));
    assert!(
        text.ends_with("Freundliche Grüße\r\nMuster & Söhne")
            || text.ends_with("Freundliche Grüße\nMuster & Söhne"),
        "{text}"
    );
    assert!(
        html.contains("Muster &amp; Söhne") && !html.contains("Muster & "),
        "{html}"
    );
}

fn with_template(name: &str, source: &str) -> Result<Writer, String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("mail")).expect("made");
    std::fs::write(folder.path().join("mail").join(name), source).expect("written");
    let brand = config::Brand {
        templates: Some(folder.path().to_owned()),
        ..brand()
    };
    let place = format!("{}/mail/", folder.path().display());
    Writer::new(&mail(25), &login(), &brand)
        .map_err(|error| error.to_string().replace(&place, "…/"))
}

#[test]
fn an_operator_can_word_the_mail_without_a_rebuild() {
    let writer = with_template(
        "tan.txt",
        "Hallo!\n\n{{ tan }}\n\nGültig bis {{ valid_until }}.",
    )
    .expect("sound");
    let to = Email::parse(ADDRESS).expect("well-formed");
    let [text, html] = bodies(
        &writer
            .write(&letter(7), &to, ASKED_AT)
            .expect("written")
            .formatted(),
    );
    assert_eq!(
        text.replace('\r', ""),
        format!("Hallo!\n\n{TAN}\n\nGültig bis 14:17 Uhr.")
    );
    assert!(html.contains("Guten Tag,"));
}

#[test]
fn a_broken_template_is_a_mistake_with_file_and_line() {
    let cases = [
        ("tan.txt", "Hallo\n{{ tan }}\n{% if %}", "…/tan.txt:3: "),
        (
            "tan.html",
            "{{ tan }}\n\n{{ tann }}",
            "…/tan.html:3: undefined value",
        ),
        (
            "tan.txt",
            "Ihre TAN: {{ tan }}.",
            "…/tan.txt:1: the TAN must be alone on its line",
        ),
        (
            "subject.txt",
            "Ihre TAN {{ tan }}",
            "…/subject.txt:1: the TAN must not appear in the subject",
        ),
        (
            "subject.txt",
            "Ihre\nTAN",
            "…/subject.txt:1: the subject must be one line",
        ),
    ];
    for (name, source, expected) in cases {
        let mistake = with_template(name, source).err().expect("refused");
        assert!(mistake.starts_with(expected), "{mistake}");
    }
}

#[test]
fn a_sender_or_time_zone_that_cannot_be_used_is_a_mistake_with_its_key() {
    let config = config::MailConfig {
        from: "Tarifrechner".to_owned(),
        ..mail(25)
    };
    let mistake = Writer::new(&config, &login(), &brand())
        .err()
        .expect("refused")
        .to_string();
    assert_eq!(mistake, "mail.from: `Tarifrechner` is not `Name <address>`");
    let login = config::LoginConfig {
        time_zone: "Europa/Berlin".to_owned(),
        ..login()
    };
    let mistake = Writer::new(&mail(25), &login, &brand())
        .err()
        .expect("refused")
        .to_string();
    assert_eq!(mistake, "login.time_zone: `Europa/Berlin` is unknown");
}

#[test]
fn a_second_language_is_rendered_with_its_own_words() {
    let writer = Writer::in_language(&english(), &mail(25), &login(), &brand()).expect("complete");
    let letter = Letter {
        not_after: ASKED_AT.plus(HOUR * 30),
        ..letter(7)
    };
    let text = |now| {
        let values = writer.values(&letter, now);
        writer.templates.render(TEXT, &values).expect("rendered")
    };
    assert_eq!(
        text(ASKED_AT),
        format!("{TAN}\nvalid until 2:17 PM, requested on 29 September 2026 in Firefox on Windows")
    );
    let late = text(ASKED_AT.plus(HOUR * 10 - MINUTE * 5));
    assert!(
        late.contains("valid until 12:12 AM on 30 September 2026,"),
        "{late}"
    );
}

#[test]
fn a_text_that_a_language_lacks_is_named() {
    let language = english_without("clock = \"%-I:%M %p\"\n");
    let error = Writer::in_language(&language, &mail(25), &login(), &brand()).err();
    assert_eq!(
        error.expect("an error").to_string(),
        "built-in en/texts.toml: `time.clock` is missing"
    );
}
