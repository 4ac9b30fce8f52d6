//! `[submission]`

use super::super::document::Value;
use super::super::kinds::{flag, quoted, text};
use super::super::read::Reader;
use domain::submission::{
    Doubt, LetterCase, NeverMatches, PathAlphabet, SubmissionRules, index_folder,
};

const PATHS: &str = "submission.paths";

/// Paths as written, and the rules made of them.
pub(super) struct SubmissionSection {
    pub(super) paths: Vec<String>,
    pub(super) rules: SubmissionRules,
}

pub(super) fn submission(reader: &mut Reader<'_>) -> Option<SubmissionSection> {
    let paths = reader.required_list(PATHS, path);
    let case_sensitive = reader.or("submission.case_sensitive", false, flag);
    let ascii_only = reader.or("submission.ascii_only", false, flag);
    let letters = if case_sensitive? {
        LetterCase::AsWritten
    } else {
        LetterCase::Folded
    };
    let alphabet = if ascii_only? {
        PathAlphabet::Ascii
    } else {
        PathAlphabet::Unicode
    };
    let paths = paths?;
    warn_of_queries(reader, &paths);
    match SubmissionRules::new(paths.clone(), letters, alphabet) {
        Ok(rules) => Some(SubmissionSection { paths, rules }),
        Err((path, never)) => {
            reader.mistake(PATHS, format!("{} {}", quoted(&path), why(never)));
            None
        }
    }
}

/// Warns of gaps that rules with a query may leave, depending on the calculator.
fn warn_of_queries(reader: &mut Reader<'_>, paths: &[String]) {
    let rules: Vec<_> = paths
        .iter()
        .filter_map(|rule| rule.split_once('?'))
        .collect();
    if !rules.is_empty() {
        let what = "rules with a query match the query only: if the calculator also reads these parameters from a form's body \
                    (PHP's $_REQUEST, Java's getParameter), guard the whole path";
        reader.warn(PATHS, what);
    }
    for (path, query) in &rules {
        let Some((folder, file)) = path.rsplit_once('/').filter(|(_, file)| file.contains('.'))
        else {
            continue;
        };
        let is_guarded = rules
            .iter()
            .any(|(other, same)| same == query && other.strip_suffix('/') == Some(folder));
        if index_folder(path).is_none() && !is_guarded {
            let rule = quoted(&format!("{path}?{query}"));
            let missing = quoted(&format!("{folder}/?{query}"));
            reader.warn(
                PATHS,
                &format!(
                    "{rule} does not guard the folder: if {file} is its index file, add {missing}"
                ),
            );
        }
    }
}

/// Reads a path that can match; `ascii_only` is checked once both keys are known.
fn path(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let alone = SubmissionRules::new([text.clone()], LetterCase::Folded, PathAlphabet::Unicode);
    alone
        .map(|_| text)
        .map_err(|(path, never)| format!("{} {}", quoted(&path), why(never)))
}

fn why(never: NeverMatches) -> &'static str {
    match never {
        NeverMatches::NotAPath => "must begin with /",
        NeverMatches::EmptyQuery => {
            "has an empty query, or a parameter without letters; give parameters, or remove the ?"
        }
        NeverMatches::Doubtful(Doubt::Segment) => {
            "can never match: requests with //, dot segments, a segment that begins with (, a space or dot at the end of a segment, or :$ are refused earlier"
        }
        NeverMatches::Doubtful(Doubt::Escape) => {
            "can never match: write it decoded, without %, ; and #"
        }
        NeverMatches::Doubtful(_) => {
            "can never match: requests with such characters are refused earlier"
        }
    }
}
