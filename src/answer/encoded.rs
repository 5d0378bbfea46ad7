//! A patch in base64. Two thirds of a patch are the lock script, always the same: that part is encoded once.
//!
//! Base64 takes three bytes at a time, so the script looks one of three ways, by where its groups of three begin.

use std::sync::LazyLock;

use base64::Engine as _;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::STANDARD as BASE64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::{Simd, general_purpose::PAD};

use crate::migration::Scripted;
use crate::migration::scripted::QUOTED_SCRIPT;

/// The alphabet of RFC 4648 with padding, which is what Go reads into `[]byte`; by vector instructions where the
/// library has them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// The script without its first 0, 1 or 2 bytes and without what does not fill a group at its end.
static SCRIPT: LazyLock<[Known; 3]> = LazyLock::new(|| {
    [0, 1, 2].map(|skipped| {
        let groups = (QUOTED_SCRIPT.len() - skipped) / 3 * 3;
        Known { bytes: groups, text: BASE64.encode(&QUOTED_SCRIPT.as_bytes()[skipped..skipped + groups]) }
    })
});

struct Known {
    /// How many bytes of the script it stands for.
    bytes: usize,
    text: String,
}

/// Bytes that [`append`] adds.
pub(super) fn size(patch: &Scripted) -> usize {
    patch.len().div_ceil(3) * 4
}

/// Appends a patch in base64.
pub(super) fn append(out: &mut Vec<u8>, patch: &Scripted) {
    let (before, after) = patch.around_script();
    let Some(after) = after else { return encode(out, before.as_bytes()) };
    let script = QUOTED_SCRIPT.as_bytes();
    let skipped = (3 - before.len() % 3) % 3;
    let known = &SCRIPT[skipped];
    encode_joined(out, before.as_bytes(), &script[..skipped]);
    out.extend_from_slice(known.text.as_bytes());
    encode_joined(out, &script[skipped + known.bytes..], after.as_bytes());
}

/// Appends two pieces as if they were one.
fn encode_joined(out: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    let (groups, rest) = first.split_at(first.len() / 3 * 3);
    encode(out, groups);
    let (fills, second) = second.split_at(((3 - rest.len()) % 3).min(second.len()));
    let mut seam = [0; 3];
    seam[..rest.len()].copy_from_slice(rest);
    seam[rest.len()..rest.len() + fills.len()].copy_from_slice(fills);
    encode(out, &seam[..rest.len() + fills.len()]);
    encode(out, second);
}

fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[at..]).expect("there is room for it");
}

#[cfg(test)]
mod tests {
    use super::{append, encode_joined, size};
    use crate::migration::Scripted;
    use crate::migration::call::SCRIPT;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn is_plain_base64(patch: &Scripted) -> bool {
        let mut out = b"x".to_vec();
        append(&mut out, patch);
        out.len() == 1 + size(patch) && out[1..] == *STANDARD.encode(patch.to_string()).as_bytes()
    }

    #[test]
    fn the_script_is_encoded_like_everything_else_wherever_it_stands() {
        for before in ["", "1", "12", "123", "[é"] {
            for after in ["", "1", "12", "123", "]"] {
                let mut patch = Scripted::from(before);
                assert!(is_plain_base64(&patch), "{before:?}");
                patch.push_quoted(SCRIPT);
                patch.push(after);
                assert!(is_plain_base64(&patch), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn vector_instructions_encode_like_plain_ones() {
        // They take what is long in blocks, and leave a rest of any length.
        for length in 0..300 {
            let text: String = (0..length).map(|n| char::from(b' ' + (n * 7 % 95) as u8)).collect();
            assert!(is_plain_base64(&Scripted::from(text.as_str())), "{length}");
        }
    }

    #[test]
    fn pieces_are_encoded_as_one() {
        for (first, second) in
            [("", ""), ("a", ""), ("a", "b"), ("ab", "c"), ("abc", ""), ("abcd", "efghi"), ("ab", "")]
        {
            let mut out = Vec::new();
            encode_joined(&mut out, first.as_bytes(), second.as_bytes());
            assert_eq!(out, STANDARD.encode(format!("{first}{second}")).into_bytes(), "{first} {second}");
        }
    }
}
