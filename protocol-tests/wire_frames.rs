//! Prints a full body of every message in every version, as `FetchRequest 3 HEX`: input of scripts/check-wire.

use std::fmt::Write as _;
use std::io::Write as _;

use barnabas::wire::ApiKey;
use barnabas::wire::shape::generate::{self, Contents};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for key in ApiKey::all() {
        for version in key.stable_versions() {
            for (is_request, kind) in [(true, "Request"), (false, "Response")] {
                let Some(body) = generate::body(key, version, is_request, Contents::Full) else {
                    continue;
                };
                let mut hex = String::with_capacity(2 * body.len());
                for byte in body {
                    let _ = write!(hex, "{byte:02x}");
                }
                writeln!(out, "{key}{kind} {version} {hex}")?;
            }
        }
    }
    Ok(())
}
