use super::*;
use crate::config::LoginMethod;
use crate::language::testing::{english, english_without};
use domain::challenge::{MailState, TanLimits, TanOver};
use domain::tan::Alphabet;
use sample::NOW;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const HOSTILE: &str = r#""><script>alert('1')</script>&amp;"#;

const PARKING: HeldFormLimits = HeldFormLimits {
    lifetime: Duration::from_secs(900),
    largest: 1 << 20,
    per_client: 1 << 24,
    total: 1 << 28,
    settles: Duration::from_secs(7),
};

fn brand() -> Brand {
    Brand {
        name: "Musterversicherung".into(),
        product: "Online-Rechner für Makler".into(),
        color: "#0b4a7a".into(),
        on_color: "#ffffff".into(),
        logo: None,
        imprint_url: "https://www.insurer.example/impressum".into(),
        privacy_url: "https://www.insurer.example/datenschutz".into(),
        support_phone: Some("+49 (0) 89 123456-0".into()),
        support_email: Some("makler@insurer.example".into()),
        templates: None,
    }
}

fn login() -> LoginConfig {
    LoginConfig {
        prefix: "/ui/login/de/".into(),
        alphabet: Alphabet::parse(Alphabet::DEFAULT).expect("an alphabet"),
        tan: TanLimits {
            lifetime: Duration::from_secs(15 * 60),
            attempt: Duration::from_secs(2 * 60 * 60),
        },
        tries: 5,
        trust: Duration::from_secs(30 * 24 * 60 * 60),
        without_email: true,
        enumeration: Enumeration::Open,
        methods: LoginMethods {
            password: Some(LoginMethod::Page("benutzerschluessel")),
            certificate: Some(LoginMethod::Host(
                "https://zertifikat.insurer.example".into(),
            )),
            portal: Some(LoginMethod::Page("portal")),
            portal_sign_out: Some("/portal/abmelden".into()),
        },
        entry_origins: Vec::new(),
        time_zone: "Europe/Berlin".into(),
    }
}

fn pages() -> Pages {
    Pages::load(&brand(), &login(), &PARKING).expect("pages")
}

/// Every sample as HTML, by name.
fn rendered(pages: &Pages) -> Vec<(String, String)> {
    sample::views()
        .into_iter()
        .map(|(name, view)| (name, pages.try_render(&view, NOW).expect("a page")))
        .collect()
}

fn page(name: &str) -> String {
    rendered(&pages())
        .into_iter()
        .find(|(known, _)| known == name)
        .expect("a sample of this name")
        .1
}

/// What stands between `<` and `>`; values are escaped, so that no `>` occurs in them.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<')
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
}

/// The values of an attribute, in order.
fn values<'h>(html: &'h str, attribute: &str) -> Vec<&'h str> {
    let start = format!(" {attribute}=\"");
    tags(html)
        .filter_map(|tag| tag.split(start.as_str()).nth(1)?.split('"').next())
        .collect()
}

fn with_template<T>(
    name: &str,
    source: &str,
    check: impl FnOnce(Result<Pages, Error>, &Path) -> T,
) -> T {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(name), source).expect("a file");
    check(
        Pages::load(
            &Brand {
                templates: Some(folder.path().into()),
                ..brand()
            },
            &login(),
            &PARKING,
        ),
        folder.path(),
    )
}

#[test]
fn every_page_has_the_labels_that_brokers_know() {
    let expected: [(&str, &[&str]); 18] = [
        (
            "sign-in",
            &[
                "<h1>Anmelden mit Vermittlernummer</h1>",
                ">Bitte melden Sie sich an<",
                ">Vermittlernummer</label>",
            ],
        ),
        (
            "sign-in",
            &[
                ">E-Mail-Adresse</label>",
                "60/123/4567",
                ">ANMELDEN</button>",
                "Benutzerschlüssel",
                "Zertifikat",
            ],
        ),
        (
            "sign-in",
            &[
                "Zugriff auf das Postfach",
                "einzelne Funktionen",
                "name=\"vtnr\"",
                "name=\"email\"",
            ],
        ),
        (
            "sign-in-vtnr-error",
            &[
                "Diese Vermittlernummer ist ungültig.",
                "value=\"60/123/456\"",
                "<title>Fehler: ",
            ],
        ),
        (
            "tan",
            &[
                "<h1>Überprüfen Sie Ihren Posteingang</h1>",
                "ada.loewe@",
                "gültig bis",
                ">14:17 Uhr<",
                ">WEITER</button>",
            ],
        ),
        (
            "tan",
            &[
                "E-MAIL-ADRESSE KORRIGIEREN",
                "Sie haben die E-Mail nicht erhalten?",
                "name=\"tan\"",
                "24 Sekunden",
            ],
        ),
        (
            "tan-wrong",
            &[
                "noch 3 Versuche",
                "<title>Fehler: ",
                "aria-invalid=\"true\"",
            ],
        ),
        ("tan-wrong-last", &["noch einen Versuch"]),
        (
            "tan-over-spent",
            &["NEUE TAN ANFORDERN", "value=\"resend\""],
        ),
        (
            "unknown-email",
            &[
                "<h1>Unbekannte E-Mail-Adresse</h1>",
                "Maklerbetreuer",
                "ada.loewe@",
                "E-MAIL-ADRESSE KORRIGIEREN",
            ],
        ),
        (
            "unknown-email",
            &[
                "Sie möchten sich ohne E-Mail anmelden?",
                "WEITER ZUM ONLINE-RECHNER",
                "value=\"without-email\"",
            ],
        ),
        (
            "blocked-submission-kept",
            &[
                "verschlüsselt bis",
                ">14:17 Uhr<",
                "name=\"email\"",
                "value=\"60/123/4567\"",
                "JETZT BESTÄTIGEN",
            ],
        ),
        (
            "blocked-submission-no-address",
            &[
                "keine E-Mail-Adresse hinterlegt",
                "Maklerbetreuer",
                "ZURÜCK ZUM FORMULAR",
            ],
        ),
        (
            "session-ended-kept",
            &["verschlüsselt bis", "ZUR ANMELDUNG"],
        ),
        (
            "session-ended-too-large",
            &[
                "größer als 1 MB",
                "Zurück-Taste",
                "IN NEUEM FENSTER ANMELDEN",
            ],
        ),
        (
            "kept-form",
            &[
                ">Eingabe jetzt absenden</button>",
                ">Eingabe verwerfen</button>",
                "60/123/4567",
            ],
        ),
        (
            "sign-out",
            &["ABMELDEN", "name=\"forget_browser\" value=\"1\""],
        ),
        (
            "help",
            &[
                "<h1>Unterstützung beim Login</h1>",
                "+49 (0) 89 123456-0",
                "tel:+49891234560",
                "mailto:makler@",
            ],
        ),
    ];
    for (name, labels) in expected {
        let html = page(name);
        for label in labels {
            assert!(html.contains(label), "{name} lacks {label:?}:\n{html}");
        }
    }
}

#[test]
fn without_scripts_a_page_looks_again_while_the_mail_is_not_out_and_not_over_what_is_being_typed() {
    for (name, seconds) in [
        ("tan-sending", "5"),
        ("tan-retrying", "5"),
        ("tan-delayed", "120"),
    ] {
        let refresh =
            format!("<noscript><meta http-equiv=\"refresh\" content=\"{seconds}\"></noscript>");
        assert!(page(name).contains(&refresh), "{name} lacks {refresh}");
    }
    for name in [
        "tan",
        "tan-refused",
        "tan-wrong",
        "tan-over-spent",
        "sign-in",
        "help",
    ] {
        assert!(!page(name).contains("refresh"), "{name}");
    }
}

#[test]
fn the_pages_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&pages());
}

#[test]
fn every_page_has_the_brand_the_footer_and_the_language() {
    for (name, html) in rendered(&pages()) {
        for part in [
            "<html lang=\"de\">",
            "Musterversicherung",
            "© 2025",
            ">Impressum<",
            ">Datenschutz<",
            ">Unterstützung beim Login<",
        ] {
            assert!(html.contains(part), "{name} lacks {part:?}");
        }
        assert_eq!(html.matches("<h1>").count(), 1, "{name}");
        assert!(
            !html.contains("<h1></h1>") && !html.to_lowercase().contains("faktor"),
            "{name}"
        );
    }
}

#[test]
fn the_way_without_e_mail_is_not_shown_where_it_is_switched_off() {
    assert!(!page("unknown-email-only").contains("WEITER ZUM ONLINE-RECHNER"));
}

#[test]
fn nothing_that_a_stranger_sends_becomes_markup() {
    let at = MailState::Accepted {
        at: NOW,
        valid_until: NOW,
    };
    let views = [
        View::SignIn(SignIn {
            return_to: HOSTILE,
            vtnr: HOSTILE,
            email: HOSTILE,
            vtnr_error: Some(FieldError::Invalid),
            email_error: None,
            notice: None,
            confirming: None,
            left_portal: false,
        }),
        View::SignIn(SignIn {
            return_to: HOSTILE,
            vtnr: HOSTILE,
            email: HOSTILE,
            vtnr_error: None,
            email_error: Some(FieldError::Invalid),
            notice: None,
            confirming: Some(OnFile::Some),
            left_portal: false,
        }),
        View::Tan(TanPage {
            return_to: HOSTILE,
            email: HOSTILE,
            letters: 6,
            mail: at,
            error: None,
            resend: Resend::Now,
            sent_again: false,
        }),
        View::TanOver(TanOverPage {
            return_to: HOSTILE,
            email: HOSTILE,
            why: TanOver::Spent,
        }),
        View::UnknownEmail(UnknownEmail {
            return_to: HOSTILE,
            vtnr: HOSTILE.into(),
            email: HOSTILE,
            without_email: true,
        }),
        View::BlockedSubmission(BlockedSubmission {
            return_to: HOSTILE,
            vtnr: HOSTILE.into(),
            on_file: OnFile::Some,
            save_result: SaveResult::Until(NOW),
        }),
        View::SessionEnded(SessionEnded {
            return_to: HOSTILE,
            save_result: SaveResult::Until(NOW),
        }),
        View::SignInRequired {
            return_to: HOSTILE,
            by: SignInBy::Number,
        },
        View::FormOfAnotherSite(FormOfAnotherSite {
            site: Some(HOSTILE),
            save_result: SaveResult::Foreign,
        }),
        View::KeptForm(KeptForm::Waits {
            action: HOSTILE.into(),
            vtnr: HOSTILE.into(),
            site: Some(HOSTILE.into()),
            parked_at: NOW,
            until: NOW,
        }),
        View::Password(PasswordPage {
            return_to: HOSTILE,
            user: HOSTILE,
            error: Some(PasswordError::Wrong),
            store_down: true,
        }),
        View::SignOut(SignOut {
            signed_in: Some(HOSTILE.into()),
            perhaps_at_portal: false,
            trusted: true,
            device: true,
        }),
        View::Problem(Problem {
            kind: ProblemKind::Internal,
            incident: Some(HOSTILE),
            return_to: HOSTILE,
            target: Some(HOSTILE),
            signed_in: true,
            wait: None,
        }),
    ];
    for view in views {
        let html = pages().render(&view, NOW);
        assert!(
            !html.contains("<script>") && !html.contains("alert('"),
            "{html}"
        );
        assert!(
            html.contains("script&gt;") || html.contains("%3Cscript%3E"),
            "{html}"
        );
        assert_eq!(html.matches("<script").count(), 1, "{html}");
    }
}

#[test]
fn every_id_is_the_only_one_on_its_page_and_every_reference_finds_one() {
    for (name, html) in rendered(&pages()) {
        let ids = values(&html, "id");
        let unique: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{name}: {ids:?}");
        let described = values(&html, "aria-describedby");
        let referred = described
            .iter()
            .flat_map(|ids| ids.split(' '))
            .chain(values(&html, "for"));
        let linked = values(&html, "href")
            .into_iter()
            .filter_map(|href| href.strip_prefix('#'));
        for id in referred.chain(linked) {
            assert!(unique.contains(id), "{name} refers to {id:?}");
        }
    }
}

#[test]
fn the_pages_need_no_exception_from_a_strict_content_security_policy() {
    for (name, html) in rendered(&pages()) {
        for tag in tags(&html) {
            assert!(
                !tag.starts_with("style") && !tag.contains(" style=") && !tag.contains(" on"),
                "{name}: <{tag}>"
            );
            assert!(
                !tag.starts_with("script") || tag.contains(" src=\"/ui/login/de/assets/"),
                "{name}: <{tag}>"
            );
        }
        let ours = [
            "https://www.insurer.example/",
            "https://zertifikat.insurer.example/",
        ];
        let foreign = ours
            .iter()
            .fold(html, |html, address| html.replace(address, ""));
        assert!(
            !foreign.contains("http://") && !foreign.contains("https://"),
            "{name}"
        );
    }
}

#[test]
fn forms_post_to_the_address_of_the_page_so_that_a_fragment_survives() {
    for (name, html) in rendered(&pages()) {
        for form in tags(&html).filter(|tag| tag.starts_with("form")) {
            assert!(form.contains("method=\"post\""), "{name}: <{form}>");
            // Only a page that stands at another page's address says where to; the script adds the fragment then.
            assert!(
                !form.contains("action=") || form.contains("data-keep-fragment"),
                "{name}: <{form}>"
            );
        }
    }
}

#[test]
fn links_between_the_pages_carry_the_target() {
    let html = page("tan");
    assert!(
        html.contains(
            "\"/ui/login/de/vtnr-login?return_to=/kfz/angebot%3Fid%3D42%26tarif%3Dbasis\""
        ),
        "{html}"
    );
    assert!(
        html.contains("data-return-to=\"/kfz/angebot?id=42&amp;tarif=basis\""),
        "{html}"
    );
    let start = pages().render(
        &View::TanOver(TanOverPage {
            return_to: "/",
            email: "a@b.example",
            why: TanOver::Expired,
        }),
        NOW,
    );
    assert!(start.contains("\"/ui/login/de/vtnr-login\""), "{start}");
}

#[test]
fn a_first_visit_is_small() {
    let pages = pages();
    let assets: usize = pages
        .assets
        .all()
        .iter()
        .map(|(_, asset)| asset.body.len())
        .sum();
    for (name, html) in rendered(&pages) {
        assert!(
            html.len() + assets < 30 * 1024,
            "{name}: {} and {assets} bytes",
            html.len()
        );
    }
}

#[test]
fn all_that_a_page_loads_is_an_asset() {
    let pages = pages();
    let html = page("sign-in");
    let files: Vec<_> = values(&html, "src")
        .into_iter()
        .chain(values(&html, "href"))
        .filter(|address| address.contains("assets/"))
        .collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        assert!(
            pages
                .asset(file.trim_start_matches("/ui/login/de/assets/"))
                .is_some(),
            "{file}"
        );
    }
    assert!(pages.asset("style.css").is_none() && pages.asset("").is_none());
}

#[test]
fn a_stranger_cannot_tell_addresses_apart_where_the_answer_is_neutral() {
    let neutral = Pages::load(
        &brand(),
        &LoginConfig {
            enumeration: Enumeration::Neutral,
            ..login()
        },
        &PARKING,
    )
    .expect("pages");
    let (_, tan) = rendered(&neutral)
        .into_iter()
        .find(|(name, _)| name == "tan")
        .expect("the sample");
    assert!(tan.contains("Wenn diese E-Mail-Adresse zu Ihrer Vermittlernummer hinterlegt ist, haben wir eine TAN gesendet"));
    assert!(!tan.contains("Wir haben eine TAN an"));
}

#[test]
fn an_operators_template_takes_the_place_of_the_built_in_one() {
    with_template(
        "signed-out.html",
        "Bis bald bei {{ brand.name }}!",
        |pages, _| {
            let html = pages.expect("pages").render(
                &View::SignedOut(SignedOut {
                    browser_forgotten: false,
                    trust_ended: false,
                    forms_lost: false,
                    outside: None,
                }),
                NOW,
            );
            assert_eq!(html, "Bis bald bei Musterversicherung!");
        },
    );
}

#[test]
fn a_broken_template_of_the_operator_is_named_with_its_line() {
    let broken = [
        "eins\nzwei\n{% if %}",
        "eins\nzwei\n{{ brand.nmae }}",
        "eins\nzwei\n{{ 1 / 0 }}",
    ];
    for source in broken {
        with_template("help.html", source, |pages, folder| {
            let message = pages.err().expect("an error").to_string();
            let place = format!("{}:3: ", folder.join("help.html").display());
            assert!(message.starts_with(&place), "{message}");
        });
    }
}

#[test]
fn a_broken_part_is_named_rather_than_the_page_that_uses_it() {
    let begin = "{% macro summary(entries) %}";
    let parts = include_str!("../../pages/de/parts.html");
    let broken = parts.replace(begin, &format!("{begin}\n{{{{ entires }}}}"));
    let line = broken
        .lines()
        .position(|line| line == "{{ entires }}")
        .expect("the part")
        + 1;
    with_template("parts.html", &broken, |pages, folder| {
        let message = pages.err().expect("an error").to_string();
        assert!(
            message.starts_with(&format!("{}:{line}: ", folder.join("parts.html").display())),
            "{message}"
        );
    });
}

#[test]
fn a_wait_has_the_words_that_its_seconds_are() {
    let told = |kind, seconds| {
        let wait = Some(Duration::from_secs(seconds));
        pages().render(
            &View::Problem(Problem {
                kind,
                incident: None,
                return_to: "/",
                target: Some("/kfz"),
                signed_in: true,
                wait,
            }),
            NOW,
        )
    };
    let server = UpstreamKind::Calculator;
    let kinds = [
        ProblemKind::Busy,
        ProblemKind::BusyForm,
        ProblemKind::FormReturned,
        ProblemKind::StoreDown,
        ProblemKind::StoreDownPage,
        ProblemKind::StoreDownForm,
        ProblemKind::StoreDownKeptForm,
        ProblemKind::StoreDownTan,
        ProblemKind::StoreDownSignOut {
            forget_browser: false,
        },
        ProblemKind::UpstreamDown(server),
        ProblemKind::UpstreamSlow(server),
        ProblemKind::UpstreamUnsent(server),
        ProblemKind::UpstreamUncertain(server),
    ];
    let words = [
        ("in wenigen Sekunden", "einige Sekunden"),
        ("in einer Minute", "eine Minute"),
        ("in einigen Minuten", "einige Minuten"),
    ];
    for kind in kinds {
        for (at, seconds) in [(0, 5), (1, 60), (2, 300)] {
            let html = told(kind, seconds);
            let is_told = |(soon, a_while): &(&str, &str)| {
                html.contains(soon) || html.contains(&format!("Warten Sie bitte {a_while}"))
            };
            let found: Vec<_> = words.iter().map(is_told).collect();
            assert_eq!(
                found,
                [at == 0, at == 1, at == 2],
                "{kind:?}, {seconds} s:\n{html}"
            );
        }
    }
    let silent = |seconds| {
        let state = PortalState::Silent {
            wait: Duration::from_secs(seconds),
        };
        pages().render(
            &View::Portal(PortalPage {
                return_to: "/",
                state,
            }),
            NOW,
        )
    };
    assert!(silent(5).contains("in wenigen Sekunden") && silent(60).contains("in einer Minute"));
}

#[test]
fn a_page_about_the_portals_server_does_not_speak_of_the_calculator() {
    for name in ["down", "slow", "unsent", "uncertain"] {
        let (portal, calculator) = (
            page(&format!("problem-portal-{name}")),
            page(&format!("problem-calculator-{name}")),
        );
        // The product's name stands above every heading.
        let portal = portal.replace(&brand().product, "");
        assert!(
            portal.contains("Das Portal")
                && !portal.contains("Rechner")
                && !portal.contains("angemeldet"),
            "{portal}"
        );
        assert!(
            calculator.contains("Der Online-Rechner") && !calculator.contains("Portal"),
            "{calculator}"
        );
    }
}

#[test]
fn how_to_reach_us_is_one_box_on_every_page_that_has_it() {
    let parts = "So erreichen Sie uns";
    for (name, has) in [
        ("help", true),
        ("certificate-expired", true),
        ("certificate-missing", false),
        ("sign-in", false),
    ] {
        let html = page(name);
        let part = html
            .split("<section class=\"note\">")
            .find(|part| part.contains(parts));
        assert_eq!(
            part.is_some_and(
                |part| part.contains("tel:+49891234560") && part.contains("mailto:makler@")
            ),
            has,
            "{name}"
        );
    }
    let without = Brand {
        support_phone: None,
        support_email: None,
        ..brand()
    };
    let pages = Pages::load(&without, &login(), &PARKING).expect("pages");
    assert!(
        rendered(&pages)
            .iter()
            .all(|(_, html)| !html.contains(parts))
    );
    let own = "{% macro reach_us() %}Rufen Sie an{% endmacro %}";
    let parts = include_str!("../../pages/de/parts.html").replace(
        "{% macro reach_us() %}",
        &format!("{own}{{% macro former() %}}"),
    );
    with_template("parts.html", &parts, |pages, _| {
        let pages = rendered(&pages.expect("pages"));
        let have = |name: &str| {
            pages
                .iter()
                .any(|(known, html)| known == name && html.contains("Rufen Sie an"))
        };
        assert!(have("help") && have("certificate-expired") && !have("certificate-missing"));
    });
}

#[test]
fn a_template_that_fails_after_all_leaves_a_plain_page() {
    with_template(
        "tan-over.html",
        "{% if email == 'x' %}{{ nothing }}{% endif %}",
        |pages, _| {
            let view = View::TanOver(TanOverPage {
                return_to: "/",
                email: "x",
                why: TanOver::Spent,
            });
            assert_eq!(pages.expect("pages").render(&view, NOW), GERMAN.last_resort);
        },
    );
}

#[test]
fn a_logo_is_an_asset_and_has_the_brands_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let logo = folder.path().join("logo.svg");
    let load = || {
        Pages::load(
            &Brand {
                logo: Some(logo.clone()),
                ..brand()
            },
            &login(),
            &PARKING,
        )
    };
    assert!(matches!(load(), Err(Error::Read { .. })));
    std::fs::write(&logo, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").expect("a file");
    let html = load().expect("pages").render(&View::Help, NOW);
    assert!(
        html.contains("alt=\"Musterversicherung\"") && html.contains("assets/logo-"),
        "{html}"
    );
    let other = Pages::load(
        &Brand {
            logo: Some("logo.gif".into()),
            ..brand()
        },
        &login(),
        &PARKING,
    );
    assert_eq!(
        other.err().map(|error| error.to_string()),
        Some("brand.logo: logo.gif is neither an .svg nor a .png file".into())
    );
}

#[test]
fn colours_that_cannot_be_read_are_refused() {
    let load = |color: &str, on_color: &str| {
        Pages::load(
            &Brand {
                color: color.into(),
                on_color: on_color.into(),
                ..brand()
            },
            &login(),
            &PARKING,
        )
    };
    assert!(matches!(
        load("#ff6600", "#ffffff"),
        Err(Error::Contrast { .. })
    ));
    assert!(matches!(
        load("blue}", "#ffffff"),
        Err(Error::Color {
            key: "brand.color",
            ..
        })
    ));
    let pale = load("#ffe100", "#1a1a1a").expect("dark on yellow can be read");
    let style = pale
        .assets
        .all()
        .first()
        .map(|(_, asset)| asset.body.clone())
        .expect("the style sheet");
    assert!(String::from_utf8_lossy(&style).contains("--link: #1a1a1a;"));
}

/// For whoever wants to look at the pages: `cargo test --lib pages -- --ignored`, then serve `target/pages`.
#[test]
#[ignore = "writes files"]
fn every_page_is_written_to_a_file() {
    let pages = pages();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages");
    let assets = folder.join("ui/login/de/assets");
    std::fs::create_dir_all(&assets).expect("a folder");
    for (name, asset) in pages.assets.all() {
        std::fs::write(assets.join(name), &asset.body).expect("a file");
    }
    for (name, html) in rendered(&pages) {
        std::fs::write(folder.join(format!("{name}.html")), html).expect("a file");
    }
}

#[test]
fn a_second_language_is_rendered_with_its_own_words() {
    let pages = Pages::in_language(&english(), &brand(), &login(), &PARKING).expect("pages");
    let shown = |save_result, now| {
        let return_to = "/";
        pages.render(
            &View::SessionEnded(SessionEnded {
                return_to,
                save_result,
            }),
            now,
        )
    };
    assert_eq!(
        shown(SaveResult::TooLarge, NOW),
        "It is larger than 1 megabytes."
    );
    let soon = SaveResult::Until(NOW.plus(Duration::from_secs(900)));
    assert_eq!(shown(soon, NOW), "We keep it until 2:17 PM.");
    assert_eq!(
        shown(soon, Timestamp::from_millis(0)),
        "We keep it until 2:17 PM on 24 November."
    );
}

#[test]
fn a_text_that_a_language_lacks_is_named() {
    let language = english_without("decimal_mark = \".\"\n");
    let loaded = Pages::in_language(&language, &brand(), &login(), &PARKING);
    assert_eq!(
        loaded.err().expect("an error").to_string(),
        "built-in en/texts.toml: `size.decimal_mark` is missing"
    );
}
