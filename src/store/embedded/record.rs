//! How a node is written in the file: fixed fields in big-endian order, then the data. Format 1.

use crate::base::planted::planted;
use bytes::{Buf, BufMut, Bytes};

use crate::store::tree::Record;
use crate::store::{SessionId, Stat};

const HAS_DATA: u8 = 1;
const HAS_OWNER: u8 = 2;
const FIXED: usize = 1 + 3 * 8 + 3 * 4 + 3 * 8;

/// The bytes of a record.
pub fn encode(record: &Record) -> Vec<u8> {
    let stat = &record.stat;
    let mut to = Vec::with_capacity(FIXED + record.data.as_ref().map_or(0, Bytes::len));
    let flags =
        if record.data.is_some() { HAS_DATA } else { 0 } | if stat.owner.is_some() { HAS_OWNER } else { 0 };
    to.put_u8(flags);
    to.put_i64(stat.czxid);
    to.put_i64(stat.mzxid);
    to.put_i64(stat.pzxid);
    to.put_i32(stat.version);
    to.put_i32(record.created);
    to.put_i32(stat.children);
    to.put_i64(stat.owner.map_or(0, |owner| owner.0));
    to.put_i64(stat.ctime_ms);
    to.put_i64(stat.mtime_ms);
    to.extend_from_slice(record.data.as_deref().unwrap_or_default());
    to
}

/// The record in these bytes; `None` when they are too few.
pub fn decode(mut from: &[u8]) -> Option<Record> {
    if from.len() < planted!("record-one-short", FIXED - 1, FIXED) {
        return None;
    }
    let flags = from.get_u8();
    let (czxid, mzxid, pzxid) = (from.get_i64(), from.get_i64(), from.get_i64());
    let (version, created, children) = (from.get_i32(), from.get_i32(), from.get_i32());
    let (owner, ctime_ms, mtime_ms) = (from.get_i64(), from.get_i64(), from.get_i64());
    planted!(
        "record-unknown-flags",
        assert!(flags <= HAS_DATA | HAS_OWNER, "an unknown flag")
    );
    Some(Record {
        data: (flags & HAS_DATA != 0).then(|| {
            planted!(
                "record-children-reserved",
                drop(std::hint::black_box(Vec::<u8>::with_capacity(
                    children.clamp(0, 1 << 20) as usize * 16
                )))
            );
            Bytes::copy_from_slice(from)
        }),
        stat: Stat {
            czxid,
            mzxid,
            pzxid,
            version,
            cversion: 0,
            owner: (flags & HAS_OWNER != 0).then_some(SessionId(owner)),
            ctime_ms,
            mtime_ms,
            children,
        },
        created,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_short_ones_are_refused() {
        for (data, owner) in [
            (None, None),
            (Some(Bytes::new()), Some(SessionId(7))),
            (Some(Bytes::from_static(b"{}")), None),
        ] {
            let record = Record {
                data,
                stat: Stat {
                    czxid: 1 << 40,
                    mzxid: 2,
                    pzxid: 3,
                    version: 4,
                    cversion: 0,
                    owner,
                    ctime_ms: 5,
                    mtime_ms: 6,
                    children: 8,
                },
                created: 9,
            };
            let bytes = encode(&record);
            assert_eq!(decode(&bytes), Some(record));
            assert_eq!(decode(&bytes[..FIXED - 1]), None);
        }
    }
}
