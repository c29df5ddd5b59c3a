//! Time from exec to the first Metadata answer that names a broker, and resident memory then.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::batch::{Frame, Shape};
use crate::client::Client;
use crate::codec::Codec;
use crate::{offsets, process};

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long, default_value_t = 120)]
    timeout_seconds: u64,
    /// Wait also until each partition of these topics has a leader and tells its log end, and the last takes a record.
    #[arg(long, value_delimiter = ',')]
    topics: Vec<String>,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Wait also until the groups of `offsets`, or groups without offsets if it wrote none, are answered; then, with the
    /// clock stopped, look at each offset.
    #[arg(long)]
    await_groups: bool,
    #[command(flatten)]
    keys: offsets::Keys,
    /// Leave the broker running, and print its process id.
    #[arg(long)]
    keep: bool,
    /// Where the broker's stdout and stderr go.
    #[arg(long, default_value = "/dev/null")]
    log: String,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub fn run(options: &Options) {
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&options.log)
        .unwrap();
    let started = Instant::now();
    let mut child = Command::new(&options.command[0])
        .args(&options.command[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let deadline = started + Duration::from_secs(options.timeout_seconds);
    let named = || -> Option<Client> {
        let mut client = Client::connect(&options.bootstrap).ok()?;
        while client.metadata(None).ok()?.0 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(client)
    };
    let (mut answered, mut first_answer, mut asked) = (false, 0.0, None);
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if let Some(mut client) = named() {
            answered = true;
            first_answer = started.elapsed().as_secs_f64();
            let shape = Shape {
                record_size: 20,
                batch_bytes: 0,
                codec: Codec::None,
            };
            for topic in &options.topics {
                client.await_leaders(topic, options.partitions);
                for partition in 0..options.partitions {
                    client.list_offset(topic, partition, -1);
                }
                client.produce(Frame::new(topic, 1, &[options.partitions as usize - 1], shape, 1));
            }
            if options.await_groups {
                offsets::await_loaded(&mut client, &options.keys, deadline - Instant::now());
            }
            asked = Some(client);
            break;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    let seconds = started.elapsed().as_secs_f64();
    let pid = child.id();
    let resident_bytes = process::memory(pid, "VmRSS");
    let cpu_seconds = process::cpu_seconds(pid).map(|(user, system)| user + system);
    if let Some(mut client) = asked.filter(|_| options.await_groups) {
        offsets::check_all(&mut client, &options.keys);
    }
    println!(
        "{}",
        serde_json::json!({
            "answered": answered, "first_answer_seconds": first_answer, "seconds": seconds, "pid": pid,
            "resident_bytes": resident_bytes, "cpu_seconds": cpu_seconds,
        })
    );
    if options.keep && answered {
        return;
    }
    if child.try_wait().unwrap().is_none() {
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap();
    }
    if !answered {
        std::process::exit(1);
    }
}
