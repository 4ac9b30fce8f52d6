//! Parses a users file into lines, and writes it back. A single malformed line makes the file unusable.

use super::error::{BadUserLines, UserLineFault, UsersFault};
use super::hash::{Hash, NoHash};
use super::key::UserKey;
use super::snapshot::User;
use crate::csv_lines::{first_line_of, is_blank, line_at};
use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use domain::vtnr::Vtnr;
use std::collections::HashSet;

/// The lines of a users file. Unknown columns are preserved.
pub(super) struct Table {
    header: StringRecord,
    columns: UserColumns,
    lines: Vec<UserLine>,
}

struct UserLine {
    key: UserKey,
    user: User,
    record: StringRecord,
}

impl Table {
    /// The header of a new file.
    pub(super) const HEADER: &'static str = "user;vtnr;hash\n";

    /// Reads all lines.
    ///
    /// # Errors
    /// The fault of the file, with the numbers of malformed lines.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, UsersFault> {
        const BYTE_ORDER_MARK: char = '\u{feff}';
        let text = std::str::from_utf8(bytes)
            .map_err(|error| UsersFault::NotUtf8(line_at(bytes, error.valid_up_to())))?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let mut reader = ReaderBuilder::new()
            .delimiter(b';')
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut header = StringRecord::new();
        if !reader
            .read_record(&mut header)
            .map_err(|_| UsersFault::Empty)?
        {
            return Err(UsersFault::Empty);
        }
        let columns = UserColumns::of(&header)?;
        let mut lines = Vec::new();
        let mut bad = BadUserLines::default();
        let mut seen = HashSet::new();
        let mut record = StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(|_| UsersFault::Empty)?
        {
            if is_blank(record.iter()) {
                continue;
            }
            match columns.line(&record) {
                Ok(line) if seen.insert(line.key.clone()) => lines.push(line),
                Ok(_) => bad
                    .0
                    .push((first_line_of(&record, text), UserLineFault::Twice)),
                Err(fault) => bad.0.push((first_line_of(&record, text), fault)),
            }
        }
        if bad.0.is_empty() {
            Ok(Self {
                header,
                columns,
                lines,
            })
        } else {
            Err(UsersFault::Lines(bad))
        }
    }

    /// Returns the users, in file order.
    pub(super) fn into_users(self) -> impl Iterator<Item = (UserKey, User)> {
        self.lines.into_iter().map(|line| (line.key, line.user))
    }

    /// Returns the users with their keys as written, in file order.
    pub(super) fn written(&self) -> impl Iterator<Item = (&str, &User)> {
        self.lines.iter().map(|line| {
            (
                line.record
                    .get(self.columns.user)
                    .unwrap_or_default()
                    .trim(),
                &line.user,
            )
        })
    }

    pub(super) fn find(&self, key: &UserKey) -> Option<&User> {
        self.lines
            .iter()
            .find(|line| line.key == *key)
            .map(|line| &line.user)
    }

    /// Adds a user, or replaces the one with this key. `written` is the key as it will appear in the file.
    pub(super) fn put(&mut self, key: UserKey, written: &str, user: User) {
        let UserColumns {
            user: user_column,
            vtnr: vtnr_column,
            hash: hash_column,
        } = self.columns;
        let previous = self.lines.iter_mut().find(|line| line.key == key);
        let count = self.header.len();
        let kept = |column: usize| {
            previous
                .as_ref()
                .and_then(|line| line.record.get(column))
                .unwrap_or_default()
                .to_owned()
        };
        let field = |column: usize| match column {
            column if column == user_column => written.to_owned(),
            column if column == vtnr_column => user.vtnr.to_string(),
            column if column == hash_column => user.hash.as_str().to_owned(),
            column => kept(column),
        };
        let record = (0..count).map(field).collect();
        match previous {
            Some(previous) => *previous = UserLine { key, user, record },
            None => self.lines.push(UserLine { key, user, record }),
        }
    }

    /// Removes a user and returns it.
    pub(super) fn remove(&mut self, key: &UserKey) -> Option<User> {
        let at = self.lines.iter().position(|line| line.key == *key)?;
        Some(self.lines.remove(at).user)
    }

    /// Replaces the hash of a user, if it still is `from`.
    pub(super) fn renew(&mut self, key: &UserKey, from: &Hash, to: Hash) -> bool {
        let line = self
            .lines
            .iter_mut()
            .find(|line| line.key == *key && line.user.hash == *from);
        let Some(line) = line else { return false };
        let hash_column = self.columns.hash;
        let renewed = |(column, field): (usize, &str)| {
            if column == hash_column {
                to.as_str()
            } else {
                field
            }
            .to_owned()
        };
        line.record = line.record.iter().enumerate().map(renewed).collect();
        line.user.hash = to;
        true
    }

    pub(super) fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = WriterBuilder::new()
            .delimiter(b';')
            .flexible(true)
            .from_writer(Vec::new());
        for record in
            std::iter::once(&self.header).chain(self.lines.iter().map(|line| &line.record))
        {
            writer.write_record(record).map_err(std::io::Error::other)?;
        }
        writer.into_inner().map_err(|error| error.into_error())
    }
}

/// Positions of the known columns.
#[derive(Clone, Copy)]
struct UserColumns {
    user: usize,
    vtnr: usize,
    hash: usize,
}

impl UserColumns {
    fn of(header: &StringRecord) -> Result<Self, UsersFault> {
        let column = |name: &'static str| {
            let mut positions = header
                .iter()
                .enumerate()
                .filter(|(_, title)| title.trim().eq_ignore_ascii_case(name));
            match (positions.next(), positions.next()) {
                (Some((at, _)), None) => Ok(at),
                _ => Err(UsersFault::Column(name)),
            }
        };
        Ok(Self {
            user: column("user")?,
            vtnr: column("vtnr")?,
            hash: column("hash")?,
        })
    }

    fn line(&self, record: &StringRecord) -> Result<UserLine, UserLineFault> {
        // An unclosed quote swallows the following lines, and their users.
        if record.as_slice().contains('\n') {
            return Err(UserLineFault::OpenQuote);
        }
        let (Some(user), Some(vtnr), Some(hash)) = (
            record.get(self.user),
            record.get(self.vtnr),
            record.get(self.hash),
        ) else {
            return Err(UserLineFault::Fields);
        };
        let key = UserKey::parse(user).map_err(|_| UserLineFault::NotAUser)?;
        let vtnr = Vtnr::parse(vtnr).map_err(|_| UserLineFault::NotAVtnr)?;
        let hash = Hash::parse(hash.trim()).map_err(|fault| match fault {
            NoHash::Foreign => UserLineFault::NotAHash,
            NoHash::TooCostly => UserLineFault::TooCostly,
        })?;
        Ok(UserLine {
            key,
            user: User { vtnr, hash },
            record: record.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const OTHER: &str =
        "$argon2id$v=19$m=128,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    fn fault(text: &str) -> String {
        Table::parse(text.as_bytes())
            .err()
            .map(|fault| fault.to_string())
            .unwrap_or_default()
    }

    fn key(text: &str) -> UserKey {
        UserKey::parse(text).expect("a user key")
    }

    fn hash(text: &str) -> Hash {
        Hash::parse(text).unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_never_by_content() {
        assert_eq!(
            fault(""),
            "the file is empty; a header line with user;vtnr;hash is wanted"
        );
        assert_eq!(
            fault("user;hash\n"),
            "the header line does not have the column vtnr exactly once; columns are divided by ;"
        );
        let text = format!(
            "\u{feff}user;vtnr;hash\nada;60/123/4567;{HASH}\n\n;60/123/4567;{HASH}\nADA ;60/123/4567;{HASH}\nben;60/12;{HASH}\nben;60/123/4567;geheim\n\
             ben;60/123/4567\ncem;601234567;$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n\"dot;1\n2;3\n"
        );
        assert_eq!(
            fault(&text),
            "line 4: not a user key; line 5: a user key that a line above has; line 6: not a VTNR; line 7: not a hash of argon2id in PHC notation; \
             line 8: not as many fields as the header has; line 9: a hash that costs more than 1 GiB, 64 iterations or 16 lanes; \
             line 10: a quoted field does not end on its line"
        );
        assert_eq!(
            Table::parse(b"user;vtnr;hash\na\xfc;1;2").err(),
            Some(UsersFault::NotUtf8(2))
        );
        assert!(
            fault(&format!("user;vtnr;hash\n{}", "x;1;2\n".repeat(30)))
                .ends_with("; and 10 more lines")
        );
    }

    #[test]
    fn what_is_changed_leaves_all_else_as_it_was() {
        let text = format!(
            "note;vtnr;user;hash\nDüsseldorf;60/123/4567;Ada;{HASH}\n\"a;b\";60/123/4568;ben;{HASH}\n"
        );
        let mut table = Table::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
        let vtnr = Vtnr::parse("60/123/4569").expect("well-formed");
        table.put(
            key("CEM"),
            "Cem",
            User {
                vtnr,
                hash: hash(HASH),
            },
        );
        table.put(
            key("ada"),
            "ada",
            User {
                vtnr,
                hash: hash(OTHER),
            },
        );
        assert!(table.renew(&key("BEN"), &hash(HASH), hash(OTHER)));
        assert!(
            !table.renew(&key("BEN"), &hash(HASH), hash(OTHER)),
            "it is another one's by now"
        );
        assert!(!table.renew(&key("dot"), &hash(HASH), hash(OTHER)));
        let written = String::from_utf8(table.to_bytes().expect("written")).expect("UTF-8");
        let expected = format!(
            "note;vtnr;user;hash\nDüsseldorf;60/123/4569;ada;{OTHER}\n\"a;b\";60/123/4568;ben;{OTHER}\n;60/123/4569;Cem;{HASH}\n"
        );
        assert_eq!(written, expected);
        assert!(table.remove(&key("cem")).is_some() && table.remove(&key("cem")).is_none());
        assert_eq!(
            table
                .written()
                .map(|(user, _)| user.to_owned())
                .collect::<Vec<_>>(),
            ["ada", "ben"]
        );
        let names: Vec<_> = table
            .into_users()
            .map(|(key, _)| key.as_str().to_owned())
            .collect();
        assert_eq!(names, ["ada", "ben"]);
    }

    #[test]
    fn a_file_without_users_is_sound() {
        let table =
            Table::parse(Table::HEADER.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(table.to_bytes().expect("written"), Table::HEADER.as_bytes());
        assert_eq!(table.into_users().count(), 0);
    }
}
