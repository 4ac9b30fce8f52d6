//! From the bytes of a CSV file to brokers. One malformed line is enough to refuse the whole: a file that is
//! wrong in one place may be wrong in others, and half a directory locks the other half out.

use super::error::{BadLines, Fault, LineFault};
use crate::domain::email::Email;
use crate::domain::vtnr::Vtnr;
use csv::{ReaderBuilder, StringRecord};

/// A line's broker and the address in it, if any.
type Line = (Vtnr, Option<Email>);

/// Reads all lines, at least one.
///
/// # Errors
/// What is wrong with the file; of malformed lines, where they are.
pub(super) fn brokers(bytes: &[u8]) -> Result<Vec<Line>, Fault> {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    let text = std::str::from_utf8(bytes).map_err(|error| Fault::NotUtf8(line_at(bytes, error.valid_up_to())))?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut reader = ReaderBuilder::new().delimiter(b';').has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    if !reader.read_record(&mut record).map_err(|_| Fault::Empty)? {
        return Err(Fault::Empty);
    }
    let columns = Columns::of(&record)?;
    let (mut brokers, mut bad) = (Vec::new(), BadLines::default());
    while reader.read_record(&mut record).map_err(|_| Fault::Empty)? {
        match columns.line(&record) {
            Ok(line) => brokers.extend(line),
            Err(fault) => bad.add(fault, || first_line_of(&record, text)),
        }
    }
    if bad.listed.is_empty() {
        Some(brokers).filter(|brokers| !brokers.is_empty()).ok_or(Fault::NoBrokers)
    } else {
        Err(Fault::Lines(bad))
    }
}

/// Where the columns of interest are.
struct Columns {
    vtnr: usize,
    email: usize,
    count: usize,
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, Fault> {
        let column = |name: &'static str| {
            let mut places = header.iter().enumerate().filter(|(_, title)| title.trim().eq_ignore_ascii_case(name));
            match (places.next(), places.next()) {
                (Some((at, _)), None) => Ok(at),
                _ => Err(Fault::Column(name)),
            }
        };
        Ok(Self { vtnr: column("vtnr")?, email: column("email")?, count: header.len() })
    }

    /// Reads one line; none if it is blank.
    fn line(&self, record: &StringRecord) -> Result<Option<Line>, LineFault> {
        let (vtnr, email) = (record.get(self.vtnr).unwrap_or_default(), record.get(self.email).unwrap_or_default());
        if vtnr.trim().is_empty() && is_blank(record.iter()) {
            return Ok(None);
        }
        // A quote that is never closed swallows the lines below, and with them brokers.
        if record.as_slice().contains('\n') {
            return Err(LineFault::OpenQuote);
        }
        if record.len() < self.count || !is_blank(record.iter().skip(self.count)) {
            return Err(LineFault::Fields);
        }
        let vtnr = Vtnr::parse(vtnr).map_err(|_| LineFault::NotAVtnr)?;
        if email.trim().is_empty() {
            return Ok(Some((vtnr, None)));
        }
        Ok(Some((vtnr, Some(Email::parse(email).map_err(|_| LineFault::NotAnEmail)?))))
    }
}

fn is_blank<'f>(mut fields: impl Iterator<Item = &'f str>) -> bool {
    fields.all(|field| field.trim().is_empty())
}

/// The line that a record begins on. Its position is that of the end of the record before it, blank lines included.
fn first_line_of(record: &StringRecord, text: &str) -> usize {
    let end_of_last = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
    let bytes = text.as_bytes();
    let blank = bytes.iter().skip(end_of_last).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    line_at(bytes, end_of_last + blank)
}

/// The line of a byte, counted from 1.
fn line_at(bytes: &[u8], at: usize) -> usize {
    bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
