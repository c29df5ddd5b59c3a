//! Which segments become one (Kafka: `Cleaner.groupSegmentsBySize`).

use crate::base::ids::Offset;
use crate::storage::segment::LARGEST_RELATIVE_OFFSET;

/// What counts of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// Its base offset.
    pub base: Offset,
    /// The base offset of the next one, or where the round ends.
    pub end: Offset,
    /// Bytes of its `.log`.
    pub bytes: u64,
    /// Bytes of its offset index.
    pub offset_index_bytes: u64,
    /// Bytes of its time index.
    pub time_index_bytes: u64,
}

/// The most that a group may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// `segment.bytes`.
    pub bytes: u64,
    /// `segment.index.bytes`, for each index.
    pub index_bytes: u64,
}

/// How many of `segments`, from the first on, become one segment: at least one, and no more than an index of the first
/// one's base can name.
pub(super) fn first_group(segments: &[Extent], limits: Limits) -> usize {
    let Some(first) = segments.first() else { return 0 };
    let mut sum = *first;
    let mut count = 1;
    for next in segments.iter().skip(1) {
        sum.bytes += next.bytes;
        sum.offset_index_bytes += next.offset_index_bytes;
        sum.time_index_bytes += next.time_index_bytes;
        let fits = sum.bytes <= limits.bytes
            && sum.offset_index_bytes <= limits.index_bytes
            && sum.time_index_bytes <= limits.index_bytes;
        // An empty one has no offset to be named; were it left out, one would stay every 2^31 offsets.
        let nameable = next.bytes == 0 || next.end.plus(-1).since(first.base) <= LARGEST_RELATIVE_OFFSET;
        if !fits || !nameable {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 1000,
        index_bytes: 100,
    };

    fn extents(of: &[(i64, u64)]) -> Vec<Extent> {
        of.iter()
            .enumerate()
            .map(|(number, (base, bytes))| Extent {
                base: Offset(*base),
                end: Offset(of.get(number + 1).map_or(base + 10, |(next, _)| *next)),
                bytes: *bytes,
                offset_index_bytes: 8,
                time_index_bytes: 12,
            })
            .collect()
    }

    #[test]
    fn segments_are_grouped_up_to_the_size_of_one() {
        assert_eq!(first_group(&[], LIMITS), 0);
        assert_eq!(first_group(&extents(&[(0, 5000), (10, 1)]), LIMITS), 1);
        assert_eq!(first_group(&extents(&[(0, 500), (10, 500), (20, 1)]), LIMITS), 2);
        let many: Vec<(i64, u64)> = (0..50).map(|number| (number * 10, 1)).collect();
        assert_eq!(first_group(&extents(&many), LIMITS), 100 / 12);
    }

    #[test]
    fn a_gap_over_two_to_the_31_ends_a_group_unless_the_segment_is_empty() {
        let far = i64::from(i32::MAX);
        assert_eq!(first_group(&extents(&[(7, 1), (20, 1), (far + 8, 1)]), LIMITS), 2);
        assert_eq!(first_group(&extents(&[(7, 1), (far, 1)]), LIMITS), 1);
        assert_eq!(first_group(&extents(&[(7, 1), (far - 10, 1)]), LIMITS), 2);
        assert_eq!(
            first_group(&extents(&[(7, 1), (far + 8, 0), (far * 2, 0)]), LIMITS),
            3
        );
    }
}
