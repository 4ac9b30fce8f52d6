//! What is the Antragsversand, what is in doubt, and what is neither.

use super::*;
use crate::submission;
use proptest::prelude::*;

/// The law that the fuzzer tries to break too.
#[path = "../../../tests/fuzz/law.rs"]
mod law;

fn rules() -> SubmissionRules {
    let paths = [
        "/antrag/versand",
        "/index.php?r=antrag/versand",
        "/übermitteln",
    ]
    .map(str::to_owned);
    SubmissionRules::new(paths, LetterCase::Folded, PathAlphabet::Unicode).expect("sound rules")
}

fn classify(method: &str, target: &str) -> Intent {
    rules().classify(&Request {
        method,
        target: target.as_bytes(),
        body: Body::None,
        charset: Charset::AsciiCompatible,
    })
}

#[test]
fn the_plain_path_is_the_submission_with_every_method_but_the_safe_ones() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "JEFF", "PROPFIND"] {
        assert_eq!(
            classify(method, "/antrag/versand"),
            Intent::Submit,
            "{method}"
        );
    }
    for method in SAFE_METHODS {
        assert_eq!(classify(method, "/antrag/versand"), Intent::Use, "{method}");
    }
    for method in [
        "post",
        "Post",
        "get",
        "P",
        "PO ST",
        "POST\u{e4}",
        "TOOLONGMETHOD",
        "",
    ] {
        assert_eq!(
            classify(method, "/antrag/versand"),
            Intent::Unclear(Doubt::Method),
            "{method}"
        );
    }
}

#[test]
fn one_reading_and_it_is_the_submission() {
    let spellings = [
        "/antrag/versand/",
        "/antrag/versand?x=/public",
        "/ANTRAG/Versand",
        "/antrag/%76ersand",
        "/%61ntrag/versand",
        "/antrag;x/versand",
        "/antrag/versand;jsessionid=1A2B.node1",
        "/antrag/versand.json",
        "/antrag/versandx",
        "/antrag/versand/1",
        "/antrag/versand??",
        "/antrag/versand*",
        "/index.php?r=antrag/versand",
        "/index.php?a=1&r=antrag%2Fversand",
        "/INDEX.php?R=Antrag%252fVersand",
        "/index.php/x?r=antrag\\versand",
        "/%C3%BCbermitteln",
        "/%C3%9Cbermitteln/jetzt",
    ];
    for target in spellings {
        assert_eq!(classify("POST", target), Intent::Submit, "{target}");
    }
}

#[test]
fn what_servers_read_in_several_ways_is_in_doubt() {
    let cases = [
        ("//antrag/versand", Doubt::Segment),
        ("/antrag//versand", Doubt::Segment),
        ("/./antrag/versand", Doubt::Segment),
        ("/x/../antrag/versand", Doubt::Segment),
        ("/antrag/.../versand", Doubt::Segment),
        ("/antrag./versand", Doubt::Segment),
        ("/antrag/versand.", Doubt::Segment),
        ("/antrag%20/versand", Doubt::Segment),
        ("/%20antrag/versand", Doubt::Segment),
        ("/antrag/;x/versand", Doubt::Segment),
        ("/antrag/.;/versand", Doubt::Segment),
        ("/x/..;/antrag/versand", Doubt::Segment),
        ("/antrag::$INDEX_ALLOCATION/versand", Doubt::Segment),
        ("/antrag:$I30:%24INDEX_ALLOCATION/versand", Doubt::Segment),
        ("/::$INDEX_ALLOCATION/antrag/versand", Doubt::Segment),
        ("/antrag%2fversand", Doubt::Escape),
        ("/antrag%2Fversand", Doubt::Escape),
        ("/antrag%5cversand", Doubt::Escape),
        ("/x/%2e%2e/antrag/versand", Doubt::Escape),
        ("/antrag/versand%00", Doubt::Escape),
        ("/antrag/versand%0a", Doubt::Escape),
        ("/antrag/versand%3bx", Doubt::Escape),
        ("/antrag/versand%3f", Doubt::Escape),
        ("/antrag/versand%23x", Doubt::Escape),
        ("/antrag/%2576ersand", Doubt::Escape),
        ("/antrag%25u002fversand", Doubt::Escape),
        ("/antrag%u002fversand", Doubt::Escape),
        ("/antrag/versand%", Doubt::Escape),
        ("/antrag/versand%4", Doubt::Escape),
        ("/antrag/%zzersand", Doubt::Escape),
        ("/antrag%c0%afversand", Doubt::Escape),
        ("/antrag%e0%80%afversand", Doubt::Escape),
        ("/antrag/versand%ff", Doubt::Escape),
        ("/antrag\\versand", Doubt::RawByte),
        ("/antrag/versand\t", Doubt::RawByte),
        ("/antrag/versand#x", Doubt::RawByte),
        ("/antrag/versand\u{b}", Doubt::RawByte),
        ("/antrag/vers\u{e4}nd", Doubt::RawByte),
        ("/antrag/versand|", Doubt::RawByte),
        ("antrag/versand", Doubt::RawByte),
        ("*", Doubt::RawByte),
        ("http://x/antrag/versand", Doubt::RawByte),
        ("", Doubt::RawByte),
        ("/antrag;%2f/versand", Doubt::Parameters),
        ("/antrag;x=(1)/versand", Doubt::Parameters),
        ("/antrag/versand;a\"b", Doubt::Parameters),
        ("/antrag/ver%C5%BFand", Doubt::Character),
        ("/antrag%EF%BC%8Fversand", Doubt::Character),
        ("/antrag/versand%C2%A0", Doubt::Character),
        ("/antrag/ver%C2%ADsand", Doubt::Character),
        ("/antrag/%E2%80%8Bversand", Doubt::Character),
        ("/%EF%BD%81ntrag/versand", Doubt::Character),
    ];
    for (target, doubt) in cases {
        assert_eq!(
            classify("POST", target),
            Intent::Unclear(doubt),
            "{target:?}"
        );
        for method in SAFE_METHODS
            .into_iter()
            .filter(|_| target.starts_with('/') && !target.contains("%0a"))
        {
            assert_eq!(
                classify(method, target),
                Intent::Use,
                "{method} {target:?}: what it asks for is never the submission"
            );
        }
    }
}

/// Where sessions have no cookies, ASP.NET and SAP cut their mark out of the path.
#[test]
fn a_session_in_the_path_hides_nothing() {
    for target in [
        "/(S(lit3py55t21z5v55vlm25s55))/antrag/versand",
        "/(lit3py55t21z5v55vlm25s55)/antrag/versand",
        "/(A(x)S(y)F(z))/antrag/versand.aspx",
        "/antrag/(S(x))/versand",
        "/antrag/versand/(S(x))",
        "/x/(S(x))/",
        "/%28S(x)%29/antrag/versand",
        "/(S(x));y/antrag/versand",
        "/(lit3py55t/1z5v55vlm25s55)/antrag/versand",
        "/(bD1kZSZjPTAwMA==)/antrag/versand",
        "/()/antrag/versand",
        "/(S(x)/y)/antrag/versand",
        "/x/(/y/)/antrag/versand",
        "/(x)antrag/versand",
        "/(/antrag/versand",
        // SAP cuts a segment at its `(`.
        "/.(/antrag/versand",
        "/.(x)/antrag/versand",
        "/x/..(x)/antrag/versand",
        "/.%20(x)/antrag/versand",
        "/.%28x%29/antrag/versand",
        "/antrag.(x)/versand",
        "/antrag/versand.(x)",
    ] {
        assert_eq!(
            classify("POST", target),
            Intent::Unclear(Doubt::Segment),
            "{target}"
        );
    }
    for target in [
        "/antrag(bD1kZSZjPTAwMA==)/versand",
        "/antrag/versand(bD1kZQ==)",
        "/antrag%28x%29/versand",
        "/antrag(x/versand",
    ] {
        assert_eq!(classify("POST", target), Intent::Submit, "{target}");
    }
    for target in [
        "/f(1)/x",
        "/f(1)/antrag/versand",
        "/x(a)(b)/",
        "/a(b)c/d)",
        "/sap(bD1kZQ==)/tarif",
        "/dokumente/Angebot%20(1).pdf",
        "/a.b(c).d/x",
        "/antrag(x)/vorschau",
    ] {
        assert_eq!(classify("POST", target), Intent::Use, "{target}");
    }
}

/// Servers answer a folder with a file in it, and lead other addresses there.
#[test]
fn a_rule_for_an_index_file_guards_its_folder() {
    let rules = |path: &str| {
        SubmissionRules::new([path.to_owned()], LetterCase::Folded, PathAlphabet::Unicode)
            .expect("a sound rule")
    };
    let classify = |rules: &SubmissionRules, target: &str| {
        rules.classify(&Request {
            method: "POST",
            target: target.as_bytes(),
            body: Body::Some,
            charset: Charset::AsciiCompatible,
        })
    };
    for file in [
        "index.php",
        "index.html",
        "index.htm",
        "Index.JSP",
        "index.do",
        "index.cgi",
        "index.php5",
        "index",
        "default.aspx",
        "Default.asp",
    ] {
        let with_query = rules(&format!("/kfz/{file}?r=antrag/versand"));
        for path in [
            "/kfz",
            "/kfz/",
            "/KFZ;x",
            "/kfz/index.php",
            "/kfz/index",
            "/kfz/default.aspx",
            "/kfz/x/y",
            "/kfz/index.php/x",
        ] {
            assert_eq!(
                classify(&with_query, &format!("{path}?r=antrag%2Fversand")),
                Intent::Submit,
                "{file} {path}"
            );
            assert_eq!(
                classify(&with_query, &format!("{path}?r=tarif")),
                Intent::Use,
                "{file} {path}"
            );
        }
        for path in ["/", "/kf", "/kfzx", "/x/kfz/"] {
            assert_eq!(
                classify(&with_query, &format!("{path}?r=antrag/versand")),
                Intent::Use,
                "{file} {path}"
            );
        }
        let without = rules(&format!("/kfz/{file}"));
        for path in [
            "/kfz",
            "/kfz/",
            "/kfz/?x",
            "/kfz;x/;y",
            &format!("/kfz/{file}"),
            &format!("/KFZ/{file}/x?y"),
        ] {
            assert_eq!(classify(&without, path), Intent::Submit, "{file} {path}");
        }
        for path in [
            "/",
            "/kfzx",
            "/kfz/x",
            "/kfz/x/",
            "/kfz/main.php",
            "/x/kfz/",
        ] {
            assert_eq!(classify(&without, path), Intent::Use, "{file} {path}");
        }
    }
    for other in [
        "/kfz/main.php?r=antrag/versand",
        "/kfz/indexer.php?r=antrag/versand",
        "/index.php/kfz?r=antrag/versand",
    ] {
        assert_eq!(
            classify(&rules(other), "/kfz/?r=antrag/versand"),
            Intent::Use,
            "{other}"
        );
    }
    let folder = rules("/kfz/?r=antrag/versand");
    for path in ["/kfz", "/kfz/", "/kfz/index.php"] {
        assert_eq!(
            classify(&folder, &format!("{path}?r=antrag/versand")),
            Intent::Submit,
            "{path}"
        );
    }
}

/// ASP.NET, Mono, Jetty and Perl's CGI module read `%uXXXX` as a character.
#[test]
fn a_query_with_numbered_escapes_is_in_doubt_where_a_rule_has_a_query() {
    let query = |query: &str| classify("POST", &format!("/main?{query}"));
    for doubtful in [
        "r=%u0061ntrag/versand",
        "%u0072=antrag/versand",
        "r=%U0061ntrag/versand",
        "r=%uff41ntrag/versand",
        "r=%25u0061ntrag/versand",
        "r=%%750061ntrag/versand",
        "r=%25%2575%30%30%36%31",
        "r=%2525u0061",
        "x&y=%u00%36%31",
        "a%u0026r=antrag/versand",
        "%u0000",
    ] {
        assert_eq!(
            query(doubtful),
            Intent::Unclear(Doubt::Escape),
            "{doubtful}"
        );
    }
    for honest in [
        "x=5%25und",
        "x=5%25und+50%25",
        "x=%uhr",
        "x=%u12",
        "x=%u123g",
        "u0061",
        "x=%25",
        "%",
        "%%u",
        "x=100%25%20u1234",
    ] {
        assert_eq!(query(honest), Intent::Use, "{honest}");
    }
    for method in SAFE_METHODS {
        assert_eq!(
            classify(method, "/index.php?r=%u0061ntrag/versand"),
            Intent::Use,
            "{method}"
        );
    }
    let path_alone = SubmissionRules::new(
        ["/antrag/versand".to_owned()],
        LetterCase::Folded,
        PathAlphabet::Unicode,
    )
    .expect("sound");
    let target = b"/main?preis=5%u20ac";
    let request = Request {
        method: "POST",
        target,
        body: Body::Some,
        charset: Charset::Other,
    };
    assert_eq!(
        path_alone.classify(&request),
        Intent::Use,
        "no rule looks at a query"
    );
}

/// Tomcat, ASP.NET and Django read the query in the charset that the request names.
#[test]
fn a_query_in_another_charset_is_in_doubt_where_a_rule_has_a_query() {
    let classify = |method, target: &str, charset| {
        rules().classify(&Request {
            method,
            target: target.as_bytes(),
            body: Body::None,
            charset,
        })
    };
    for target in [
        "/index.php?%99=%81%95%a3%99%81%87%61%a5%85%99%a2%81%95%84",
        "/tarif",
        "/index.php",
    ] {
        assert_eq!(
            classify("POST", target, Charset::Other),
            Intent::Unclear(Doubt::Charset),
            "{target}"
        );
        assert_eq!(
            classify("POST", target, Charset::AsciiCompatible),
            Intent::Use,
            "{target}"
        );
    }
    // It might name another method.
    assert_eq!(
        classify(
            "GET",
            "/antrag/versand?%6d%94%85%a3%88%96%84=%d7%d6%e2%e3",
            Charset::Other
        ),
        Intent::Unclear(Doubt::Charset)
    );
    assert_eq!(
        classify("GET", "/antrag/versand", Charset::Other),
        Intent::Use
    );
}

/// Of each row Apache with PHP runs at least one like it, or a framework is known to.
#[test]
fn a_route_in_the_query_is_found_in_every_spelling() {
    let queries = [
        "r=antrag%2fversand",
        "%72=antrag/versand",
        "r=%61ntrag/versand",
        "r=/antrag/versand/",
        "r=antrag//versand",
        "r=x/../antrag/versand",
        "r=%00antrag/versand",
        "r=%0a+antrag/versand%00",
        "r=antrag%5Cversand",
        "r%00=antrag/versand",
        "r%00x=antrag/versand",
        "+r=antrag/versand",
        "%20r=antrag/versand",
        "%09r=antrag/versand",
        "%0ar=antrag/versand",
        "%00r=antrag/versand",
        "%1fr=antrag/versand",
        "r[]=antrag/versand",
        "r%5bx%5d=antrag/versand",
        "r+=antrag/versand",
        "r=x&r=antrag/versand",
        "a=1;r=antrag/versand",
        "a;r=antrag/versand",
        "a#r=antrag/versand",
        "a?r=antrag/versand",
        "r=antrag\u{1f600}versand",
        "%2572=%2561ntrag%252fversand",
        "a%26r=antrag/versand",
        "a%23r=antrag/versand",
        "a%3fr=antrag/versand",
        "r=x%26/../%61ntrag/versand",
        "r==antrag/versand",
        "r=ver%C5%BFand",
        "r=%EF%BD%81ntrag/versand",
        "r=%c1%a1ntrag/versand",
        "r[]x?y;z=antrag/versand",
    ];
    for query in queries {
        assert_eq!(
            classify("POST", &format!("/index.php?{query}")),
            Intent::Submit,
            "{query}"
        );
    }
    for query in [
        "r=antrag",
        "rr=antrag/versand",
        "q=antrag/versand",
        "r",
        "r=%C3%BCbersicht",
        "r=antrag&q=versand",
        "%",
        "r%",
        "r[antrag/versand]=x",
        "r[antrag/versand",
        "r=x&[r=antrag/versand",
    ] {
        assert_eq!(
            classify("POST", &format!("/index.php?{query}")),
            Intent::Use,
            "{query}"
        );
    }
}

#[test]
fn a_route_of_several_parameters_is_found_in_any_order() {
    let path = ["/index.php?mein_modul=antrag&aktion=versand".to_owned()];
    let rules =
        SubmissionRules::new(path, LetterCase::Folded, PathAlphabet::Unicode).expect("sound");
    let classify = |query: &str| {
        let target = format!("/index.php?{query}");
        rules.classify(&Request {
            method: "POST",
            target: target.as_bytes(),
            body: Body::None,
            charset: Charset::AsciiCompatible,
        })
    };
    for query in [
        "mein_modul=antrag&aktion=versand",
        "aktion=versand&x&mein.modul=antrag",
        "Aktion=Versand&mein+modul=Antrag",
    ] {
        assert_eq!(classify(query), Intent::Submit, "{query}");
    }
    for query in [
        "mein_modul=antrag",
        "aktion=versand",
        "mein_modul=antrag&aktion=speichern",
        "meinxmodul=antrag&aktion=versand",
        "mein=modul=antrag&aktion=versand",
        "mein_modul=antrag&akt[ion]=versand",
    ] {
        assert_eq!(classify(query), Intent::Use, "{query}");
    }
}

#[test]
fn names_that_only_end_like_an_override_are_honest() {
    for query in [
        "payment_method=card",
        "method=x",
        "bean.method=x",
        "x=_method",
        "_methods=1",
        "_method",
        "q=a_method=b",
        "=method=POST",
        "_meth[od]=POST",
        "_method[POST",
    ] {
        assert_eq!(
            classify("GET", &format!("/suche?{query}")),
            Intent::Use,
            "{query}"
        );
    }
}

#[test]
fn a_safe_method_with_a_body_or_an_override_is_in_doubt() {
    let with_body = |method| {
        rules().classify(&Request {
            method,
            target: b"/tarif",
            body: Body::Some,
            charset: Charset::AsciiCompatible,
        })
    };
    assert_eq!(with_body("GET"), Intent::Unclear(Doubt::Override));
    assert_eq!(with_body("POST"), Intent::Use);
    for query in [
        "_method=POST",
        "a=1&_METHOD=post",
        "%5fmethod=put",
        "a=1%2526%255fmethod%253dput",
        "_method[]=POST",
        "%5Fmethod%5b0%5d=put",
        "_method%00x=POST",
        ".method=POST",
        "+_method=POST",
        "[method=POST",
        "a;_method=POST",
        "%u005fmethod=POST",
        "%25u005fmethod=POST",
        "a%u0026_method=POST",
    ] {
        assert_eq!(
            classify("GET", &format!("/antrag/versand?{query}")),
            Intent::Unclear(Doubt::Override),
            "{query}"
        );
    }
    // A server before the calculator may decode the path and write it anew.
    for path in [
        "/antrag/versand%3f_method=POST",
        "/antrag/versand%3Fa=1&_method=POST",
        "/antrag/versand%253f_method=POST",
        "/antrag/versand%23%5fmethod=POST",
        "/antrag/versand;_method=POST",
        "/x%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0aPOST%20/antrag/versand",
        "/x%0aPOST%20/antrag/versand",
        "/x%250d%250aPOST%20/antrag/versand",
        "/x%u000aPOST%20/antrag/versand",
    ] {
        for method in SAFE_METHODS {
            assert_eq!(
                classify(method, path),
                Intent::Unclear(Doubt::Override),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn what_a_safe_method_asks_for_is_its_own_affair() {
    for target in [
        "/dok/Antr%E4ge/P.pdf",
        "/kfz/a%zz",
        "/kfz/50%",
        "/x/../y",
        "//x",
        "/a//b/./c",
        "/a%2Fb%5Cc",
        "/a.b./c%20",
        "/bilder/(1)/x.png",
        "/(S(x))/antrag/versand.aspx",
        "/antr\u{e4}ge",
        "/a;x=(1)",
        "/ver%C5%BFand",
        "/%00",
        "/suche?q=5%u20AC",
        "/methode?x=1",
        "/_method?x=1",
        "/pfad/_method=1",
        "/antrag/versand?zeilen=a%0d%0ab",
    ] {
        for method in SAFE_METHODS {
            assert_eq!(classify(method, target), Intent::Use, "{method} {target}");
        }
    }
}

#[test]
fn honest_requests_are_neither_doubted_nor_blocked() {
    let honest = [
        ("GET", "/"),
        ("POST", "/"),
        ("POST", "/kfz/angebot?id=42&x=a+b%20c"),
        ("GET", "/a/b/c.do;jsessionid=0A1B2C3D.node-1?x=1"),
        ("GET", "/a/"),
        ("POST", "/tarif/Stra%C3%9Fe/M%C3%BCnchen"),
        ("POST", "/f(1)/[x]/a'b/*,!$&@:~"),
        ("GET", "/bilder/logo%20neu.png"),
        ("POST", "/a%25"),
        ("POST", "/rabatt/100%25/x"),
        ("POST", "/search?q=antrag/versand"),
        ("POST", "/index.php?r=tarif"),
        ("POST", "/index.php"),
        ("GET", "/index.php?r=antrag/versand"),
        ("POST", "/antrag"),
        ("POST", "/antrag/versan"),
        ("POST", "/x/antrag/versand"),
        ("OPTIONS", "/antrag/versand"),
        ("GET", "/a?b=//c/../d;e%2f%00"),
        ("POST", "/%E6%BC%A2%E5%AD%97"),
        ("GET", "/a.b.c/d-e_f"),
        ("POST", "/a=b/c+d/e"),
    ];
    for (method, target) in honest {
        assert_eq!(classify(method, target), Intent::Use, "{method} {target}");
    }
}

#[test]
fn the_operator_can_ask_for_exact_letters_and_for_ascii_only() {
    let paths = || ["/antrag/Versand".to_owned()];
    let exact =
        SubmissionRules::new(paths(), LetterCase::AsWritten, PathAlphabet::Ascii).expect("sound");
    let classify = |target: &str| {
        exact.classify(&Request {
            method: "POST",
            target: target.as_bytes(),
            body: Body::None,
            charset: Charset::AsciiCompatible,
        })
    };
    assert_eq!(classify("/antrag/Versand"), Intent::Submit);
    assert_eq!(classify("/antrag/versand"), Intent::Use);
    assert_eq!(
        classify("/%C4%81ntrag/Versand"),
        Intent::Unclear(Doubt::Character)
    );
}

#[test]
fn sharp_s_is_compared_as_two() {
    let rules = SubmissionRules::new(
        ["/abschluss".to_owned()],
        LetterCase::Folded,
        PathAlphabet::Unicode,
    )
    .expect("sound");
    let classify = |target: &str| {
        rules.classify(&Request {
            method: "POST",
            target: target.as_bytes(),
            body: Body::None,
            charset: Charset::AsciiCompatible,
        })
    };
    for target in ["/abschlu%C3%9F", "/ABSCHLU%E1%BA%9E", "/AbschluSS"] {
        assert_eq!(classify(target), Intent::Submit, "{target}");
    }
    assert_eq!(classify("/Stra%C3%9Fe"), Intent::Use);
}

#[test]
fn a_rule_that_can_never_match_is_refused() {
    let cases = [
        ("antrag", NeverMatches::NotAPath),
        ("//antrag", NeverMatches::Doubtful(Doubt::Segment)),
        ("/a/../b", NeverMatches::Doubtful(Doubt::Segment)),
        ("/a%20b", NeverMatches::Doubtful(Doubt::Escape)),
        ("/a;b", NeverMatches::Doubtful(Doubt::Escape)),
        ("/a#b", NeverMatches::Doubtful(Doubt::Escape)),
        ("/ver\u{17f}and", NeverMatches::Doubtful(Doubt::Character)),
        ("/index.php?", NeverMatches::EmptyQuery),
        ("/index.php?/", NeverMatches::EmptyQuery),
        ("/index.php?r=antrag&", NeverMatches::EmptyQuery),
        (
            "/index.php?r=antrag%2fversand",
            NeverMatches::Doubtful(Doubt::Escape),
        ),
    ];
    for (path, never) in cases {
        let refused =
            SubmissionRules::new([path.to_owned()], LetterCase::Folded, PathAlphabet::Unicode);
        assert_eq!(refused.err().map(|(_, why)| why), Some(never), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn what_is_allowed_no_server_reads_as_the_submission(
        parts in prop::collection::vec(prop::sample::select(vec![
            "/", "antrag", "versand", "%61ntrag", "VERSAND", "ver%73and", "%2f", "%5c", "\\", ".", "..", "%2e", ";x", ";", "//", "%25", "%2561", "?", "#", "%00",
            "%20", " ", "\t", "x", "ver%c5%bfand", "http://h", "%3b", "%u002f", "%u0061ntrag", "+", "%", "%c0%af", "%e2%80%8b", "/antrag/versand", "::$DATA", "..;",
            "index.php", "?r=", "&", "r", "r=", "_method", "=", "POST", "[]", "[x]", "%5b", "%5d", "%26", "%3d", "%72", "%255fmethod", "(", ")", ".(", "..(x)", "/(S(x))/",
            "%u0072", "%u005fmethod", "%3f", "%0aPOST ", "%99=", "%81%95%a3%99%81%87%61%a5%85%99%a2%81%95%84", "+AHI-",
        ]), 0..10),
        method in prop::sample::select(vec!["POST", "PUT", "DELETE", "post", "GET", "HEAD"]),
    ) {
        let held = law::holds(&law::rules(), format!("{method} /{}", parts.concat()).as_bytes());
        prop_assert!(held.is_ok(), "{held:?}");
    }

    #[test]
    fn no_bytes_make_the_judge_panic(target in prop::collection::vec(any::<u8>(), 0..100), method in ".{0,12}") {
        let _ = rules().classify(&Request { method: &method, target: &target, body: Body::None, charset: Charset::AsciiCompatible });
    }
}
