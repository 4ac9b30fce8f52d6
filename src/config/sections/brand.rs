//! `[brand]`

use super::super::Brand;
use super::super::colour::{colour, contrast};
use super::super::document::Value;
use super::super::kinds::{line, quoted};
use super::super::read::Reader;
use super::super::templates;
use super::login::link;
use domain::email::Email;
use std::path::{Path, PathBuf};

const LOGO: &str = "brand.logo";
const TEMPLATES: &str = "brand.templates";
// WCAG 2.2, 1.4.3 (AA).
const MIN_CONTRAST: f64 = 4.5;

pub(super) fn brand(reader: &mut Reader<'_>) -> Option<Brand> {
    let name = reader.or("brand.name", "Musterversicherung", line);
    let product = reader.or("brand.product", "Tarifrechner", line);
    let color = reader.or("brand.color", "#1d4f7c", colour);
    let on_color = reader.or("brand.on_color", "#ffffff", colour);
    let logo = logo(reader);
    let imprint_url = reader.or("brand.imprint_url", "/impressum", link);
    let privacy_url = reader.or("brand.privacy_url", "/datenschutz", link);
    let support_phone = reader.optional("brand.support_phone", line);
    let support_email = reader.optional("brand.support_email", email);
    let templates = reader
        .optional(TEMPLATES, line)
        .map(|name| reader.path(&name));
    if let Err(what) = templates
        .as_deref()
        .map_or(Ok(()), |folder| check_names(folder, logo.as_deref()))
    {
        reader.mistake(TEMPLATES, what);
    }
    let color = color?;
    let on_color = on_color?;
    if contrast(&color, &on_color).is_some_and(|contrast| contrast < MIN_CONTRAST) {
        reader.warn(
            "brand.on_color",
            "is hard to read on brand.color; WCAG 2.2 (1.4.3) requires a contrast of 4.5",
        );
    }
    Some(Brand {
        name: name?,
        product: product?,
        color,
        on_color,
        logo,
        imprint_url: imprint_url?,
        privacy_url: privacy_url?,
        support_phone,
        support_email,
        templates,
    })
}

fn logo(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let path = reader.optional(LOGO, line).map(|name| reader.path(&name))?;
    let known = path
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|e| matches!(e, "svg" | "png"));
    if !known {
        reader.mistake(LOGO, "must be an .svg or .png file");
    } else if let Err(what) = readable(&path) {
        reader.mistake(LOGO, what);
    }
    Some(path)
}

/// Rejects templates with unknown names: ignored, they would leave the built-in page in place.
fn check_names(folder: &Path, logo: Option<&Path>) -> Result<(), String> {
    if !folder.is_dir() {
        return Err("is not a folder".to_owned());
    }
    let unused = templates::unused(folder)
        .map_err(|(folder, error)| format!("{} cannot be read: {error}", folder.display()))?;
    let logo = logo.and_then(|logo| logo.canonicalize().ok());
    let unknown = unused
        .iter()
        .map(|file| folder.join(file))
        .filter(|file| file.canonicalize().ok() != logo || logo.is_none());
    let files: Vec<_> = unknown.map(|file| file.display().to_string()).collect();
    if files.is_empty() {
        return Ok(());
    }
    let names = templates::templates().collect::<Vec<_>>().join(", ");
    Err(format!(
        "{}: no built-in template has this name; known names: {names}",
        files.join(", ")
    ))
}

fn readable(path: &Path) -> Result<(), String> {
    std::fs::read(path)
        .map(drop)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn email(value: &Value) -> Result<String, String> {
    let text = line(value)?;
    if Email::parse(&text).is_ok() {
        Ok(text)
    } else {
        Err(format!("{} is not an e-mail address", quoted(&text)))
    }
}
