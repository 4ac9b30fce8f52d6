//! The gateway's own pages: a view in, HTML out, and the few files that the pages refer to.
//!
//! Nothing here decides who gets which page, reads a clock or sends anything; the gateway does.
//! Templates and words come from a [`Language`].

mod assets;
mod clock;
mod color;
mod context;
mod problem;
pub mod sample;
mod templates;
mod view;

pub use self::assets::Asset;
pub use self::color::{Color, NotAColor, READABLE, contrast};
pub use self::problem::{Problem, ProblemKind, UpstreamKind};
pub use self::view::*;

use self::assets::Assets;
use self::clock::PageClock;
use self::context::Context;
use self::templates::Templates;
use crate::config::{Brand, Enumeration, LoginConfig, LoginMethods};
use crate::language::{GERMAN, Language, TextsError};
use domain::held_form::HeldFormLimits;
use domain::time::Timestamp;
use minijinja::context;
use std::path::PathBuf;

/// All pages, ready to be rendered.
pub struct Pages {
    templates: Templates,
    assets: Assets,
    clock: PageClock,
    last_resort: &'static str,
    prefix: String,
    methods: LoginMethods,
}

/// Why the pages cannot be shown as the operator wants them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A colour is not written as `#rrggbb`.
    #[error("{key}: {value:?} is not a colour of the form #rrggbb")]
    Color {
        /// The key in the configuration.
        key: &'static str,
        value: String,
    },
    /// Text in the brand's colours could not be read (WCAG 2.2, 1.4.3).
    #[error("brand.on_color: the contrast with brand.color is {ratio:.1}, text needs {READABLE}")]
    Contrast {
        /// The contrast, from 1 to 21.
        ratio: f64,
    },
    /// The logo is in a format that the pages do not show.
    #[error("brand.logo: {} is neither an .svg nor a .png file", path.display())]
    LogoKind { path: PathBuf },
    /// A file that the configuration names cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A template is broken.
    #[error("{file}:{line}: {reason}")]
    Template {
        /// The operator's file, or the name of a built-in template.
        file: String,
        /// The line in it.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The catalogue of texts is incomplete or broken.
    #[error(transparent)]
    Texts(#[from] TextsError),
    /// The time zone is not known.
    #[error("login.time_zone: {0}")]
    TimeZone(#[source] jiff::Error),
}

impl Pages {
    /// Compiles the templates, including the operator's, and renders every page once.
    ///
    /// # Errors
    /// [`Error`] for the first mistake that keeps a page from being shown.
    pub fn load(
        brand: &Brand,
        login: &LoginConfig,
        parking: &HeldFormLimits,
    ) -> Result<Self, Error> {
        Self::in_language(&GERMAN, brand, login, parking)
    }

    fn in_language(
        language: &Language,
        brand: &Brand,
        login: &LoginConfig,
        parking: &HeldFormLimits,
    ) -> Result<Self, Error> {
        let texts = language.texts(brand.templates.as_deref())?;
        let mut templates = Templates::load(language, brand.templates.as_deref())?;
        let assets = Assets::load(brand, &login.prefix, &mut templates)?;
        tell_templates(&mut templates, brand, login);
        let minutes = parking.lifetime.as_secs().div_ceil(60);
        templates.set(
            "parking",
            context! { minutes, size => texts.size.of(parking.largest) },
        );
        let clock = PageClock::new(&login.time_zone, texts.time).map_err(Error::TimeZone)?;
        let pages = Self {
            templates,
            assets,
            clock,
            last_resort: language.last_resort,
            prefix: login.prefix.clone(),
            methods: login.methods.clone(),
        };
        for (_, view) in sample::views() {
            pages.try_render(&view, sample::NOW)?;
        }
        Ok(pages)
    }

    /// The page as HTML. `now` is what its times are told from.
    ///
    /// Never fails: where a template does, the log says so and a short built-in page takes its place.
    pub fn render(&self, view: &View<'_>, now: Timestamp) -> String {
        self.try_render(view, now).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to render a page");
            self.last_resort.to_owned()
        })
    }

    /// The file of this name under `assets/`, which contains a digest of the content.
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.find(name)
    }

    /// The time as the pages write it: `14:17 Uhr`, with the date where it is not within 12 hours of `now`.
    pub fn time_of_day(&self, at: Timestamp, now: Timestamp) -> String {
        self.clock.time(at, now)
    }

    /// Time of day to the second: `14:17:05 Uhr`.
    pub fn second_of_day(&self, at: Timestamp, now: Timestamp) -> String {
        self.clock.to_the_second(at, now)
    }

    fn try_render(&self, view: &View<'_>, now: Timestamp) -> Result<String, Error> {
        let (template, values) = Context {
            prefix: &self.prefix,
            methods: &self.methods,
            clock: &self.clock,
            now,
        }
        .of(view);
        self.templates.render(template, values)
    }
}

/// What every template may show.
fn tell_templates(templates: &mut Templates, brand: &Brand, login: &LoginConfig) {
    let Brand {
        name,
        product,
        imprint_url,
        privacy_url,
        support_phone,
        support_email,
        ..
    } = brand;
    let dialled = support_phone.as_deref().map(dialled);
    templates.set(
        "brand",
        context! { name, product, imprint_url, privacy_url, support_phone, dialled, support_email },
    );
    templates.set(
        "login",
        context! {
            neutral => login.enumeration == Enumeration::Neutral,
            without_email => login.without_email,
            trust_days => login.trust.as_secs() / 86_400,
            tan_minutes => login.tan.lifetime.as_secs() / 60,
        },
    );
}

/// A telephone number as a link has it: without blanks and brackets, and without the `(0)` of `+49 (0) 89`.
fn dialled(number: &str) -> String {
    number
        .replace("(0)", "")
        .chars()
        .filter(|symbol| symbol.is_ascii_digit() || *symbol == '+')
        .collect()
}

#[cfg(test)]
mod tests;
