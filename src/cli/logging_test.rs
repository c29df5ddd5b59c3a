use super::*;
use crate::cli::log_limits::BURST;

/// What was written, for a test to read.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn logged(levels: &LogLevels, format: LogFormat, work: impl FnOnce()) -> Vec<String> {
    let written = Written::default();
    let output = Arc::new(Output::Direct(Mutex::new(Box::new(written.clone()))));
    let layer = LogLayer::new(levels.clone(), format, output, Arc::default());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    written.lines()
}

/// The line without its time.
fn untimed(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

#[test]
fn rooms_have_levels_that_change_at_run_time() {
    let levels = LogLevels::parse("info,storage=debug").unwrap();
    let speak = || {
        tracing::debug!(target: "barnabas::storage::log", "one");
        tracing::debug!(target: "barnabas::net", "two");
        tracing::info!(target: "barnabas::net", "three");
    };
    let lines = logged(&levels, LogFormat::Text, || {
        speak();
        levels.set("net", "DEBUG").unwrap();
        levels.set("storage", "ERROR").unwrap();
        speak();
    });
    let lines: Vec<_> = lines.iter().map(|line| untimed(line)).collect();
    assert_eq!(
        lines,
        [
            "DEBUG storage::log: one",
            "INFO  net: three",
            "DEBUG net: two",
            "INFO  net: three"
        ]
    );
}

#[test]
fn a_line_is_one_line_and_bounded() {
    let levels = LogLevels::default();
    let long = "é".repeat(LONGEST_VALUE);
    let lines = logged(&levels, LogFormat::Text, || {
        tracing::info!(target: "barnabas::net", client = "a\nb\u{1b}[31m", count = 3, "said {}", "x\r\ny");
        tracing::info!(target: "barnabas::net", id = %long, "long");
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(
        untimed(&lines[0]),
        "INFO  net: said x\\r\\ny client=a\\nb\\u{1b}[31m count=3"
    );
    assert!(lines[1].len() < LONGEST_VALUE + 100);
}

#[test]
fn json_lines_are_objects() {
    let lines = logged(&LogLevels::default(), LogFormat::Json, || {
        tracing::warn!(target: "barnabas::net", peer = "a\"b", port = 9092, closed = true, "gone");
    });
    let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(object["level"], "WARN");
    assert_eq!(object["message"], "gone");
    assert_eq!(object["target"], "barnabas::net");
    assert_eq!(
        object["fields"],
        serde_json::json!({"peer": "a\"b", "port": 9092, "closed": true})
    );
}

#[test]
fn a_place_that_logs_too_often_is_cut_and_counted() {
    let lines = logged(&LogLevels::default(), LogFormat::Text, || {
        for number in 0..2 * BURST {
            tracing::info!(target: "barnabas::net", number, "again");
        }
        tracing::info!(target: "barnabas::net", "another place");
    });
    // The window could end within the loop only if the test took seconds.
    assert_eq!(lines.len(), BURST as usize + 1);
    assert!(lines.last().unwrap().ends_with("another place"));
}

/// What a log's thread writes for these messages, when one place has left out two lines in a window that began at
/// `window_start_ms`.
fn written_by_thread(window_start_ms: i64, messages: Vec<Message>, format: LogFormat) -> Vec<String> {
    let limits = Arc::new(Mutex::<Limits>::default());
    let captured = Arc::new(Mutex::new(None));
    let capture = Capture(Arc::clone(&captured));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(capture), || {
        tracing::warn!(target: "barnabas::net", "refused");
    });
    let metadata = captured.lock().unwrap().unwrap();
    for _ in 0..BURST + 2 {
        let _ = open(&limits).admit(metadata, window_start_ms);
    }
    open(&limits).wrote(metadata, "refused".to_owned());
    let (sender, receiver) = sync_channel(10);
    messages
        .into_iter()
        .for_each(|message| sender.send(message).unwrap());
    drop(sender);
    let mut written = Written::default();
    write_lines(&receiver, &mut written, &limits, format);
    written.lines()
}

struct Capture(Arc<Mutex<Option<&'static Metadata<'static>>>>);

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        *self.0.lock().unwrap() = Some(event.metadata());
    }
}

#[test]
fn what_was_left_out_is_told_when_its_window_ends_though_no_line_follows() {
    let long_ago_ms = clock::now_ms() - WINDOW_MS;
    let lines = written_by_thread(long_ago_ms, vec![Message::LeavesOut], LogFormat::Text);
    let lines: Vec<_> = lines.iter().map(|line| untimed(line)).collect();
    assert_eq!(lines, ["WARN  net: 2 more like \"refused\" were left out"]);
    let lines = written_by_thread(clock::now_ms(), vec![Message::LeavesOut], LogFormat::Text);
    assert!(lines.is_empty(), "the window has not ended: {lines:?}");
}

#[test]
fn what_was_left_out_is_told_at_the_end_of_the_log() {
    let (done, told) = sync_channel(1);
    let lines = written_by_thread(clock::now_ms(), vec![Message::Flushed(done)], LogFormat::Json);
    told.try_recv().unwrap();
    let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((lines.len(), &object["suppressed"]), (1, &serde_json::json!(2)));
    assert_eq!(object["target"], "barnabas::net");
}

#[test]
fn lines_that_do_not_fit_the_queue_are_counted() {
    let (sender, receiver) = sync_channel(1);
    let output = Output::Queue {
        sender,
        dropped: AtomicU64::new(0),
        format: LogFormat::Text,
    };
    for line in ["a\n", "b\n", "c\n"] {
        output.line(line.to_owned());
    }
    let next = || match receiver.try_recv() {
        Ok(Message::Line(line)) => line,
        _ => panic!("no line"),
    };
    assert_eq!(next(), "a\n");
    output.line("d\n".to_owned());
    assert_eq!(
        next(),
        "(2 lines lost: they came faster than they could be written)\nd\n"
    );
}

#[test]
fn times_are_utc() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_750_000_000_123, "2025-06-15T15:06:40.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(Time(ms).to_string(), text);
    }
}

#[test]
fn lost_lines_are_told_in_the_format_of_the_others() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let (sender, receiver) = sync_channel(1);
        let output = Output::Queue {
            sender,
            dropped: AtomicU64::new(0),
            format,
        };
        for number in 0..3 {
            output.line(format!("{{\"number\":{number}}}\n"));
        }
        let next = || match receiver.try_recv().unwrap() {
            Message::Line(line) => line,
            _ => panic!("no line"),
        };
        assert_eq!(next(), "{\"number\":0}\n");
        output.line("{\"number\":3}\n".to_owned());
        let told = next();
        let (lost, line) = told.split_once('\n').unwrap();
        assert_eq!(line, "{\"number\":3}\n");
        match format {
            LogFormat::Text => {
                assert_eq!(
                    lost,
                    "(2 lines lost: they came faster than they could be written)"
                );
            }
            LogFormat::Json => {
                let object: serde_json::Value = serde_json::from_str(lost).unwrap();
                assert_eq!((&object["lost"], &object["level"]), (&2.into(), &"WARN".into()));
            }
        }
    }
}

#[test]
fn what_a_terminal_does_not_show_as_itself_is_escaped() {
    for hidden in [
        '\n',
        '\u{1b}',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{180e}',
        '\u{200b}',
        '\u{200e}',
        '\u{2028}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{2800}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{fff9}',
        '\u{1d173}',
        '\u{e0001}',
        '\u{e0041}',
    ] {
        assert!(!super::is_shown(hidden), "{hidden:?}");
    }
    for shown in [
        ' ', 'a', '"', '\'', '\\', '~', 'é', 'ß', 'ж', '中', 'ก', '😀', '§',
    ] {
        assert!(super::is_shown(shown), "{shown:?}");
    }
}
