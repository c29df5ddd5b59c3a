//! Ids for new members: the client's id or the instance's id, a dash, and a random UUID (`GroupMetadata.generateMemberId`).

use std::fmt::Write;

use crate::base::random::Random;
use crate::wire::text::Text;

/// An id for a member of the client `client_id`, or of the static instance `group_instance_id`.
pub(in crate::group) fn new_member_id(
    client_id: &str,
    group_instance_id: Option<&str>,
    random: &Random,
) -> Text {
    let mut id = String::from(group_instance_id.unwrap_or(client_id));
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
}
