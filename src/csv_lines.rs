//! Where the records of a CSV file stand, for whoever is told of a mistake in one.

use csv::StringRecord;

/// Whether nothing stands in these fields.
pub(crate) fn is_blank<'f>(mut fields: impl Iterator<Item = &'f str>) -> bool {
    fields.all(|field| field.trim().is_empty())
}

/// The line that a record begins on. Its position is that of the end of the record before it, blank lines included.
pub(crate) fn first_line_of(record: &StringRecord, text: &str) -> usize {
    let end_of_last = record
        .position()
        .and_then(|position| usize::try_from(position.byte()).ok())
        .unwrap_or(0);
    let bytes = text.as_bytes();
    let blank = bytes
        .iter()
        .skip(end_of_last)
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    line_at(bytes, end_of_last + blank)
}

/// The line of a byte, counted from 1.
pub(crate) fn line_at(bytes: &[u8], at: usize) -> usize {
    bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
