//! A PDF of one page, written by hand: ISO 32000-1, 7.5, with one of the fonts that every reader has.

/// A heading and lines of label and value.
pub(super) fn write(heading: &str, rows: &[Vec<String>]) -> Vec<u8> {
    let content = content(heading, rows);
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>"
            .to_owned(),
        format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut places = String::new();
    for (number, object) in (1..).zip(&objects) {
        places.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let start = file.len();
    let size = objects.len() + 1;
    file.push_str(&format!("xref\n0 {size}\n0000000000 65535 f \n{places}"));
    file.push_str(&format!(
        "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    ));
    file.into_bytes()
}

fn content(heading: &str, rows: &[Vec<String>]) -> String {
    let mut content = format!("BT /F2 18 Tf 70 770 Td ({}) Tj ET", literal(heading));
    for (line, row) in rows.iter().enumerate() {
        let height = 730 - 20 * line;
        for (left, cell) in [70, 250].iter().zip(row) {
            content.push_str(&format!(
                "\nBT /F1 11 Tf {left} {height} Td ({}) Tj ET",
                literal(cell)
            ));
        }
    }
    content
}

/// A string of ASCII only; umlauts as octal numbers, what the font lacks as a question mark.
fn literal(text: &str) -> String {
    text.chars().map(escape).collect()
}

fn escape(symbol: char) -> String {
    match (symbol, u8::try_from(u32::from(symbol))) {
        ('(' | ')' | '\\', _) => format!("\\{symbol}"),
        (' '..='~', _) => symbol.to_string(),
        (_, Ok(byte @ 0xa0..)) => format!("\\{byte:03o}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_at_the_end_points_at_every_object() {
        let file = String::from_utf8(write(
            "Prämie (neu)",
            &[vec!["Name".into(), "Groß €".into()]],
        ))
        .unwrap();
        assert!(
            file.contains("(Pr\\344mie \\(neu\\))") && file.contains("(Gro\\337 ?)"),
            "{file}"
        );
        let places = file.lines().filter(|line| line.ends_with(" 00000 n "));
        for (number, place) in (1..).zip(places) {
            let at: usize = place[..10].parse().unwrap();
            assert!(
                file[at..].starts_with(&format!("{number} 0 obj\n")),
                "{place}"
            );
        }
        let start: usize = file.lines().rev().nth(1).unwrap().parse().unwrap();
        assert!(file[start..].starts_with("xref\n0 7\n"));
    }
}
