//! Which Prefect an image holds, where its tag says so.

/// A version as far as a tag gives it: `3-latest` says 3, `2.20.11-python3.12` says all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// 2 or 3.
    pub major: u32,
    /// The minor version, unless the tag moves within the major one.
    pub minor: Option<u32>,
    /// The patch, unless the tag moves within the minor version.
    pub patch: Option<u32>,
}

/// One release of Prefect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// The Prefect in an image of a repository that ends in `prefecthq/prefect`; `None` for other images, for
    /// references without a tag, and for tags that are no version.
    pub fn of_image(image: &str) -> Option<Version> {
        let name = image.split('@').next().unwrap_or_default();
        let (repository, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
        let official = repository == "prefecthq/prefect" || repository.ends_with("/prefecthq/prefect");
        if official { Version::of_tag(tag) } else { None }
    }

    fn of_tag(tag: &str) -> Option<Version> {
        let number = tag.split('-').next().unwrap_or_default();
        let mut parts = number.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next().map(leading_number);
        // `2.0b9`: a pre-release of 2.0.0.
        let pre_release = matches!(minor, Some((Some(_), true)));
        let patch = parts.next().and_then(|part| leading_number(part).0);
        Some(Version {
            major,
            minor: minor.and_then(|(number, _)| number),
            patch: if pre_release { Some(0) } else { patch },
        })
    }

    /// Whether every release the tag can stand for is older than `major.minor.patch`.
    pub fn is_before(self, major: u32, minor: u32, patch: u32) -> bool {
        (self.major, self.minor.unwrap_or(u32::MAX), self.patch.unwrap_or(u32::MAX)) < (major, minor, patch)
    }

    /// Whether every release the tag can stand for is older than `release`.
    pub fn is_older_than(self, Release(major, minor, patch): Release) -> bool {
        self.is_before(major, minor, patch)
    }

    /// Whether every release the tag can stand for is `release` or newer.
    pub fn is_as_new_as(self, Release(major, minor, patch): Release) -> bool {
        self.is_at_least(major, minor, patch)
    }

    /// Whether every release the tag can stand for is this one or newer.
    pub fn is_at_least(self, major: u32, minor: u32, patch: u32) -> bool {
        (self.major, self.minor.unwrap_or(0), self.patch.unwrap_or(0)) >= (major, minor, patch)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.major)?;
        if let Some(minor) = self.minor {
            write!(f, ".{minor}")?;
            if let Some(patch) = self.patch {
                write!(f, ".{patch}")?;
            }
        }
        Ok(())
    }
}

/// The digits at the start, and whether something follows them.
fn leading_number(text: &str) -> (Option<u32>, bool) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), end < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_official_tags() {
        for (image, version) in [
            ("prefecthq/prefect:3.0.10-python3.12", "3.0.10"),
            ("docker.io/prefecthq/prefect:3-latest", "3"),
            ("mirror:5000/prefecthq/prefect:2.20.11@sha256:00", "2.20.11"),
            ("prefecthq/prefect:3.0.0rc2-python3.12", "3.0.0"),
            ("prefecthq/prefect:2.0b9-python3.9", "2.0.0"),
            ("prefecthq/prefect:3.1", "3.1"),
        ] {
            assert_eq!(Version::of_image(image).unwrap().to_string(), version, "{image}");
        }
        for image in [
            "prefecthq/prefect",
            "prefecthq/prefect:latest",
            "acme/prefect:3.0.1",
            "prefecthq/prefect-dev:3",
            "h:5/prefecthq/prefect",
        ] {
            assert_eq!(Version::of_image(image), None, "{image}");
        }
    }

    #[test]
    fn a_moving_tag_is_not_older_than_what_it_may_become() {
        let of = |tag: &str| Version::of_tag(tag).unwrap();
        assert!(of("3.0.10").is_before(3, 0, 11));
        assert!(of("2-latest").is_before(3, 0, 11));
        assert!(!of("3.0").is_before(3, 0, 11));
        assert!(!of("3-latest").is_before(3, 0, 11));
        assert!(of("3-latest").is_at_least(2, 14, 0));
        assert!(!of("2-latest").is_at_least(2, 14, 0));
    }
}
