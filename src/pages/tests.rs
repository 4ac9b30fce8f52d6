use super::*;

/// The pages with a brand as an operator would configure it.
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

fn login() -> Login {
    Login {
        prefix: "/ui/login/de/".into(),
        alphabet: crate::domain::tan::Alphabet::parse("BCDFGHJKLMNPQRSTVWXZ").expect("an alphabet"),
        tan: crate::domain::challenge::TanLimits {
            lifetime: std::time::Duration::from_secs(900),
            attempt: std::time::Duration::from_secs(7200),
        },
        tries: 5,
        trust: std::time::Duration::from_secs(30 * 86_400),
        without_email: true,
        enumeration: Enumeration::Open,
        password_url: Some("/ui/login/passwort".into()),
        certificate_url: Some("https://zertifikat.insurer.example/".into()),
        time_zone: "Europe/Berlin".into(),
    }
}

/// For whoever wants to look at the pages: `cargo test --lib pages -- --ignored`, then serve `target/pages`.
#[test]
#[ignore = "writes files"]
fn every_page_is_written_to_a_file() {
    let pages = Pages::load(&brand(), &login()).expect("pages");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages");
    let assets = folder.join("ui/login/de/assets");
    std::fs::create_dir_all(&assets).expect("a folder");
    for (name, asset) in pages.assets.all() {
        std::fs::write(assets.join(name), &asset.body).expect("a file");
    }
    for (name, view) in sample::views() {
        std::fs::write(folder.join(format!("{name}.html")), pages.render(&view, sample::NOW)).expect("a file");
    }
}
