//! The log: one line per event, JSON or text, to stderr.
//!
//! Only this crate may log in detail. Pingora, redis, lettre, hyper, h2 and all other dependencies are capped at INFO,
//! whatever the filter says: at DEBUG and TRACE they print header fields, commands and mails, and with them cookies,
//! TANs and passwords. The cap applies to every foreign target, and so to new dependencies, too.
//!
//! Logging never delays a request: lines wait in a bounded queue for the writer thread, and are dropped and counted if
//! stderr is too slow.

use crate::config::Log;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_log::{LogTracer, log};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// The root target of this crate.
const OURS: &str = "vtnr_gateway";
/// The maximum level of foreign targets.
const FOREIGN_CAP: LevelFilter = LevelFilter::INFO;
/// Targets that log an error for each misbehaving client: invalid HTTP/2, aborted TLS, odd lengths. The gateway counts and answers these,
/// and logs upstream failures itself. A filter that names one of these targets enables it.
const OF_CLIENTS: [&str; 7] = [
    "h2",
    "hyper",
    "pingora_core::apps",
    "pingora_core::protocols::http",
    "pingora_core::protocols::tls",
    "pingora_proxy",
    "rustls",
];
/// The capacity of the queue in lines: a few megabytes, seconds of full load.
const QUEUE: usize = 16_384;

/// How long a line waits for others, to be written together.
const REST: Duration = Duration::from_millis(5);

/// Keeps the writer alive; dropping it flushes the queue.
pub struct Guard {
    _worker: WorkerGuard,
    dropped: ErrorCounter,
    unwritten: Arc<AtomicU64>,
}

/// The reason why the log cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The filter is malformed; `log.filter` of a checked configuration never is.
    #[error("the log filter cannot be read")]
    Filter,
    /// The process has a log already.
    #[error("the log was started before")]
    StartedBefore,
}

/// Starts the log of this process.
///
/// # Errors
/// [`Error`] if the filter is malformed, or a log was started before.
pub fn start(config: &Log) -> Result<Guard, Error> {
    let (writer, guard) = queue(std::io::stderr());
    let subscriber = subscriber(config, writer)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::StartedBefore)?;
    // Only foreign code logs through the `log` crate, so its cap can be applied at the source.
    LogTracer::builder()
        .with_max_level(log::LevelFilter::Info)
        .init()
        .map_err(|_| Error::StartedBefore)?;
    Ok(guard)
}

/// Formats an error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl Guard {
    /// Returns the number of lines dropped because stderr was too slow or closed.
    pub fn dropped(&self) -> u64 {
        let not_queued = u64::try_from(self.dropped.dropped_lines()).unwrap_or(u64::MAX);
        not_queued.saturating_add(self.unwritten.load(Ordering::Relaxed))
    }
}

/// A batching writer. The writer thread pauses after each batch, so that under load there is no wakeup and no system call per line.
struct Gathered<W: Write> {
    out: BufWriter<W>,
    /// Lines that could not be written, and were skipped.
    unwritten: Arc<AtomicU64>,
}

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    /// Called once per line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.out.write_all(line);
        if written.is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        std::thread::sleep(REST);
        flushed
    }
}

fn queue(out: impl Write + Send + 'static) -> (NonBlocking, Guard) {
    let builder = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .thread_name("log");
    let unwritten = Arc::<AtomicU64>::default();
    let (writer, worker) = builder.finish(Gathered {
        out: BufWriter::new(out),
        unwritten: Arc::clone(&unwritten),
    });
    let dropped = writer.error_counter();
    (
        writer,
        Guard {
            _worker: worker,
            dropped,
            unwritten,
        },
    )
}

fn subscriber<W>(config: &Log, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = capped(&config.filter.parse().map_err(|_| Error::Filter)?);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    Ok(if config.json {
        Box::new(registry.with(layer.json().with_span_list(false)))
    } else {
        Box::new(registry.with(layer.event_format(OneLine(Format::default().with_ansi(false)))))
    })
}

/// The operator's filter with foreign targets capped.
fn capped(asked: &Targets) -> Targets {
    let default = asked.default_level().unwrap_or(LevelFilter::OFF);
    let base = Targets::new()
        .with_default(default.min(FOREIGN_CAP))
        .with_target(OURS, default);
    let base = base.with_targets(OF_CLIENTS.map(|target| (target, LevelFilter::OFF)));
    let cap = |target: &str, level: LevelFilter| {
        if is_ours(target) {
            level
        } else {
            level.min(FOREIGN_CAP)
        }
    };
    base.with_targets(
        asked
            .iter()
            .map(|(target, level)| (target.to_owned(), cap(target, level))),
    )
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix(OURS)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Text without line ends and control characters: a client can neither forge a line nor control a terminal.
struct OneLine(Format<Full, SystemTime>);

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        for symbol in line.trim_end_matches('\n').chars() {
            match symbol {
                '\u{2028}' | '\u{2029}' => write!(writer, "{}", symbol.escape_unicode())?,
                _ if symbol.is_control() => write!(writer, "{}", symbol.escape_debug())?,
                _ => writer.write_char(symbol)?,
            }
        }
        writer.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    /// A writer that the test can read.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_leave_together_and_are_all_written_at_the_end() {
        let paper = Sheets::default();
        let (writer, guard) = queue(paper.clone());
        for line in 0..1_000 {
            writer
                .clone()
                .write_all(format!("{line}\n").as_bytes())
                .expect("a line");
        }
        drop(guard);
        let sheets = paper.0.lock();
        let all: Vec<_> = sheets.concat().lines().map(str::to_owned).collect();
        assert_eq!(
            all,
            (0..1_000).map(|line| line.to_string()).collect::<Vec<_>>()
        );
        assert!(
            sheets.len() < 500,
            "{} writes for 1,000 lines",
            sheets.len()
        );
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (writer, mut guard) = queue(Gone);
        // More than the buffer holds.
        let line = [b'x'; 10_000];
        for _ in 0..10 {
            writer.clone().write_all(&line).expect("queued");
        }
        let (_, nothing) = NonBlockingBuilder::default().finish(io::sink());
        guard._worker = nothing;
        assert_eq!(guard.dropped(), 10);
    }

    /// A writer that keeps each write apart.
    #[derive(Clone, Default)]
    struct Sheets(Arc<Mutex<Vec<String>>>);

    impl Write for Sheets {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Clone, Copy)]
    enum Form {
        Json,
        Text,
    }

    fn logged(form: Form, filter: &str, speak: impl FnOnce()) -> String {
        let paper = Paper::default();
        let config = Log {
            json: matches!(form, Form::Json),
            filter: filter.to_owned(),
            access: true,
        };
        let copy = paper.clone();
        let subscriber = subscriber(&config, move || copy.clone()).expect("a sound filter");
        tracing::subscriber::with_default(subscriber, speak);
        String::from_utf8(paper.0.lock().clone()).expect("UTF-8")
    }

    const HOSTILE: &str = "a\r\n2026-01-01T00:00:00Z INFO forged\u{1b}[2J\u{9b}31m\u{2028}\"b\"";

    #[test]
    fn json_lines_are_json_and_one_line_each_whatever_they_carry() {
        let log = logged(Form::Json, "info", || {
            let span = tracing::info_span!("request", agent = HOSTILE);
            span.in_scope(|| tracing::info!(path = HOSTILE, level = "full", "{HOSTILE}"));
            tracing::info!("second");
        });
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["fields"]["path"], HOSTILE);
        assert_eq!(lines[0]["level"], "INFO");
        assert!(
            lines[0]["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{log}"
        );
    }

    #[test]
    fn text_lines_stay_on_their_line() {
        let log = logged(Form::Text, "info", || {
            let span = tracing::info_span!("request", agent = %HOSTILE);
            span.in_scope(|| tracing::info!(path = %HOSTILE, "{HOSTILE}"));
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(
            !log.trim_end()
                .contains(|c: char| c.is_control() || c == '\u{2028}'),
            "{log:?}"
        );
        assert!(
            log.contains("a\\r\\n2026-01-01T00:00:00Z INFO forged\\u{1b}[2J"),
            "{log}"
        );
    }

    #[test]
    fn foreign_code_says_no_more_than_info_whatever_the_filter() {
        for filter in [
            "trace",
            "redis=trace,pingora=debug,h2=trace,lettre=trace,info",
            "vtnr=trace,trace",
        ] {
            let log = logged(Form::Text, filter, || {
                tracing::debug!(target: "pingora_proxy::proxy_h1", "secret");
                tracing::trace!(target: "redis", "secret");
                tracing::trace!(target: "lettre::transport::smtp", "secret");
                tracing::debug!(target: "hyper::proto", "secret");
                tracing::trace!(target: "h2::codec", "secret");
                tracing::info!(target: "redis", "harmless");
            });
            assert!(
                log.contains("harmless") && !log.contains("secret"),
                "{filter}: {log}"
            );
        }
    }

    #[test]
    fn what_clients_do_is_no_line_unless_the_filter_asks_for_it() {
        let speak = || {
            tracing::warn!(target: "h2::proto::streams::recv", "garbage");
            tracing::warn!(target: "pingora_core::protocols::http::v2::server", "garbage");
            tracing::error!(target: "pingora_proxy", "garbage");
            tracing::warn!(target: "rustls::common_state", "garbage");
            log::error!(target: "pingora_core::apps", "garbage");
            tracing::warn!(target: "pingora_core::protocols::l4", "Crit");
        };
        let _ = LogTracer::init();
        for filter in ["info", "trace", "error", "vtnr_gateway=debug,info"] {
            let log = logged(Form::Text, filter, speak);
            assert!(!log.contains("garbage"), "{filter}: {log}");
            assert_eq!(log.contains("Crit"), filter != "error", "{filter}: {log}");
        }
        assert!(logged(Form::Text, "h2=info,info", speak).contains("garbage"));
    }

    #[test]
    fn the_filter_says_how_much_this_crate_tells() {
        let speak = || {
            tracing::debug!("detail");
            tracing::trace!(target: "vtnr_gateway::mail", "finest");
            tracing::info!(target: "redis", "foreign");
        };
        let cases = [
            ("info", [false, false, true]),
            ("debug", [true, false, true]),
            ("trace", [true, true, true]),
            ("vtnr_gateway::mail=trace,warn", [false, true, false]),
            ("vtnr_gateway=debug,info", [true, false, true]),
            ("redis=off,debug", [true, false, false]),
        ];
        for (filter, expected) in cases {
            let log = logged(Form::Text, filter, speak);
            assert_eq!(
                ["detail", "finest", "foreign"].map(|word| log.contains(word)),
                expected,
                "{filter}: {log}"
            );
        }
    }

    #[test]
    fn records_of_the_log_crate_arrive_under_their_own_target() {
        // Another test may have been first; one bridge serves all.
        let _ = LogTracer::init();
        let log = logged(Form::Json, "trace", || {
            log::warn!(target: "pingora_core::server", "listening");
            log::debug!(target: "pingora_core::server", "secret");
        });
        let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
        assert_eq!(
            (&line["target"], &line["level"]),
            (&"pingora_core::server".into(), &"WARN".into()),
            "{log}"
        );
        assert_eq!(line["fields"]["message"], "listening", "{log}");
    }

    /// A terminal that takes nothing until the test lets go.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the test is over.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_stderr_costs_lines_and_not_time() {
        let (let_go, stuck) = channel();
        let (writer, guard) = queue(Stuck(stuck));
        let mut lines = writer.clone();
        for _ in 0..QUEUE + 5_000 {
            lines.write_all(b"line\n").expect("taken or dropped");
        }
        // Some 1,600 are in the writer's own buffer.
        assert!(
            (3_300..=5_000).contains(&guard.dropped()),
            "{}",
            guard.dropped()
        );
        drop(let_go);
    }
}
