use super::relay::{LONGEST_IDLE, QUIT_TIMEOUT, REST};
use super::*;
use crate::config::{MailProtection, Secret};
use crate::mail::Writer;
use crate::mail::testing::{
    ADDRESS, ASKED_AT, Relay, ScriptedFault, TAN, brand, letter, login as rules, mail, relay_at,
};
use std::time::{Duration, Instant};

/// A guard whose lease is never lost.
struct LeaseGuard;

#[async_trait]
impl SendGuard for LeaseGuard {
    async fn confirm(&self) -> Result<(), DeliveryResult> {
        Ok(())
    }
}

fn with(relay: config::MailRelay) -> config::MailConfig {
    config::MailConfig {
        relays: vec![relay],
        ..mail(25)
    }
}

fn login() -> Option<(String, Secret)> {
    Some(("gateway".to_owned(), Secret::new("secret")))
}

fn message() -> Message {
    let letter = letter(7);
    let to = letter.to.clone().expect("not a decoy");
    Writer::new(&mail(25), &rules(), &brand())
        .expect("sound")
        .write(&letter, &to, ASKED_AT)
        .expect("written")
}

fn smtp(config: &config::MailConfig) -> Smtp {
    Smtp::new(config, Clock::manual(ASKED_AT)).expect("sound")
}

fn reply(stage: SmtpStage, code: u16, status: &str) -> SmtpError {
    SmtpError {
        stage,
        cause: SmtpErrorKind::Reply {
            code,
            status: Some(status.to_owned()),
        },
    }
}

#[tokio::test]
async fn a_mail_is_handed_over_and_the_connection_serves_the_next_one() {
    let relay = Relay::start(&[]);
    let smtp = smtp(&mail(relay.port));
    assert_eq!(
        smtp.send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    assert_eq!(
        smtp.send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    assert_eq!((relay.mails().len(), relay.connections()), (2, 1));
    assert_eq!(
        relay.recipients(),
        [
            format!("RCPT TO:<{ADDRESS}>"),
            format!("RCPT TO:<{ADDRESS}>")
        ]
    );
}

#[tokio::test]
async fn a_mail_comes_in_one_piece_with_its_end() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let smtp = smtp(&mail(listener.local_addr().expect("bound").port()));
    let server = std::thread::spawn(move || {
        let (mut stream, mut heard) = (listener.accept().expect("a connection").0, vec![0; 65_536]);
        // After the greeting: EHLO, MAIL, RCPT and DATA.
        for reply in ["220 relay", "250 relay", "250 ok", "250 ok", "354 go on"] {
            stream
                .write_all(format!("{reply}\r\n").as_bytes())
                .expect("sent");
            let length = stream.read(&mut heard).expect("heard");
            heard.truncate(length);
            if reply.starts_with("354") {
                break;
            }
            heard.resize(65_536, 0);
        }
        stream.write_all(b"250 taken\r\n").expect("sent");
        heard
    });
    assert_eq!(
        smtp.send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    let heard = String::from_utf8(server.join().expect("no panic")).expect("text");
    assert!(
        heard.starts_with("From:") || heard.contains("\r\nFrom:"),
        "{heard}"
    );
    assert!(heard.ends_with("\r\n.\r\n"), "{heard}");
}

#[tokio::test]
async fn an_answer_of_4yz_puts_the_mail_off_and_the_next_attempt_succeeds() {
    for (at, stage) in [
        ("MAIL", SmtpStage::From),
        ("RCPT", SmtpStage::To),
        ("DATA", SmtpStage::Data),
        (".", SmtpStage::Message),
    ] {
        let relay = Relay::start(&[ScriptedFault::Say(at, "451 4.7.1 later")]);
        let smtp = smtp(&mail(relay.port));
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Deferred(reply(stage, 451, "4.7.1")),
            "{at}"
        );
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{at}"
        );
        assert_eq!(relay.mails().len(), 1, "{at}");
    }
}

#[tokio::test]
async fn an_answer_of_5yz_refuses_the_mail_and_its_text_is_not_repeated() {
    let relay = Relay::start(&[ScriptedFault::Say(
        "RCPT",
        "550 5.1.1 <ada.lovelace@makler.example>: unknown",
    )]);
    let refused = smtp(&mail(relay.port)).send(&message(), &LeaseGuard).await;
    assert_eq!(
        refused,
        DeliveryResult::Refused(reply(SmtpStage::To, 550, "5.1.1"))
    );
    assert!(!format!("{refused:?}").contains("ada"), "{refused:?}");
}

#[tokio::test]
async fn an_answer_of_5yz_to_ourselves_puts_the_mail_off_since_the_operator_can_mend_it() {
    for (at, answer, stage) in [
        ("CONNECT", "554 5.7.1 go away", SmtpStage::Connect),
        ("AUTH", "535 5.7.8 wrong", SmtpStage::SignIn),
        ("MAIL", "530 5.7.0 sign in first", SmtpStage::From),
    ] {
        let relay = Relay::start(&[ScriptedFault::Say(at, answer)]);
        let config = with(config::MailRelay {
            credentials: login(),
            ..relay_at(relay.port)
        });
        let put_off = smtp(&config).send(&message(), &LeaseGuard).await;
        assert!(
            matches!(&put_off, DeliveryResult::Deferred(SmtpError { stage: at, cause: SmtpErrorKind::Reply { .. } }) if *at == stage),
            "{put_off:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_breaks_anywhere_puts_the_mail_off() {
    for at in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        let relay = Relay::start(&[ScriptedFault::HangUp(at)]);
        let smtp = smtp(&mail(relay.port));
        let put_off = smtp.send(&message(), &LeaseGuard).await;
        assert!(
            matches!(put_off, DeliveryResult::Deferred(_)),
            "{at}: {put_off:?}"
        );
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{at}"
        );
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let put_off = smtp(&mail(nobody)).send(&message(), &LeaseGuard).await;
    assert!(
        matches!(
            &put_off,
            DeliveryResult::Deferred(SmtpError {
                stage: SmtpStage::Connect,
                cause: SmtpErrorKind::Lost(_)
            })
        ),
        "{put_off:?}"
    );
}

#[tokio::test]
async fn a_frozen_server_is_given_up_in_time_and_its_connection_never_used_again() {
    for at in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        let relay = Relay::start(&[ScriptedFault::Freeze(at)]);
        let config = config::MailConfig {
            timeout: Duration::from_millis(400),
            ..mail(relay.port)
        };
        let smtp = smtp(&config);
        let begun = Instant::now();
        let put_off = smtp.send(&message(), &LeaseGuard).await;
        assert!(
            matches!(
                &put_off,
                DeliveryResult::Deferred(SmtpError {
                    cause: SmtpErrorKind::TimedOut,
                    ..
                })
            ),
            "{at}: {put_off:?}"
        );
        assert!(
            begun.elapsed() < smtp.relays[0].longest() + QUIT_TIMEOUT,
            "{at}: {:?}",
            begun.elapsed()
        );
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{at}"
        );
        assert_eq!((relay.mails().len(), relay.connections()), (1, 2), "{at}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_died_costs_nothing_but_a_new_one() {
    let relay = Relay::start(&[ScriptedFault::HangUp("NOOP")]);
    let smtp = smtp(&mail(relay.port));
    assert_eq!(
        smtp.send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    assert_eq!(
        smtp.send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    assert_eq!((relay.mails().len(), relay.connections()), (2, 2));
}

#[tokio::test]
async fn idle_connections_are_closed_after_half_a_minute() {
    let relay = Relay::start(&[]);
    let clock = Clock::manual(ASKED_AT);
    let smtp = Smtp::new(&mail(relay.port), clock.clone()).expect("sound");
    assert_eq!(
        smtp.send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    smtp.tidy().await;
    assert_eq!(smtp.relays[0].idle(), 1);
    clock.advance(LONGEST_IDLE);
    smtp.tidy().await;
    assert_eq!(smtp.relays[0].idle(), 0);
    assert!(relay.heard_in_clear().ends_with("QUIT\r\n"));
}

#[tokio::test]
async fn where_starttls_is_required_and_not_offered_nothing_of_the_mail_is_said() {
    let relay = Relay::start(&[]);
    let config = with(config::MailRelay {
        protection: MailProtection::StartTls,
        credentials: login(),
        ..relay_at(relay.port)
    });
    let put_off = smtp(&config).send(&message(), &LeaseGuard).await;
    assert_eq!(
        put_off,
        DeliveryResult::Deferred(SmtpError {
            stage: SmtpStage::StartTls,
            cause: SmtpErrorKind::NotOffered
        })
    );
    let heard = relay.heard_in_clear();
    for secret in [TAN, "MAIL", "RCPT", "AUTH", ADDRESS] {
        assert!(!heard.contains(secret), "{secret} in {heard}");
    }
}

/// Returns a configuration that trusts this relay's certificate.
fn trusting(
    relay: &Relay,
    protection: MailProtection,
) -> (config::MailConfig, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &relay.certificate).expect("written");
    (
        config::MailConfig {
            ca_file: Some(file.path().to_owned()),
            ..with(config::MailRelay {
                protection,
                ..relay_at(relay.port)
            })
        },
        file,
    )
}

#[tokio::test]
async fn over_starttls_and_over_tls_from_the_first_byte_no_command_about_a_mail_is_in_clear() {
    for (relay, protection) in [
        (Relay::with_starttls(), MailProtection::StartTls),
        (Relay::with_tls(), MailProtection::Tls),
    ] {
        let (config, _file) = trusting(&relay, protection);
        assert_eq!(
            smtp(&config).send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{protection:?}"
        );
        assert_eq!(relay.mails().len(), 1);
        let heard = relay.heard_in_clear();
        assert!(!heard.contains("MAIL") && !heard.contains(TAN), "{heard}");
    }
}

#[tokio::test]
async fn a_server_with_a_strange_certificate_or_name_gets_no_mail() {
    for (relay, protection) in [
        (Relay::with_starttls(), MailProtection::StartTls),
        (Relay::with_tls(), MailProtection::Tls),
    ] {
        let strange = with(config::MailRelay {
            protection,
            ..relay_at(relay.port)
        });
        let (mut other_name, _file) = trusting(&relay, protection);
        other_name.relays[0].host = "127.0.0.1".to_owned();
        for config in [strange, other_name] {
            let put_off = smtp(&config).send(&message(), &LeaseGuard).await;
            assert!(
                matches!(
                    &put_off,
                    DeliveryResult::Deferred(SmtpError {
                        cause: SmtpErrorKind::Lost(_),
                        ..
                    })
                ),
                "{put_off:?}"
            );
        }
        assert!(relay.mails().is_empty());
    }
}

#[tokio::test]
async fn a_file_without_certificates_is_a_mistake() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let tls = with(config::MailRelay {
        protection: MailProtection::Tls,
        ..relay_at(25)
    });
    let config = config::MailConfig {
        ca_file: Some(file.path().to_owned()),
        ..tls
    };
    let mistake = Smtp::new(&config, Clock::default())
        .err()
        .expect("refused")
        .to_string();
    assert_eq!(mistake, "mail.ca_file: contains no PEM certificate");
}

/// Mail servers in order, and the clock by which failed ones rest.
fn several(relays: &[&Relay]) -> (Smtp, Clock) {
    let relays = relays
        .iter()
        .map(|relay| config::MailRelay {
            credentials: login(),
            ..relay_at(relay.port)
        })
        .collect();
    let config = config::MailConfig {
        relays,
        timeout: Duration::from_millis(400),
        ..mail(25)
    };
    let clock = Clock::manual(ASKED_AT);
    (Smtp::new(&config, clock.clone()).expect("sound"), clock)
}

/// Returns the numbers of mails that two servers have.
fn mails(first: &Relay, second: &Relay) -> (usize, usize) {
    (first.mails().len(), second.mails().len())
}

#[tokio::test]
async fn a_server_that_fails_hands_on_at_once_and_then_rests_for_a_while() {
    let faults = [
        ScriptedFault::HangUp("CONNECT"),
        ScriptedFault::Freeze("CONNECT"),
        ScriptedFault::Say("CONNECT", "554 5.7.1 go away"),
        ScriptedFault::Say("AUTH", "535 5.7.8 wrong"),
        ScriptedFault::Say("MAIL", "550 5.7.1 no such sender"),
        ScriptedFault::Say("RCPT", "421 4.3.2 closing"),
        ScriptedFault::HangUp("RCPT"),
        ScriptedFault::Freeze("DATA"),
    ];
    for fault in faults {
        let (first, second) = (Relay::start(&[fault]), Relay::start(&[]));
        let (smtp, clock) = several(&[&first, &second]);
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{fault:?}"
        );
        assert_eq!(mails(&first, &second), (0, 1), "{fault:?}");
        let [failed, works] = &smtp.relays()[..] else {
            panic!("two")
        };
        assert!(
            failed.relay == format!("localhost:{}", first.port) && failed.trouble.is_some(),
            "{failed:?}"
        );
        assert_eq!(works.trouble, None);
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted
        );
        assert_eq!(
            (mails(&first, &second), first.connections()),
            ((0, 2), 1),
            "{fault:?}: it rests"
        );
        clock.advance(REST);
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted
        );
        assert_eq!(
            mails(&first, &second),
            (1, 2),
            "{fault:?}: it is tried again"
        );
        assert_eq!(smtp.relays()[0].trouble, None);
    }
}

#[tokio::test]
async fn while_one_mail_tries_a_server_again_the_others_go_elsewhere() {
    let (first, second) = (
        Relay::start(&[
            ScriptedFault::HangUp("CONNECT"),
            ScriptedFault::Freeze("CONNECT"),
        ]),
        Relay::start(&[]),
    );
    let (smtp, clock) = several(&[&first, &second]);
    smtp.send(&message(), &LeaseGuard).await;
    clock.advance(REST);
    let (one, other) = (message(), message());
    let (tries, goes) = tokio::join!(smtp.send(&one, &LeaseGuard), smtp.send(&other, &LeaseGuard));
    assert_eq!(
        (tries, goes),
        (DeliveryResult::Accepted, DeliveryResult::Accepted)
    );
    assert_eq!((mails(&first, &second), first.connections()), ((0, 3), 2));
}

#[tokio::test]
async fn a_mail_that_one_server_wants_later_another_may_take_now_and_neither_rests() {
    for stage in ["MAIL", "RCPT", "DATA", "."] {
        let (first, second) = (
            Relay::start(&[ScriptedFault::Say(stage, "451 4.7.1 later")]),
            Relay::start(&[]),
        );
        let (smtp, _) = several(&[&first, &second]);
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{stage}"
        );
        assert_eq!(mails(&first, &second), (0, 1), "{stage}");
        assert_eq!(
            smtp.send(&message(), &LeaseGuard).await,
            DeliveryResult::Accepted,
            "{stage}"
        );
        assert_eq!(mails(&first, &second), (1, 1), "{stage}");
    }
}

#[tokio::test]
async fn a_mail_that_one_server_refuses_for_good_is_given_to_no_other() {
    for stage in ["RCPT", "DATA", "."] {
        let (first, second) = (
            Relay::start(&[ScriptedFault::Say(stage, "550 5.1.1 unknown")]),
            Relay::start(&[]),
        );
        let (smtp, _) = several(&[&first, &second]);
        let refused = smtp.send(&message(), &LeaseGuard).await;
        assert!(
            matches!(refused, DeliveryResult::Refused(_)),
            "{stage}: {refused:?}"
        );
        assert_eq!(second.connections(), 0, "{stage}");
        assert_eq!(smtp.relays()[0].trouble, None, "it works");
    }
}

#[tokio::test]
async fn a_mail_that_one_server_may_have_is_given_to_no_other_at_once() {
    for fault in [ScriptedFault::HangUp("."), ScriptedFault::Freeze(".")] {
        let (first, second) = (Relay::start(&[fault]), Relay::start(&[]));
        let (smtp, _) = several(&[&first, &second]);
        let put_off = smtp.send(&message(), &LeaseGuard).await;
        assert!(
            matches!(
                put_off,
                DeliveryResult::Deferred(SmtpError {
                    stage: SmtpStage::Message,
                    ..
                })
            ),
            "{fault:?}: {put_off:?}"
        );
        assert_eq!(second.connections(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_sender_is_refused_once_no_server_wants_it_and_none_may_want_it_later() {
    let no = || Relay::start(&[ScriptedFault::Say("MAIL", "550 5.7.1 no such sender")]);
    let (first, second) = (no(), no());
    let refused = several(&[&first, &second])
        .0
        .send(&message(), &LeaseGuard)
        .await;
    assert_eq!(
        refused,
        DeliveryResult::Refused(reply(SmtpStage::From, 550, "5.7.1"))
    );
    let (first, second) = (
        Relay::start(&[ScriptedFault::Say("RCPT", "451 4.7.1 later")]),
        no(),
    );
    let put_off = several(&[&first, &second])
        .0
        .send(&message(), &LeaseGuard)
        .await;
    assert_eq!(
        put_off,
        DeliveryResult::Deferred(reply(SmtpStage::To, 451, "4.7.1"))
    );
}

#[tokio::test]
async fn no_server_gets_less_protection_than_configured_or_another_ones_password() {
    let (clear, safe) = (Relay::start(&[]), Relay::with_starttls());
    let (trusted, _file) = trusting(&safe, MailProtection::StartTls);
    let first = config::MailRelay {
        protection: MailProtection::StartTls,
        credentials: login(),
        ..relay_at(clear.port)
    };
    let [second] = &trusted.relays[..] else {
        panic!("one")
    };
    let config = config::MailConfig {
        relays: vec![first, second.clone()],
        ..trusted.clone()
    };
    assert_eq!(
        smtp(&config).send(&message(), &LeaseGuard).await,
        DeliveryResult::Accepted
    );
    assert_eq!(mails(&clear, &safe), (0, 1));
    for secret in [TAN, "MAIL", "AUTH", ADDRESS] {
        assert!(
            !clear.heard_in_clear().contains(secret) && !safe.heard_in_clear().contains(secret),
            "{secret}"
        );
    }
}

/// A guard whose lease was lost.
struct Lost(DeliveryResult);

#[async_trait]
impl SendGuard for Lost {
    async fn confirm(&self) -> Result<(), DeliveryResult> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn a_mail_whose_letter_was_lost_on_the_way_goes_to_nobody() {
    let unconfirmed = DeliveryResult::Deferred(SmtpError {
        stage: SmtpStage::Message,
        cause: SmtpErrorKind::Unconfirmed,
    });
    for lost in [DeliveryResult::Withdrawn, unconfirmed] {
        let (first, second) = (Relay::start(&[]), Relay::start(&[]));
        let (smtp, _) = several(&[&first, &second]);
        assert_eq!(smtp.send(&message(), &Lost(lost.clone())).await, lost);
        assert_eq!((mails(&first, &second), second.connections()), ((0, 0), 0));
        assert!(
            first.heard_in_clear().ends_with("DATA\r\n"),
            "{}",
            first.heard_in_clear()
        );
        assert_eq!(
            smtp.relays()[0].trouble,
            None,
            "it is not the server's fault"
        );
    }
}
