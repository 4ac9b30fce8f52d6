//! Composes the mail of a letter: text and HTML, without links, images or attachments.

use super::Error;
use super::templates::{HTML, MailTemplates, SUBJECT, TEXT};
use crate::config;
use crate::language::{GERMAN, Language, Texts};
use domain::email::Email;
use domain::ids::LetterId;
use domain::letter::Letter;
use domain::tan::Tan;
use domain::time::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use minijinja::{Value, context};
use std::time::{Duration, UNIX_EPOCH};

/// Suppresses automatic replies (RFC 3834, 5); Exchange reads a field of its own.
const AUTOMATIC: [(HeaderName, &str); 2] = [
    (
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated",
    ),
    (
        HeaderName::new_from_ascii_str("X-Auto-Response-Suppress"),
        "All",
    ),
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Composes mails from the templates.
pub struct Writer {
    templates: MailTemplates,
    texts: Texts,
    zone: TimeZone,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    lifetime: Duration,
    trust_days: u64,
    brand: config::Brand,
}

impl Writer {
    /// Reads the templates, and checks them with a sample letter.
    ///
    /// # Errors
    /// [`Error`] if a template, the time zone or a sender address cannot be used.
    pub fn new(
        mail: &config::MailConfig,
        login: &config::LoginConfig,
        brand: &config::Brand,
    ) -> Result<Self, Error> {
        Self::in_language(&GERMAN, mail, login, brand)
    }

    fn in_language(
        language: &Language,
        mail: &config::MailConfig,
        login: &config::LoginConfig,
        brand: &config::Brand,
    ) -> Result<Self, Error> {
        let unknown_zone = |_| Error::Setting {
            key: "login.time_zone",
            mistake: format!("`{}` is unknown", login.time_zone),
        };
        let writer = Self {
            templates: MailTemplates::load(language, brand.templates.as_deref())?,
            texts: language.texts(brand.templates.as_deref())?,
            zone: TimeZone::get(&login.time_zone).map_err(unknown_zone)?,
            from: mailbox("mail.from", &mail.from)?,
            reply_to: mail
                .reply_to
                .as_deref()
                .map(|text| mailbox("mail.reply_to", text))
                .transpose()?,
            lifetime: login.tan.lifetime,
            trust_days: login.trust.as_secs() / DAY.as_secs(),
            brand: brand.clone(),
        };
        writer.try_out()?;
        Ok(writer)
    }

    /// Composes the mail to `to`, with times relative to a delivery at `now`.
    ///
    /// # Errors
    /// [`Error`] if the address is unusable, or a template fails on these values.
    pub fn write(&self, letter: &Letter, to: &Email, now: Timestamp) -> Result<Message, Error> {
        let values = self.values(letter, now);
        let render = |template| self.templates.render(template, &values);
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(
                None,
                address(to.as_str())
                    .ok_or(Error::Letter("the address is not usable in a header"))?,
            ))
            .subject(render(SUBJECT)?.trim())
            .date(UNIX_EPOCH + Duration::from_millis(now.as_millis()))
            .message_id(Some(format!(
                "<{}@{}>",
                letter.id,
                self.from.email.domain()
            )));
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        for (name, value) in AUTOMATIC {
            message = message.raw_header(HeaderValue::new(name, value.to_owned()));
        }
        // RFC 2046, 5.1.4: the plainest part first.
        let parts = MultiPart::alternative()
            .singlepart(part(ContentType::TEXT_PLAIN, render(TEXT)?)?)
            .singlepart(part(ContentType::TEXT_HTML, render(HTML)?)?);
        message
            .multipart(parts)
            .map_err(|_| Error::Letter("a header field is missing"))
    }

    fn values(&self, letter: &Letter, now: Timestamp) -> Value {
        let valid_until = now.plus(self.lifetime).min(letter.not_after);
        let asked_at = self.local(letter.asked_at);
        let time = &self.texts.time;
        context! {
            tan => letter.tan.reveal(),
            valid_minutes => valid_until.after(now).as_secs() / 60,
            valid_until => self.until(&self.local(valid_until), &self.local(now)),
            asked_date => time.format(&time.date, &asked_at),
            asked_time => time.format(&time.clock, &asked_at),
            browser => self.texts.browser.describe(&letter.browser),
            trust_days => self.trust_days,
            ..self.brand_values()
        }
    }

    fn brand_values(&self) -> Value {
        context! {
            brand => &self.brand.name,
            product => &self.brand.product,
            color => &self.brand.color,
            on_color => &self.brand.on_color,
            support_phone => &self.brand.support_phone,
            support_email => &self.brand.support_email,
        }
    }

    fn local(&self, time: Timestamp) -> Zoned {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis)
            .unwrap_or(jiff::Timestamp::MAX)
            .to_zoned(self.zone.clone())
    }

    /// Formats a time, with the date unless that is today.
    fn until(&self, end: &Zoned, now: &Zoned) -> String {
        let time = &self.texts.time;
        let pattern = if end.date() == now.date() {
            &time.same_day
        } else {
            &time.other_day
        };
        time.format(pattern, end)
    }

    /// Renders a sample letter, and checks that the TAN is where it must be and nowhere else.
    fn try_out(&self) -> Result<(), Error> {
        let now = Timestamp::from_millis(DAY.as_millis().try_into().unwrap_or(u64::MAX));
        let letter = Letter {
            id: LetterId::from_bits(0),
            to: None,
            tan: Tan::from_record("BCDFGH"),
            asked_at: now,
            browser: "Firefox/Windows".to_owned(),
            not_after: now.plus(DAY),
        };
        let values = self.values(&letter, now);
        let tan_has_a_line =
            |text: &str| text.lines().any(|line| line.trim() == letter.tan.reveal());
        for template in [TEXT, HTML] {
            if !tan_has_a_line(&self.templates.render(template, &values)?) {
                return Err(self
                    .templates
                    .wrong(template, "the TAN must be alone on its line: {{ tan }}"));
            }
        }
        let subject = self.templates.render(SUBJECT, &values)?;
        if subject.contains(letter.tan.reveal()) {
            return Err(self.templates.wrong(
                SUBJECT,
                "the TAN must not appear in the subject, which locked screens show",
            ));
        }
        if subject.trim().is_empty() || subject.trim().contains(['\r', '\n']) {
            return Err(self
                .templates
                .wrong(SUBJECT, "the subject must be one line"));
        }
        Ok(())
    }
}

/// Encodes a part as quoted-printable, which passes every relay and keeps the TAN on its own line.
fn part(kind: ContentType, text: String) -> Result<SinglePart, Error> {
    let body = Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable);
    Ok(SinglePart::builder()
        .content_type(kind)
        .body(body.map_err(|_| Error::Letter("the text cannot be encoded"))?))
}

fn mailbox(key: &'static str, text: &str) -> Result<Mailbox, Error> {
    let unusable = || Error::Setting {
        key,
        mistake: format!("`{text}` is not `Name <address>`"),
    };
    let mailbox: Mailbox = text.parse().map_err(|_| unusable())?;
    let email = address(mailbox.email.as_ref()).ok_or_else(unusable)?;
    Ok(Mailbox::new(mailbox.name, email))
}

/// Converts the address's domain to ASCII, so that no relay needs SMTPUTF8 (RFC 5891, 4.4).
fn address(text: &str) -> Option<Address> {
    let (user, domain) = text.split_once('@')?;
    Address::new(user, idna::domain_to_ascii(domain).ok()?).ok()
}

#[cfg(test)]
mod tests;
