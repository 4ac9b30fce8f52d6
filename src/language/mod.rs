//! Languages of pages and mails. A language is a folder below `pages/` at the top of the project: templates, and a
//! catalogue of the words that the program renders into them. All of it is part of the program.

mod texts;

pub use self::texts::{BrowserTexts, SizeTexts, Texts, TextsError, TimeTexts};

use std::io::ErrorKind;
use std::path::Path;

/// The catalogue's file name, in the folder of a language and in `brand.templates`.
pub const TEXTS: &str = "texts.toml";

/// Every language that pages and mails can have. To add one, add its folder and a line here.
pub const LANGUAGES: &[Language] = &[GERMAN];

/// The language of pages and mails, and the one whose keys every other catalogue must have.
pub const GERMAN: Language = language!("de");

/// Templates without words, which all languages share.
pub const SHARED: &[BuiltIn] = &[
    BuiltIn {
        name: "assets/style.css",
        source: include_str!("../../pages/assets/style.css"),
    },
    BuiltIn {
        name: "assets/icon.svg",
        source: include_str!("../../pages/assets/icon.svg"),
    },
];

/// A template that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// The path below the language's folder, and below `brand.templates` for the operator's replacement.
    pub name: &'static str,
    pub source: &'static str,
}

/// The built-in texts of one language.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    /// The code (BCP 47), which names the folder.
    pub code: &'static str,
    pub pages: &'static [BuiltIn],
    pub mails: &'static [BuiltIn],
    /// The page that is sent when a template fails.
    pub last_resort: &'static str,
    catalogue: &'static str,
}

impl Language {
    /// Parses and checks the catalogue; a file in the operator's `folder` replaces the built-in one.
    ///
    /// # Errors
    /// [`TextsError`] if the file cannot be read, or names every key that is missing, unknown or unusable.
    pub fn texts(&self, folder: Option<&Path>) -> Result<Texts, TextsError> {
        if let Some(path) = folder.map(|folder| folder.join(TEXTS)) {
            match std::fs::read_to_string(&path) {
                Ok(own) => {
                    let file = path.display().to_string();
                    return Texts::parse(&file, &own, GERMAN.catalogue);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(TextsError::Unreadable { path, source }),
            }
        }
        let file = format!("built-in {}/{TEXTS}", self.code);
        Texts::parse(&file, self.catalogue, GERMAN.catalogue)
    }
}

macro_rules! built_in {
    ($code:literal, $($name:literal),* $(,)?) => {
        &[$(BuiltIn {
            name: $name,
            source: include_str!(concat!("../../pages/", $code, "/", $name)),
        }),*]
    };
}

/// The language in the folder of this name. The compiler names a file that is missing there.
macro_rules! language {
    ($code:literal) => {
        Language {
            code: $code,
            pages: built_in![
                $code,
                "base.html",
                "parts.html",
                "sign-in.html",
                "tan.html",
                "tan-over.html",
                "unknown-email.html",
                "password.html",
                "password-spent.html",
                "blocked-submission.html",
                "session-ended.html",
                "sign-in-required.html",
                "form-of-another-site.html",
                "kept-form.html",
                "sign-out.html",
                "signed-out.html",
                "certificate.html",
                "portal.html",
                "help.html",
                "problem.html",
            ],
            mails: built_in![$code, "mail/subject.txt", "mail/tan.txt", "mail/tan.html"],
            last_resort: include_str!(concat!("../../pages/", $code, "/last-resort.html")),
            catalogue: include_str!(concat!("../../pages/", $code, "/texts.toml")),
        }
    };
}
use {built_in, language};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
