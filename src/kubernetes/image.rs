//! Image references, as far as pinning and version questions need them: repository, tag, digest.
//!
//! Grammar: distribution/reference (`[registry/]repository[:tag][@digest]`). Unlike the library parsers this keeps
//! "no tag" and `:latest` apart, which is what a pinning rule is about; `oci-spec` is the oracle of the tests.

/// A parsed image reference, borrowed from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRef<'a> {
    /// Registry and repository as written: `ghcr.io/org/name`, `prefecthq/prefect`.
    pub repository: &'a str,
    /// The tag, if one is written.
    pub tag: Option<&'a str>,
    /// The digest (`sha256:…`), if one is written.
    pub digest: Option<&'a str>,
}

impl<'a> ImageRef<'a> {
    /// Splits a reference. `None` for what no registry could resolve: empty, blanks, an empty tag or digest.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest).filter(|digest| is_digest(digest))?.into()),
            None => (text, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            // A colon before the last slash belongs to the registry's port.
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        };
        let tag_is_good =
            tag.is_none_or(|tag| !tag.is_empty() && tag.len() <= 128 && tag.chars().all(is_tag_char));
        let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
        let path_is_good = path.is_empty() && !repository.ends_with('/') || path.split('/').all(is_component);
        let good = is_host(host) && path_is_good && tag_is_good;
        good.then_some(ImageRef { repository, tag, digest })
    }

    /// How an image is named in a message: in backticks, or not at all when it is no reference (it may hold a
    /// registry's password then).
    pub fn shown(text: &str, limit: usize) -> String {
        match ImageRef::parse(text) {
            Some(_) => format!("`{}`", crate::text::clip(text, limit)),
            None => "an image that is no reference".to_owned(),
        }
    }

    /// The last two path segments, `prefecthq/prefect`, whatever mirror stands before them.
    pub fn is_official_prefect(&self) -> bool {
        self.repository == "prefecthq/prefect" || self.repository.ends_with("/prefecthq/prefect")
    }
}

fn is_tag_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn is_component(part: &str) -> bool {
    !part.is_empty() && part.chars().all(is_tag_char)
}

/// The first segment: a registry with a port, or the name itself.
fn is_host(part: &str) -> bool {
    let (name, port) = part.rsplit_once(':').unwrap_or((part, "0"));
    let ipv6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_is_good =
        ipv6.map_or_else(|| is_component(name), |ip| ip.chars().all(|c| c.is_ascii_hexdigit() || c == ':'));
    name_is_good && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '_' | '-');
        !algorithm.is_empty()
            && algorithm.chars().all(plain)
            && !hex.is_empty()
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::ImageRef;

    #[test]
    fn splits_repository_tag_and_digest() {
        let parse = |text| ImageRef::parse(text).map(|i| (i.repository, i.tag, i.digest));
        assert_eq!(parse("prefecthq/prefect"), Some(("prefecthq/prefect", None, None)));
        assert_eq!(parse("localhost:5000/p:1"), Some(("localhost:5000/p", Some("1"), None)));
        assert_eq!(parse("localhost:5000/p"), Some(("localhost:5000/p", None, None)));
        assert_eq!(parse("a/b:1@sha256:ab"), Some(("a/b", Some("1"), Some("sha256:ab"))));
        assert_eq!(parse("[::1]:5000/p:1"), Some(("[::1]:5000/p", Some("1"), None)));
        let passwords = ["https://u:pw@r/p:1", "u:pw@r/p:1", "u:pw/p:1", "u@r/p"];
        for bad in
            ["", "p:", "a b", "p@", "p@sha256:", "/p", "p/", "a//b", "p\n"].into_iter().chain(passwords)
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn agrees_with_the_reference_library_on_tag_and_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for repository in
            ["prefect", "prefecthq/prefect", "ghcr.io/a/b", "localhost:5000/p", "r.io:80/a/b-c/d_e"]
        {
            for tag in [None, Some("3.4.20-python3.12"), Some("latest")] {
                for digest in [None, Some(digest.as_str())] {
                    let text = format!(
                        "{repository}{}{}",
                        tag.map(|t| format!(":{t}")).unwrap_or_default(),
                        digest.map(|d| format!("@{d}")).unwrap_or_default()
                    );
                    let ours = ImageRef::parse(&text).expect("a good reference");
                    let oracle: oci_spec::distribution::Reference = text.parse().expect("a good reference");
                    assert_eq!(ours.tag.or(digest.is_none().then_some("latest")), oracle.tag(), "{text}");
                    assert_eq!(ours.digest, oracle.digest(), "{text}");
                }
            }
        }
    }

    #[test]
    fn knows_the_official_image_behind_a_mirror() {
        let official = |text| ImageRef::parse(text).is_some_and(|i| i.is_official_prefect());
        assert!(official("prefecthq/prefect:3"));
        assert!(official("docker.io/prefecthq/prefect:3"));
        assert!(official("mirror.corp:5000/hub/prefecthq/prefect@sha256:ab"));
        assert!(!official("evilprefecthq/prefect"));
        assert!(!official("prefecthq/prefect-worker"));
    }
}
