//! Style sheet, script, icon and logo, each under a name that changes with its content.

use super::Error;
use super::color::{Color, READABLE, contrast};
use super::templates::Templates;
use crate::config::Brand;
use bytes::Bytes;
use minijinja::{Value, context};
use ring::digest::{SHA256, digest};
use std::fmt::Write;
use std::fs;
use std::path::Path;

const SCRIPT: &str = include_str!("../../pages/assets/gateway.js");

/// A file that pages refer to; it may be cached for ever, since another content has another name.
#[derive(Clone, Debug)]
pub struct Asset {
    pub content_type: &'static str,
    pub body: Bytes,
}

/// All assets by name.
pub(super) struct Assets {
    named: Vec<(String, Asset)>,
}

impl Assets {
    /// Renders and reads them, and tells the templates their addresses under `prefix`.
    pub(super) fn load(
        brand: &Brand,
        prefix: &str,
        templates: &mut Templates,
    ) -> Result<Self, Error> {
        let palette = palette(brand)?;
        let style = templates.render("assets/style.css", palette.clone())?;
        let icon = templates.render(
            "assets/icon.svg",
            context! { initial => initial(&brand.name), ..palette },
        )?;
        let mut assets = Self {
            named: Vec::with_capacity(4),
        };
        let style = assets.add(
            prefix,
            "style",
            "css",
            "text/css; charset=utf-8",
            style.into(),
        );
        let script = assets.add(
            prefix,
            "gateway",
            "js",
            "text/javascript; charset=utf-8",
            SCRIPT.into(),
        );
        let icon = assets.add(prefix, "icon", "svg", "image/svg+xml", icon.into());
        let logo = brand
            .logo
            .as_deref()
            .map(|path| assets.add_logo(prefix, path))
            .transpose()?;
        templates.set("asset", context! { style, script, icon, logo });
        Ok(assets)
    }

    /// The asset of this name, as in its URL.
    pub(super) fn find(&self, name: &str) -> Option<&Asset> {
        self.named
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, asset)| asset)
    }

    /// All of them with their names.
    #[cfg(test)]
    pub(super) fn all(&self) -> &[(String, Asset)] {
        &self.named
    }

    fn add_logo(&mut self, prefix: &str, path: &Path) -> Result<String, Error> {
        let (extension, content_type) =
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("svg") => ("svg", "image/svg+xml"),
                Some("png") => ("png", "image/png"),
                _ => {
                    return Err(Error::LogoKind {
                        path: path.to_owned(),
                    });
                }
            };
        let body = fs::read(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(self.add(prefix, "logo", extension, content_type, body.into()))
    }

    /// Keeps the asset and gives its address.
    fn add(
        &mut self,
        prefix: &str,
        stem: &str,
        extension: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> String {
        let name = format!("{stem}-{}.{extension}", fingerprint(&body));
        let address = format!("{prefix}assets/{name}");
        self.named.push((name, Asset { content_type, body }));
        address
    }
}

/// The first 64 bits of the content's SHA-256.
fn fingerprint(body: &[u8]) -> String {
    digest(&SHA256, body)
        .as_ref()
        .iter()
        .take(8)
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The colours that the style sheet is rendered with.
fn palette(brand: &Brand) -> Result<Value, Error> {
    let color = parse("brand.color", &brand.color)?;
    let on_color = parse("brand.on_color", &brand.on_color)?;
    let ratio = contrast(color, on_color);
    if ratio < READABLE {
        return Err(Error::Contrast { ratio });
    }
    // Under the pointer the button moves away from the colour of its text, so that the contrast rises.
    let far_end = if on_color.luminance() > color.luminance() {
        Color::INK
    } else {
        Color::WHITE
    };
    // Links stand on white and pale grey: a brand of yellow needs another colour for them.
    let link = [color, on_color]
        .into_iter()
        .find(|color| contrast(*color, Color::GROUND) >= READABLE)
        .unwrap_or(Color::INK);
    Ok(context! {
        color => color.to_string(),
        on_color => on_color.to_string(),
        hover => color.towards(far_end).to_string(),
        link => link.to_string(),
        ink => Color::INK.to_string(),
        ground => Color::GROUND.to_string(),
    })
}

fn parse(key: &'static str, text: &str) -> Result<Color, Error> {
    Color::parse(text).map_err(|_| Error::Color {
        key,
        value: text.to_owned(),
    })
}

fn initial(name: &str) -> String {
    name.chars()
        .find(|symbol| symbol.is_alphanumeric())
        .map_or_else(|| "·".into(), |symbol| symbol.to_uppercase().collect())
}
