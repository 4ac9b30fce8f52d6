//! The three templates of a mail: subject, text and HTML; built in, or overridden by the operator.

use super::Error;
use crate::language::{BuiltIn, Language};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use std::path::{Path, PathBuf};

/// Names of the templates, which are also paths below `brand.templates`.
pub(super) const SUBJECT: &str = "mail/subject.txt";
pub(super) const TEXT: &str = "mail/tan.txt";
pub(super) const HTML: &str = "mail/tan.html";

/// The compiled templates of a mail.
pub(super) struct MailTemplates {
    environment: Environment<'static>,
    folder: Option<PathBuf>,
}

impl MailTemplates {
    /// Compiles the language's templates; files in `folder` override the built-in ones.
    pub(super) fn load(language: &Language, folder: Option<&Path>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        // A misspelt variable must not leave a gap in a broker's mail.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(trimmed_blocks());
        environment.set_auto_escape_callback(|name| {
            if name.ends_with(".html") {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        let mut templates = Self {
            environment,
            folder: folder.map(Path::to_owned),
        };
        for &BuiltIn { name, source } in language.mails {
            let source = templates
                .override_of(name)?
                .unwrap_or_else(|| source.to_owned());
            let added = templates.environment.add_template_owned(name, source);
            added.map_err(|error| templates.mistake(name, &error))?;
        }
        Ok(templates)
    }

    /// Renders a template with these values.
    pub(super) fn render(&self, name: &str, values: &Value) -> Result<String, Error> {
        let template = self.environment.get_template(name);
        template
            .and_then(|template| template.render(values))
            .map_err(|error| self.mistake(name, &error))
    }

    /// Reports a template that violates a requirement on mails.
    pub(super) fn wrong(&self, name: &str, mistake: &str) -> Error {
        Error::Template {
            file: self.place(name),
            line: 1,
            mistake: mistake.to_owned(),
        }
    }

    /// Reads the operator's template of this name, if the file exists.
    fn override_of(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)) else {
            return Ok(None);
        };
        match std::fs::read_to_string(&path) {
            Ok(source) => Ok(Some(source)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Unreadable { path, source }),
        }
    }

    /// Converts an error of minijinja, without the rendered values.
    fn mistake(&self, name: &str, error: &minijinja::Error) -> Error {
        let mistake = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        Error::Template {
            file: self.place(name),
            line: error.line().unwrap_or(1),
            mistake,
        }
    }

    /// Describes where the operator finds the template.
    fn place(&self, name: &str) -> String {
        let own = self
            .folder
            .as_ref()
            .map(|folder| folder.join(name))
            .filter(|path| path.exists());
        own.map_or_else(
            || format!("built-in {name}"),
            |path| path.display().to_string(),
        )
    }
}

/// Makes a line with nothing but `{% if .. %}` or the like leave no empty line behind.
fn trimmed_blocks() -> SyntaxConfig {
    SyntaxConfig::default()
        .to_builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .unwrap_or_default()
}
