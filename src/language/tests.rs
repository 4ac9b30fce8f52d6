use super::testing::{english, english_without};
use super::*;

fn german() -> Texts {
    GERMAN.texts(None).expect("complete")
}

fn mistake(catalogue: &str) -> String {
    let parsed = Texts::parse("own.toml", catalogue, GERMAN.catalogue);
    parsed.expect_err("a mistake").to_string()
}

#[test]
fn every_language_has_all_texts() {
    for language in LANGUAGES {
        language
            .texts(None)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_second_language_has_words_of_its_own() {
    let texts = english().texts(None).expect("complete");
    assert_eq!(texts.size.of(3 << 19), "1.5 megabytes");
    assert_eq!(texts.browser.describe("Firefox/Mac"), "Firefox on a Mac");
}

#[test]
fn a_missing_text_is_named() {
    let told = |line| {
        let error = english_without(line).texts(None).expect_err("incomplete");
        error.to_string()
    };
    assert_eq!(
        told("near = \"%-I:%M %p\"\n"),
        "built-in en/texts.toml: `time.near` is missing"
    );
    assert_eq!(
        told("Mac = \"a Mac\"\nWindows = \"Windows\"\n"),
        "built-in en/texts.toml: `browser.systems.Mac` is missing; `browser.systems.Windows` is missing"
    );
}

#[test]
fn an_unusable_text_is_named() {
    let with = |old: &str, new: &str| {
        assert!(GERMAN.catalogue.contains(old));
        mistake(&GERMAN.catalogue.replace(old, new))
    };
    assert_eq!(
        with("[size]", "[size]\nbytes = \"B\""),
        "own.toml: `size.bytes` is unknown"
    );
    assert_eq!(
        with("{number} KB", "{numer} KB"),
        "own.toml: `size.kilobytes` must have the placeholders: {number}"
    );
    let pattern = with("\"%-H:%M\"", "\"%-H:%!\"");
    assert!(pattern.starts_with("own.toml: `time.clock`: "), "{pattern}");
    let line = 1 + GERMAN
        .catalogue
        .lines()
        .position(|line| line == "months = [")
        .expect("there");
    let months = with("\"Mai\", ", "");
    assert!(
        months.starts_with(&format!("own.toml:{line}: ")),
        "{months}"
    );
    assert!(mistake("\n{{ broken\n").starts_with("own.toml:2: "));
}

#[test]
fn an_operators_catalogue_replaces_the_built_in_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(TEXTS);
    let own = GERMAN.catalogue.replace("{number} KB", "{number} Kilobyte");
    std::fs::write(&path, own).expect("written");
    let texts = GERMAN.texts(Some(folder.path())).expect("complete");
    assert_eq!(texts.size.of(2_048), "2 Kilobyte");
    std::fs::write(&path, "").expect("written");
    let error = GERMAN.texts(Some(folder.path())).expect_err("empty");
    let start = format!("{}: `browser.on_system` is missing; ", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[test]
fn every_known_system_has_a_description() {
    let texts = german();
    for system in domain::browser::systems() {
        let described = texts.browser.describe(&format!("Firefox/{system}"));
        assert_ne!(described, "Firefox", "{system}");
    }
}

#[test]
fn browsers_are_described_in_words() {
    let describe = |family: &str| german().browser.describe(family);
    assert_eq!(describe("Firefox/Windows"), "Firefox unter Windows");
    assert_eq!(describe("Chrome/iPhone"), "Chrome auf dem iPhone");
    assert_eq!(describe("Firefox/"), "Firefox");
    assert_eq!(describe("/Linux"), "ein unbekannter Browser unter Linux");
    assert_eq!(describe("/"), "ein unbekannter Browser");
    assert_eq!(describe("Firefox/Amiga"), "Firefox");
    assert_eq!(describe("Edge unter Windows"), "Edge unter Windows");
}

#[test]
fn sizes_are_written_with_one_decimal_at_most() {
    for (bytes, written) in [
        (512 << 10, "512 KB"),
        (1 << 20, "1 MB"),
        (3 << 19, "1,5 MB"),
        (0, "0 KB"),
    ] {
        assert_eq!(german().size.of(bytes), written);
    }
}
