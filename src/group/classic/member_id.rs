//! Ids for new members: the client's id or the instance's id, a dash, and a random UUID (`GroupMetadata.generateMemberId`).
//!
//! Invariant: an id is a string of the protocol, however long the client's id is: one that is cut on its way into a record
//! or a response would be another member's.

use std::fmt::Write;

use crate::base::random::Random;
use crate::wire::reader::MAX_STRING_BYTES;
use crate::wire::text::Text;

/// What follows the name, with its dash.
const UUID_CHARACTERS: usize = 37;

/// An id for a member of the client `client_id`, or of the static instance `group_instance_id`.
pub(in crate::group) fn new_member_id(
    client_id: &str,
    group_instance_id: Option<&str>,
    random: &Random,
) -> Text {
    let name = group_instance_id.unwrap_or(client_id);
    let end = name.floor_char_boundary(MAX_STRING_BYTES - UUID_CHARACTERS);
    let mut id = String::from(name.get(..end).unwrap_or_default());
    // 8-4-4-4-12 digits, as Java writes a UUID.
    for (at, byte) in random.uuid().0.into_iter().enumerate() {
        if matches!(at, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        // Writing into a String does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    Text::from(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_kafkas() {
        let random = Random::from_seed(1);
        let id = new_member_id("client", None, &random);
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [6, 8, 4, 4, 4, 12]);
        assert!(id.starts_with("client-"));
        let fixed = new_member_id("client", Some("inst"), &random);
        assert!(fixed.starts_with("inst-"));
        assert_ne!(id.rsplit('-').next(), fixed.rsplit('-').next());
    }

    #[test]
    fn stays_within_what_a_string_may_be() {
        let random = Random::from_seed(1);
        for name in ["a", "ä", "\u{1F600}"].map(|letter| letter.repeat(40_000 / letter.len())) {
            let id = new_member_id(&name, None, &random);
            assert!(
                (MAX_STRING_BYTES - 3..=MAX_STRING_BYTES).contains(&id.len()),
                "{}",
                id.len()
            );
        }
    }
}
