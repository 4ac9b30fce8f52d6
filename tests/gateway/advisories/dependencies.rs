//! Advisories about what the gateway is made of: the versions that have the fix, or later ones.

/// From which version on a crate has the fix, and of what.
const FIXED: [(&str, [u32; 3], &str); 5] = [
    (
        "pingora-core",
        [0, 9, 0],
        "CVE-2025-4366, CVE-2026-2833, CVE-2026-2835, CVE-2026-105297, CVE-2026-105299",
    ),
    ("pingora-proxy", [0, 9, 0], "the same"),
    (
        "h2",
        [0, 4, 17],
        "RUSTSEC-2024-0332 (CONTINUATION), small DATA frames without end, resets that a client provokes",
    ),
    (
        "lettre",
        [0, 11, 22],
        "RUSTSEC-2021-0069, RUSTSEC-2026-0141, answers of a mail server without end",
    ),
    (
        "rustls",
        [0, 23, 18],
        "RUSTSEC-2024-0336, RUSTSEC-2024-0399",
    ),
];

/// What would bring a second TLS, with advisories of its own (RUSTSEC-2026-0141 is about `boring`).
const ABSENT: [&str; 6] = [
    "boring",
    "boring-sys",
    "openssl",
    "openssl-sys",
    "native-tls",
    "s2n-tls",
];

#[test]
fn the_locked_versions_have_the_fixes() {
    let locked = include_str!("../../../Cargo.lock");
    let packages: Vec<(&str, &str)> = locked
        .split("[[package]]")
        .filter_map(|text| Some((field(text, "name")?, field(text, "version")?)))
        .collect();
    for (name, fixed, what) in FIXED {
        let versions: Vec<_> = packages
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, version)| *version)
            .collect();
        assert!(!versions.is_empty(), "{name} is not there");
        for version in versions {
            let parts: Vec<u32> = version
                .split(['.', '-', '+'])
                .take(3)
                .map(|part| part.parse().expect("a number"))
                .collect();
            assert!(parts >= fixed.to_vec(), "{name} {version}: {what}");
        }
    }
    for name in ABSENT {
        assert!(packages.iter().all(|(known, _)| *known != name), "{name}");
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(" = \"")?
            .strip_suffix('"')
    })
}
