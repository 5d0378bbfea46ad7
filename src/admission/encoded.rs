//! A patch in base64. Two thirds of a patch are the lock script, always the same: that part is encoded once.
//!
//! Base64 takes three bytes at a time, so the script looks one of three ways, by where its groups of three begin.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::patch::container::QUOTED_SCRIPT;

/// The script without its first 0, 1 or 2 bytes and without what does not fill a group at its end.
static SCRIPT: LazyLock<[Known; 3]> = LazyLock::new(|| {
    [0, 1, 2].map(|skipped| {
        let groups = (QUOTED_SCRIPT.len() - skipped) / 3 * 3;
        Known { bytes: groups, text: STANDARD.encode(&QUOTED_SCRIPT.as_bytes()[skipped..skipped + groups]) }
    })
});

struct Known {
    /// How many bytes of the script it stands for.
    bytes: usize,
    text: String,
}

/// Bytes that [`append`] adds.
pub(super) fn size(patch: &str) -> usize {
    patch.len().div_ceil(3) * 4
}

/// Appends a patch in base64.
pub(super) fn append(out: &mut Vec<u8>, patch: &str) {
    let Some(at) = script_in(patch) else { return encode(out, patch.as_bytes()) };
    let skipped = (3 - at % 3) % 3;
    let known = &SCRIPT[skipped];
    encode(out, &patch.as_bytes()[..at + skipped]);
    out.extend_from_slice(known.text.as_bytes());
    encode(out, &patch.as_bytes()[at + skipped + known.bytes..]);
}

/// Where the script stands in a patch.
fn script_in(patch: &str) -> Option<usize> {
    let at = memchr::memmem::find(patch.as_bytes(), &QUOTED_SCRIPT.as_bytes()[..24])?;
    patch[at..].starts_with(QUOTED_SCRIPT.as_str()).then_some(at)
}

fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[at..]).expect("there is room for it");
}

#[cfg(test)]
mod tests {
    use super::{QUOTED_SCRIPT, STANDARD, append, size};
    use base64::Engine as _;

    fn is_plain_base64(patch: &str) -> bool {
        let mut out = b"x".to_vec();
        append(&mut out, patch);
        out.len() == 1 + size(patch) && out[1..] == *STANDARD.encode(patch).as_bytes()
    }

    #[test]
    fn the_script_is_encoded_like_everything_else_wherever_it_stands() {
        for before in ["", "1", "12", "123", "[é"] {
            for after in ["", "1", "12", "123", "]"] {
                assert!(
                    is_plain_base64(&format!("{before}{}{after}", *QUOTED_SCRIPT)),
                    "{before:?} {after:?}"
                );
                assert!(is_plain_base64(&format!("{before}{after}")), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn another_script_is_encoded_as_it_is() {
        let other = QUOTED_SCRIPT.replace("SIGTERM", "SIGKILL");
        assert!(is_plain_base64(&other));
        assert!(is_plain_base64(&format!("{other}{}", *QUOTED_SCRIPT)));
        assert!(is_plain_base64(&QUOTED_SCRIPT[..QUOTED_SCRIPT.len() - 1]));
    }
}
