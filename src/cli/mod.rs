//! L9, arguments and subcommands; `broker` wires the rooms together.

pub mod broker;
mod config;
mod dump;
mod log_limits;
pub mod logging;
mod open_files;
pub mod options;
mod serve;

use std::process::ExitCode;

use clap::Parser;

/// A Kafka broker in one binary. Without a command it serves: a broker on 127.0.0.1:9092 with its data under ./data.
#[derive(Parser, Debug)]
#[command(name = "barnabas", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: options::Options,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run a broker until Ctrl-C, SIGTERM or SIGHUP
    Serve(options::Options),
    /// Show the configuration keys
    Config(config::Arguments),
    /// Show and check log segments, indexes, snapshots, checkpoints and the other files of a log directory
    Dump(dump::Dump),
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve::run(&arguments.options),
        Some(Command::Serve(options)) => serve::run(&options),
        Some(Command::Config(arguments)) => config::run(&arguments),
        Some(Command::Dump(dump)) => dump.run(),
    }
}
