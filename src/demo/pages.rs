//! Templates to HTML, for the two demo servers.

use minijinja::{AutoEscape, Environment, Error, Output, State, Value, escape_formatter};
use std::fmt::Write;

/// The templates of one server.
pub(super) struct DemoPages {
    environment: Environment<'static>,
}

impl DemoPages {
    /// Takes templates with their names. One that does not parse is logged and then missing; the tests render each.
    pub(super) fn new(templates: &[(&'static str, &'static str)]) -> Self {
        let mut environment = Environment::new();
        environment.set_formatter(format_value);
        for (name, source) in templates {
            if let Err(error) = environment.add_template(name, source) {
                tracing::error!(%error, name, "a demo template is broken");
            }
        }
        Self { environment }
    }

    /// The HTML; everything from the context is escaped.
    pub(super) fn render(&self, name: &str, context: Value) -> Result<String, Error> {
        self.environment.get_template(name)?.render(context)
    }
}

/// Escapes as minijinja does, but leaves `/` alone, so that a broker number in the page's source reads as one.
fn format_value(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
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
