//! Lines from a socket, bounded in memory however long a sender makes them.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct SmtpLine {
    /// The line with its end, cut off at the limit.
    pub(super) bytes: Vec<u8>,
    /// Nothing was cut off.
    pub(super) whole: bool,
    /// Whether the line ended with CR LF, not with a bare LF.
    pub(super) crlf: bool,
}

pub(super) struct SmtpLines<R> {
    reader: BufReader<R>,
}

impl<R: AsyncRead + Unpin> SmtpLines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
        }
    }

    /// The next line, of which at most `limit` bytes are kept; `None` when the sender has gone, even in mid-line.
    pub(super) async fn next(&mut self, limit: usize) -> io::Result<Option<SmtpLine>> {
        let mut line = SmtpLine {
            bytes: Vec::new(),
            whole: true,
            crlf: false,
        };
        let mut before = None;
        loop {
            let buffer = self.reader.fill_buf().await?;
            let Some(&newest) = buffer.last() else {
                return Ok(None);
            };
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let piece = end.map_or(buffer, |at| buffer.get(..=at).unwrap_or(buffer));
            let taken = piece.len();
            let room = limit.saturating_sub(line.bytes.len());
            line.bytes.extend(piece.iter().take(room));
            line.whole &= taken <= room;
            if end.is_some() {
                line.crlf = piece.iter().rev().nth(1).copied().or(before) == Some(b'\r');
                self.reader.consume(taken);
                return Ok(Some(line));
            }
            before = Some(newest);
            self.reader.consume(taken);
        }
    }

    /// Reads and forgets until the sender goes.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        tokio::io::copy_buf(&mut self.reader, &mut tokio::io::sink())
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn first(bytes: &[u8], limit: usize) -> Option<SmtpLine> {
        SmtpLines::new(bytes).next(limit).await.unwrap()
    }

    #[tokio::test]
    async fn a_long_line_is_cut_but_read_to_its_end() {
        let mut lines = SmtpLines::new(&b"0123456789\r\nnext\n"[..]);
        assert_eq!(
            lines.next(4).await.unwrap(),
            Some(SmtpLine {
                bytes: b"0123".to_vec(),
                whole: false,
                crlf: true
            })
        );
        assert_eq!(
            lines.next(4).await.unwrap(),
            Some(SmtpLine {
                bytes: b"next".to_vec(),
                whole: false,
                crlf: false
            })
        );
        assert_eq!(lines.next(4).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_end_of_a_line_is_seen_across_two_reads() {
        let reader = b"NOOP\r".chain(&b"\n"[..]);
        let line = SmtpLines::new(reader).next(100).await.unwrap();
        assert_eq!(
            line,
            Some(SmtpLine {
                bytes: b"NOOP\r\n".to_vec(),
                whole: true,
                crlf: true
            })
        );
    }

    #[tokio::test]
    async fn half_a_line_is_no_line() {
        assert_eq!(first(b"QUI", 100).await, None);
    }
}
