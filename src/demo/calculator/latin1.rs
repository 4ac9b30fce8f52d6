//! ISO-8859-1, outwards and in forms: a browser sends a form in the character set of its page.

use minijinja::Value;
use percent_encoding::percent_decode;
use std::collections::BTreeMap;

/// Text as bytes; what the character set lacks becomes a numeric reference, as in HTML.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for symbol in text.chars() {
        match u8::try_from(u32::from(symbol)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(format!("&#{};", u32::from(symbol)).bytes()),
        }
    }
    bytes
}

/// Bytes as text; every byte is a character.
pub(super) fn decode(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The fields of a form or query, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LatinForm {
    pub(super) fields: Vec<(String, String)>,
}

impl LatinForm {
    /// Reads `application/x-www-form-urlencoded`; it never fails, as a form is whatever was sent.
    pub(super) fn parse(body: &[u8]) -> Self {
        let fields = body
            .split(|&byte| byte == b'&')
            .filter(|field| !field.is_empty())
            .map(|field| {
                let mut halves = field.splitn(2, |&byte| byte == b'=').map(unescape);
                (
                    halves.next().unwrap_or_default(),
                    halves.next().unwrap_or_default(),
                )
            });
        Self {
            fields: fields.collect(),
        }
    }

    /// The first field of this name, trimmed; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// For a template: `form.name`.
    pub(super) fn view(&self) -> Value {
        // From the last to the first: where a name comes twice, the first wins, as in `get`.
        let fields = self
            .fields
            .iter()
            .rev()
            .map(|(name, value)| (name.clone(), Value::from(value)));
        Value::from(fields.collect::<BTreeMap<String, Value>>())
    }
}

fn unescape(field: &[u8]) -> String {
    let spaced: Vec<u8> = field
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    decode(&percent_decode(&spaced).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn umlauts_are_one_byte_and_the_euro_sign_is_a_reference() {
        assert_eq!(encode("Prämie: 5 €"), b"Pr\xe4mie: 5 &#8364;");
        assert_eq!(decode(b"Pr\xe4mie"), "Prämie");
    }

    #[test]
    fn a_form_is_read_in_the_character_set_of_its_page() {
        let form = LatinForm::parse(b"name=J%FCrgen+Gro%DF&hsn=0603&leer=&ohne&&name=2");
        assert_eq!(form.get("name"), "Jürgen Groß");
        assert_eq!(
            (form.get("hsn"), form.get("leer"), form.get("fehlt")),
            ("0603", "", "")
        );
        assert_eq!(form.fields.len(), 5);
    }
}
