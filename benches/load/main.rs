//! The load generator: produces and fetches over the real protocol with as little work of its own as possible, so that
//! the broker is what is measured. It builds its frames once and patches them, and it knows just enough of the protocol
//! for one old, non-flexible version of each request.
//!
//! Called by scripts/bench and by the tests of real processes in compat/. Prints one JSON object on stdout.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a tool outside of the broker: an error ends it, and it uses real sockets and clocks by design

mod batch;
mod client;
mod codec;
mod commits;
mod fetch;
mod groups;
mod keyed;
mod many;
mod members;
mod offsets;
mod process;
mod produce;
mod start;
mod whole;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "load", about = "A load generator for Kafka brokers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send record batches, as fast as answers come (closed loop) or at a rate (open loop).
    Produce(produce::Options),
    /// Send records with keys, as a compacted topic gets them.
    Keyed(keyed::Options),
    /// Have many members join one group, and measure how long it takes behind the delay of its first rebalance.
    Groups(groups::Options),
    /// Commit offsets, each connection as the member of a group of its own.
    Commits(commits::Options),
    /// Write committed offsets into `__consumer_offsets`, as a broker keeps them, past its coordinator.
    Offsets(offsets::Options),
    /// Read whole partitions from their start, one after the other on each connection.
    Fetch(fetch::Options),
    /// Create a topic and wait until it has leaders.
    CreateTopic(client::CreateOptions),
    /// Create many topics in batched requests.
    CreateTopics(client::CreateManyOptions),
    /// Register many idempotent producers on one partition, one record each.
    Producers(produce::ProducerOptions),
    /// Start a broker, and measure the time from exec to its first Metadata answer that names a broker.
    Start(start::Options),
    /// Compress stdin to stdout in the framing that Kafka uses.
    Compress { codec: codec::Codec },
    /// Decompress stdin to stdout.
    Decompress { codec: codec::Codec },
}

fn main() {
    match Arguments::parse().command {
        Command::Produce(options) => produce::run(&options),
        Command::Keyed(options) => keyed::run(&options),
        Command::Groups(options) => groups::run(&options),
        Command::Commits(options) => commits::run(&options),
        Command::Offsets(options) => offsets::run(&options),
        Command::Fetch(options) => fetch::run(&options),
        Command::CreateTopic(options) => client::create_topic(&options),
        Command::CreateTopics(options) => client::create_topics(&options),
        Command::Producers(options) => produce::register_producers(&options),
        Command::Start(options) => start::run(&options),
        Command::Compress { codec } => codec::filter(|bytes| codec::compress(codec, bytes)),
        Command::Decompress { codec } => codec::filter(|bytes| codec::decompress(codec, bytes)),
    }
}
