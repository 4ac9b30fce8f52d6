//! The brokers in a CSV file. One malformed line is enough to refuse the whole file: a file that is wrong in one
//! place may be wrong in others, and half a directory locks the other half out.

use super::error::{BadLines, DirectoryFault, Error, LineFault};
use super::holders::{CertificateOwner, Holders};
use super::{BrokerList, BrokerSource};
use crate::config::{CertificateColumns, DirectoryConfig};
use crate::csv_lines::{first_line_of, is_blank, line_at};
use crate::reloadable::{ReadError, WatchedFile};
use csv::{ReaderBuilder, StringRecord};
use domain::email::Email;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;

/// The operator's CSV file.
pub(super) struct CsvFile {
    file: WatchedFile,
    certificates: Option<CertificateColumns>,
}

impl CsvFile {
    pub(super) fn new(config: &DirectoryConfig) -> Self {
        Self {
            file: WatchedFile::new(config.file.clone(), config.poll),
            certificates: config.certificates.clone(),
        }
    }
}

impl BrokerSource for CsvFile {
    fn is_due(&mut self, now: Timestamp) -> bool {
        self.file.is_due(now)
    }

    fn read(&mut self) -> Result<BrokerList, Error> {
        let path = self.file.path().to_owned();
        let bytes = self.file.read(|_| Ok::<_, ReadError>(()));
        let bytes = bytes.map_err(|error| match error {
            ReadError::Io(error) => Error::Unreadable(path.clone(), error),
            ReadError::BeingWritten => Error::Unusable(path.clone(), DirectoryFault::BeingWritten),
        })?;
        parse(&bytes, self.certificates.as_ref()).map_err(|fault| Error::Unusable(path, fault))
    }
}

/// Reads all lines, at least one.
fn parse(
    bytes: &[u8],
    certificates: Option<&CertificateColumns>,
) -> Result<BrokerList, DirectoryFault> {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    let text = std::str::from_utf8(bytes)
        .map_err(|error| DirectoryFault::NotUtf8(line_at(bytes, error.valid_up_to())))?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut reader = ReaderBuilder::new()
        .delimiter(b';')
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    if !reader
        .read_record(&mut record)
        .map_err(|_| DirectoryFault::Empty)?
    {
        return Err(DirectoryFault::Empty);
    }
    let columns = DirectoryColumns::of(&record, certificates)?;
    let mut list = BrokerList::default();
    let mut bad = BadLines::default();
    while reader
        .read_record(&mut record)
        .map_err(|_| DirectoryFault::Empty)?
    {
        if let Err(fault) = columns.line(&record, &mut list) {
            bad.add(fault, || first_line_of(&record, text));
        }
    }
    if bad.listed.is_empty() {
        Some(list)
            .filter(|list| !list.brokers.is_empty())
            .ok_or(DirectoryFault::NoBrokers)
    } else {
        Err(DirectoryFault::Lines(bad))
    }
}

/// Where the columns of interest are.
struct DirectoryColumns {
    vtnr: usize,
    email: usize,
    certificate: Option<CertificateAt>,
    count: usize,
}

/// Positions of the certificate columns.
struct CertificateAt {
    name: usize,
    issuer: Option<usize>,
    key: Option<usize>,
}

impl DirectoryColumns {
    fn of(
        header: &StringRecord,
        certificates: Option<&CertificateColumns>,
    ) -> Result<Self, DirectoryFault> {
        let column = |name: &str| {
            let mut places = header
                .iter()
                .enumerate()
                .filter(|(_, title)| title.trim().eq_ignore_ascii_case(name));
            match (places.next(), places.next()) {
                (Some((at, _)), None) => Ok(at),
                _ => Err(DirectoryFault::Column(name.to_owned())),
            }
        };
        let certificate = |columns: &CertificateColumns| {
            let issuer = columns.issuer.as_deref().map(column);
            let key = columns.key.as_deref().map(column);
            Ok(CertificateAt {
                name: column(&columns.name)?,
                issuer: issuer.transpose()?,
                key: key.transpose()?,
            })
        };
        let certificate = certificates.map(certificate).transpose()?;
        Ok(Self {
            vtnr: column("vtnr")?,
            email: column("email")?,
            certificate,
            count: header.len(),
        })
    }

    /// Reads one line, which may be blank.
    fn line(&self, record: &StringRecord, list: &mut BrokerList) -> Result<(), LineFault> {
        let vtnr = record.get(self.vtnr).unwrap_or_default();
        let email = record.get(self.email).unwrap_or_default();
        if vtnr.trim().is_empty() && is_blank(record.iter()) {
            return Ok(());
        }
        // A quote that is never closed swallows the lines below, and with them brokers.
        if record.as_slice().contains('\n') {
            return Err(LineFault::OpenQuote);
        }
        if record.len() < self.count || !is_blank(record.iter().skip(self.count)) {
            return Err(LineFault::Fields);
        }
        let vtnr = Vtnr::parse(vtnr).map_err(|_| LineFault::NotAVtnr)?;
        let email = Some(email)
            .filter(|email| !email.trim().is_empty())
            .map(Email::parse)
            .transpose();
        list.brokers
            .push((vtnr, email.map_err(|_| LineFault::NotAnEmail)?));
        match &self.certificate {
            Some(at) => at.read(record, vtnr, &mut list.holders),
            None => Ok(()),
        }
    }
}

impl CertificateAt {
    fn read(
        &self,
        record: &StringRecord,
        vtnr: Vtnr,
        holders: &mut Holders,
    ) -> Result<(), LineFault> {
        let cell = |at| {
            record
                .get(at)
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
        };
        let Some(name) = cell(self.name) else {
            return Ok(());
        };
        let issuer = match self.issuer {
            Some(at) => Some(cell(at).ok_or(LineFault::NoIssuer)?),
            None => None,
        };
        let key = self
            .key
            .and_then(cell)
            .map(|key| sha256(key).ok_or(LineFault::NotAKey))
            .transpose()?;
        holders.add(
            name,
            CertificateOwner {
                issuer: issuer.map(Into::into),
                key,
                vtnr,
            },
        )
    }
}

/// 64 hexadecimal digits, perhaps in pairs with colons between.
fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text
        .chars()
        .filter(|sign| *sign != ':')
        .map(|digit| digit.to_digit(16))
        .collect::<Option<Vec<_>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs
        .iter()
        .filter_map(|[high, low]| u8::try_from(high * 16 + low).ok())
        .collect();
    bytes.try_into().ok().filter(|_| rest.is_empty())
}
