//! The templates: the built-in ones, and those of the operator that take their place.

use super::Error;
use crate::language::{BuiltIn, Language, SHARED};
use minijinja::syntax::SyntaxConfig;
use minijinja::{
    AutoEscape, Environment, Output, State, UndefinedBehavior, Value, escape_formatter,
};
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// All templates, compiled, and where those of the operator come from.
pub(super) struct Templates {
    environment: Environment<'static>,
    replaced: Vec<(&'static str, PathBuf)>,
}

impl Templates {
    /// Compiles the language's templates; a file in `folder` replaces the built-in template of that name.
    pub(super) fn load(language: &Language, folder: Option<&Path>) -> Result<Self, Error> {
        let mut templates = Self {
            environment: environment(),
            replaced: Vec::new(),
        };
        for &BuiltIn { name, source } in language.pages.iter().chain(SHARED) {
            let own = folder
                .map(|folder| folder.join(name))
                .map(read_if_there)
                .transpose()?
                .flatten();
            let source = own.map_or_else(
                || source.to_owned(),
                |(path, source)| {
                    templates.replaced.push((name, path));
                    source
                },
            );
            let compiled = templates.environment.add_template_owned(name, source);
            compiled.map_err(|error| templates.located(error))?;
        }
        Ok(templates)
    }

    /// Makes `value` known to every template under `name`.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.environment.add_global(name, value);
    }

    /// Renders the template `name`.
    pub(super) fn render(&self, name: &str, values: Value) -> Result<String, Error> {
        let rendered = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(values));
        rendered.map_err(|error| self.located(error))
    }

    /// Says where the error is: it is the innermost template that is at fault, not the one that includes it.
    fn located(&self, error: minijinja::Error) -> Error {
        let mut name = String::new();
        let mut line = 0;
        let mut reason = error.to_string();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(found) = cause {
            if let Some(error) = found.downcast_ref::<minijinja::Error>() {
                (name, line) = (
                    error.name().unwrap_or_default().to_owned(),
                    error.line().unwrap_or_default(),
                );
                reason = error.detail().map_or_else(
                    || error.kind().to_string(),
                    |detail| format!("{}: {detail}", error.kind()),
                );
            }
            cause = found.source();
        }
        let own = self
            .replaced
            .iter()
            .find(|(replaced, _)| *replaced == name)
            .map(|(_, path)| path.display().to_string());
        Error::Template {
            file: own.unwrap_or_else(|| format!("built-in {name}")),
            line,
            reason,
        }
    }
}

fn read_if_there(path: PathBuf) -> Result<Option<(PathBuf, String)>, Error> {
    match fs::read_to_string(&path) {
        Ok(source) => Ok(Some((path, source))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A name that an operator misspelt is an error at the start, not an empty place on a page.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        environment.set_syntax(syntax);
    }
    environment.set_formatter(format_value);
    environment
}

/// Escapes as minijinja does, but leaves `/` alone, so that a broker number in the page's source reads as one.
fn format_value(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() && matches!(state.auto_escape(), AutoEscape::Html) => {
            Ok(escape(out, text)?)
        }
        _ => escape_formatter(out, state, value),
    }
}

fn escape(out: &mut Output<'_>, text: &str) -> std::fmt::Result {
    text.chars().try_for_each(|symbol| match symbol {
        '&' => out.write_str("&amp;"),
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        other => out.write_char(other),
    })
}
