//! The broker's own log: lines on stderr, as text or JSON, by room and level, rate-limited.
//!
//! A line is one line: control characters are escaped and long values cut, whatever a client sent. The same place in
//! the code writes at most [`BURST`] lines in [`WINDOW_MS`] (`log_limits.rs`); what is left out is counted, and told with
//! the place's next line, or when the window ends and the log. Lines go through a bounded queue to a thread of their own,
//! so that a stuck stderr holds nobody up; what does not fit is counted too.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::log_limits::{Admitted, LeftOut, Limits, WINDOW_MS};
use crate::base::clock;
use crate::base::task::Pool;
use crate::config::{LogLevel, LogLevels};

/// Lines that wait for stderr, at most.
const QUEUE: usize = 4096;
/// Longest value of a field or message, in bytes.
const LONGEST_VALUE: usize = 4096;

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// `time LEVEL room: message key=value`
    Text,
    /// One JSON object.
    Json,
}

/// The running log.
#[derive(Clone)]
pub struct Logging {
    output: Arc<Output>,
}

impl Logging {
    /// Starts the log of this process. A second start in one process is refused.
    ///
    /// # Errors
    /// When the process has a log already, or no thread can be started.
    pub fn start(levels: &LogLevels, format: LogFormat) -> Result<Self, String> {
        let limits = Arc::new(Mutex::default());
        let output = Output::to_stderr(&limits, format);
        let output = Arc::new(output.map_err(|error| format!("cannot start the log: {error}"))?);
        let layer = LogLayer::new(levels.clone(), format, Arc::clone(&output), limits);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
        Ok(Self { output })
    }

    /// Waits until what was logged is written, for at most a second. To be called before the process ends.
    pub fn flush(&self) {
        self.output.flush();
    }
}

enum Message {
    Line(String),
    /// A place has begun to leave lines out: how many those are is to be told when its window ends.
    LeavesOut,
    /// The log ends, or may: all that is still to be told is told.
    Flushed(SyncSender<()>),
}

/// Where lines go.
enum Output {
    Direct(Mutex<Box<dyn Write + Send>>),
    Queue {
        sender: SyncSender<Message>,
        dropped: AtomicU64,
        format: LogFormat,
    },
}

impl Output {
    fn to_stderr(limits: &Arc<Mutex<Limits>>, format: LogFormat) -> std::io::Result<Self> {
        if cfg!(feature = "simulation") {
            return Ok(Self::Direct(Mutex::new(Box::new(std::io::stderr()))));
        }
        let (sender, receiver) = sync_channel(QUEUE);
        let pool = Pool::start("log", 1)?;
        // Not locked for good: a panic's message goes to stderr too.
        let limits = Arc::clone(limits);
        pool.start_work(move || write_lines(&receiver, &mut std::io::stderr(), &limits, format));
        Ok(Self::Queue {
            sender,
            dropped: AtomicU64::new(0),
            format,
        })
    }

    fn line(&self, line: String) {
        match self {
            Self::Direct(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                // There is nobody to tell that the log cannot be written.
                let _ = writer.write_all(line.as_bytes());
            }
            Self::Queue {
                sender,
                dropped,
                format,
            } => {
                let lost = dropped.swap(0, Ordering::Relaxed);
                let line = if lost == 0 {
                    line
                } else {
                    lost_line(lost, *format) + &line
                };
                if sender.try_send(Message::Line(line)).is_err() {
                    dropped.fetch_add(lost + 1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Has the end of the place's window looked out for. Where there is no thread for it, its next line tells.
    fn leaves_out(&self) {
        if let Self::Queue { sender, .. } = self {
            // When the queue is full the thread is awake, and looks anyway.
            let _ = sender.try_send(Message::LeavesOut);
        }
    }

    fn flush(&self) {
        if let Self::Queue { sender, .. } = self {
            let (done, wait) = sync_channel(1);
            if sender.try_send(Message::Flushed(done)).is_ok() {
                let _ = wait.recv_timeout(Duration::from_secs(1));
            }
        }
    }
}

/// A line for those that did not fit into the queue.
fn lost_line(lost: u64, format: LogFormat) -> String {
    let message = format!("{lost} lines lost: they came faster than they could be written");
    match format {
        LogFormat::Text => format!("({message})\n"),
        LogFormat::Json => {
            let mut object = serde_json::Map::new();
            object.insert("time".to_owned(), Time(clock::now_ms()).to_string().into());
            object.insert("level".to_owned(), "WARN".into());
            object.insert("target".to_owned(), module_path!().into());
            object.insert("message".to_owned(), message.into());
            object.insert("lost".to_owned(), lost.into());
            format!("{}\n", serde_json::Value::Object(object))
        }
    }
}

fn write_lines(
    receiver: &Receiver<Message>,
    writer: &mut impl Write,
    limits: &Mutex<Limits>,
    format: LogFormat,
) {
    loop {
        let due_ms = open(limits).due_ms();
        let message = match due_ms {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due_ms) => {
                let wait_ms = due_ms.saturating_sub(clock::now_ms());
                // A clock that was set is no reason to sleep for long.
                let wait_ms = wait_ms.clamp(0, WINDOW_MS);
                receiver.recv_timeout(Duration::from_millis(wait_ms.unsigned_abs()))
            }
        };
        let now_ms = clock::now_ms();
        match message {
            Ok(Message::Line(line)) => {
                let _ = writer.write_all(line.as_bytes());
            }
            Ok(Message::LeavesOut) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::Flushed(done)) => {
                write_left_out(open(limits).all_left_out(), now_ms, writer, format);
                let _ = writer.flush();
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let ended = open(limits).ended(now_ms);
        write_left_out(ended, now_ms, writer, format);
    }
}

fn open(limits: &Mutex<Limits>) -> MutexGuard<'_, Limits> {
    limits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line a place, that of a level and room of the lines it left out.
fn write_left_out(places: Vec<LeftOut>, now_ms: i64, writer: &mut impl Write, format: LogFormat) {
    for place in places {
        let parts = Parts {
            message: format!("{} more like \"{}\" were left out", place.count, place.message),
            fields: Vec::new(),
        };
        let line = match format {
            LogFormat::Text => text_line(now_ms, place.metadata, &parts, 0),
            LogFormat::Json => json_line(now_ms, place.metadata, &parts, place.count),
        };
        let _ = writer.write_all(line.as_bytes());
    }
}

/// The layer that makes lines of events.
struct LogLayer {
    levels: LogLevels,
    format: LogFormat,
    output: Arc<Output>,
    limits: Arc<Mutex<Limits>>,
}

impl LogLayer {
    fn new(levels: LogLevels, format: LogFormat, output: Arc<Output>, limits: Arc<Mutex<Limits>>) -> Self {
        Self {
            levels,
            format,
            output,
            limits,
        }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= filter(self.levels.of_target(metadata.target()))
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked again whenever a level changes.
        if self.wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(self.levels.highest()))
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let now_ms = clock::now_ms();
        let suppressed = match open(&self.limits).admit(metadata, now_ms) {
            Admitted::Write(suppressed) => suppressed,
            Admitted::FirstLeftOut => return self.output.leaves_out(),
            Admitted::LeftOut => return,
        };
        let mut parts = Parts::default();
        event.record(&mut parts);
        let line = match self.format {
            LogFormat::Text => text_line(now_ms, metadata, &parts, suppressed),
            LogFormat::Json => json_line(now_ms, metadata, &parts, suppressed),
        };
        open(&self.limits).wrote(metadata, parts.message);
        self.output.line(line);
    }
}

/// Message and fields of an event.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

enum FieldValue {
    Text(String),
    Number(serde_json::Number),
    Truth(bool),
}

impl Parts {
    fn add(&mut self, field: &Field, value: FieldValue) {
        self.fields.push((field.name(), value));
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded::default();
        // Stops with an error once the text is long enough.
        let _ = write!(text, "{value:?}");
        if field.name() == "message" {
            self.message = text.text;
        } else {
            self.add(field, FieldValue::Text(text.text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded::default();
        let _ = text.write_str(value);
        if field.name() == "message" {
            self.message = text.text;
        } else {
            self.add(field, FieldValue::Text(text.text));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, FieldValue::Number(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, FieldValue::Number(value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, FieldValue::Truth(value));
    }
}

/// A text that takes no more than [`LONGEST_VALUE`] bytes.
#[derive(Default)]
struct Bounded {
    text: String,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = LONGEST_VALUE.saturating_sub(self.text.len());
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        self.text
            .push_str(more.get(..more.floor_char_boundary(room)).unwrap_or_default());
        self.text.push('…');
        Err(fmt::Error)
    }
}

fn text_line(now_ms: i64, metadata: &Metadata<'_>, parts: &Parts, suppressed: u64) -> String {
    let mut line = String::with_capacity(128);
    let target = metadata
        .target()
        .strip_prefix("barnabas::")
        .unwrap_or(metadata.target());
    // Writing to a String cannot fail.
    let _ = write!(line, "{} {:5} {target}: ", Time(now_ms), metadata.level());
    push_escaped(&mut line, &parts.message);
    for (name, value) in &parts.fields {
        let _ = write!(line, " {name}=");
        match value {
            FieldValue::Text(text) => push_escaped(&mut line, text),
            FieldValue::Number(number) => {
                let _ = write!(line, "{number}");
            }
            FieldValue::Truth(truth) => {
                let _ = write!(line, "{truth}");
            }
        }
    }
    if suppressed > 0 {
        let _ = write!(line, " ({suppressed} more like this were left out)");
    }
    line.push('\n');
    line
}

/// The text with what a terminal does not show as itself escaped, so that nobody forges lines, colours a terminal, or shows
/// names in another order or with less in them than they have.
fn push_escaped(line: &mut String, text: &str) {
    for character in text.chars() {
        if is_shown(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
}

fn is_shown(character: char) -> bool {
    match character {
        ' '..='~' => true,
        // Letters and symbols by their class, and blank.
        '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => false,
        // One of itself for what is printable.
        _ => character.escape_debug().len() == 1,
    }
}

fn json_line(now_ms: i64, metadata: &Metadata<'_>, parts: &Parts, suppressed: u64) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), Time(now_ms).to_string().into());
    object.insert("level".to_owned(), metadata.level().as_str().into());
    object.insert("target".to_owned(), metadata.target().into());
    object.insert("message".to_owned(), parts.message.as_str().into());
    let fields: serde_json::Map<_, _> = parts
        .fields
        .iter()
        .map(|(name, value)| {
            let value = match value {
                FieldValue::Text(text) => text.as_str().into(),
                FieldValue::Number(number) => serde_json::Value::Number(number.clone()),
                FieldValue::Truth(truth) => (*truth).into(),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    if !fields.is_empty() {
        object.insert("fields".to_owned(), fields.into());
    }
    if suppressed > 0 {
        object.insert("suppressed".to_owned(), suppressed.into());
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// A moment in UTC, as `2025-06-15T12:00:00.123Z`.
struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        // Years here begin in March, so that the leap day is a year's last one; eras have 400 years.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000
        )
    }
}

#[cfg(test)]
#[path = "logging_test.rs"]
mod tests;
