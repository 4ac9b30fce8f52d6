//! One mail: its envelope as SMTP gave it, and what can be read in it.

use mail_parser::{Message, MessageParser, PartType};

/// Who sent a mail and to whom, as said in SMTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct ReceivedMail {
    /// The how-manieth mail this is, from 0.
    pub index: usize,
    /// The envelope sender, without angle brackets; empty for a bounce.
    pub from: String,
    /// The envelope recipients, without angle brackets.
    pub to: Vec<String>,
    /// The `Subject`, decoded; empty if there is none.
    pub subject: String,
    /// The `Date` as the sender wrote it, in RFC 3339; empty if there is none. The postbox itself has no clock.
    pub date: String,
    /// The text part, decoded; made from the HTML if there is only that.
    pub text: String,
    /// The HTML part, decoded, if there is one.
    pub html: Option<String>,
    /// The mail as it was sent, dots unstuffed, line ends untouched.
    pub raw: Vec<u8>,
}

impl ReceivedMail {
    /// Reads what came after DATA. Something that is no mail at all is kept too, with empty parts.
    pub(super) fn read(envelope: Envelope, raw: Vec<u8>) -> Self {
        let Envelope { from, to } = envelope;
        // The parser's own empty message would not do: asked for its subject, it panics.
        let Some(message) = MessageParser::default().parse(&raw) else {
            let [subject, date, text] = [const { String::new() }; 3];
            return Self {
                index: 0,
                from,
                to,
                subject,
                date,
                text,
                html: None,
                raw,
            };
        };
        let subject = message.subject().unwrap_or_default().to_owned();
        let date = message
            .date()
            .map(mail_parser::DateTime::to_rfc3339)
            .unwrap_or_default();
        let text = message.body_text(0).unwrap_or_default().into_owned();
        let html = html_of(&message);
        Self {
            index: 0,
            from,
            to,
            subject,
            date,
            text,
            html,
            raw,
        }
    }
}

/// The HTML that was really sent; the parser would also make some from a plain text.
fn html_of(message: &Message<'_>) -> Option<String> {
    message.html_bodies().find_map(|part| match &part.body {
        PartType::Html(html) => Some(html.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> ReceivedMail {
        ReceivedMail::read(Envelope::default(), raw.replace('\n', "\r\n").into_bytes())
    }

    #[test]
    fn quoted_printable_text_and_base64_html_are_decoded() {
        let mail = read(
            "From: Tarifrechner <noreply@insurer.example>\nSubject: =?utf-8?q?Ihr_pers=C3=B6nlicher_Zugang?=\n\
             Date: Mon, 02 Nov 2026 09:30:00 +0100\nMIME-Version: 1.0\n\
             Content-Type: multipart/alternative; boundary=b\n\n\
             --b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n\
             F=C3=BCr Sie, lang=\ne Zeile: BCDFGH\n\
             --b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n\
             PHA+RsO8ciBTaWU8L3A+\n--b--\n",
        );
        assert_eq!(mail.subject, "Ihr persönlicher Zugang");
        assert_eq!(mail.text.trim_end(), "Für Sie, lange Zeile: BCDFGH");
        assert_eq!(mail.html.as_deref(), Some("<p>Für Sie</p>"));
        assert_eq!(mail.date, "2026-11-02T09:30:00+01:00");
    }

    #[test]
    fn a_plain_text_has_no_html_part() {
        let mail = read("Subject: Hallo\nContent-Type: text/plain\n\nGuten Tag\n");
        assert_eq!(mail.text.trim_end(), "Guten Tag");
        assert_eq!(mail.html, None);
    }

    #[test]
    fn an_html_mail_can_be_read_as_text_too() {
        let mail = read("Subject: Hallo\nContent-Type: text/html\n\n<p>Guten Tag</p>\n");
        assert_eq!(mail.text.trim(), "Guten Tag");
        assert_eq!(
            mail.html.as_deref().map(str::trim_end),
            Some("<p>Guten Tag</p>")
        );
    }

    #[test]
    fn what_is_no_mail_is_kept_as_it_is() {
        let mail = ReceivedMail::read(Envelope::default(), vec![0, 255, 10]);
        assert_eq!(
            (mail.subject.as_str(), mail.raw.as_slice()),
            ("", &[0, 255, 10][..])
        );
    }
}
