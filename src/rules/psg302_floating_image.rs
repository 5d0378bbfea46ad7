//! PSG302: a tag that can mean another image tomorrow.

use super::Subject;
use crate::kubernetes::image::ImageRef;
use crate::rule::{Level, Report, Rule};
use crate::text::clip;

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG302",
    name: "floating-image",
    default: Level::Warn,
    since: "0.1.0",
    summary: "an image without tag or digest, or with a tag that moves",
    page: include_str!("psg302_floating_image.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    for server in &subject.servers {
        let Some(image) = ImageRef::parse(&server.container.image) else { continue };
        let Some(why) = floats(&image) else { continue };
        let what = format!("{why}: the migration and the server may pull different images");
        let help = "name a full version, such as `prefecthq/prefect:3.8.8-python3.12`, or a digest";
        report.add(&RULE, subject.place_of(server.at, "image"), what, help).about(&*server.container.image);
    }
}

/// Why the image can change under the same name, if it can.
fn floats(image: &ImageRef<'_>) -> Option<String> {
    match (image.digest, image.tag) {
        (Some(_), _) => None,
        (None, None) => Some("the image has no tag".to_owned()),
        (None, Some(tag)) if moves(tag) => Some(format!("the tag `{}` moves", clip(tag, 60))),
        (None, Some(_)) => None,
    }
}

/// `latest`, `3-latest`, `main`, and versions that name no patch release: `3`, `3.4`, `3-python3.12`.
fn moves(tag: &str) -> bool {
    let head = tag.split('-').next().unwrap_or(tag);
    let numbers = head.trim_start_matches('v').split('.');
    let is_version = numbers.clone().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let named = ["latest", "main", "master", "stable", "edge", "nightly", "dev", "develop"];
    tag.split('-').any(|part| named.contains(&part)) || (is_version && numbers.count() < 3 && head.len() < 5)
}

#[cfg(test)]
mod tests {
    use super::moves;

    #[test]
    fn tells_moving_tags_from_fixed_ones() {
        for tag in ["latest", "3-latest", "3-python3.12", "3.4", "3", "main", "2-latest-kubernetes", "3-dev"]
        {
            assert!(moves(tag), "{tag}");
        }
        for tag in
            ["3.4.20-python3.12", "3.8.8", "v1.2.3", "2.0b9", "sha-1234567", "20260101", "release-7f3a"]
        {
            assert!(!moves(tag), "{tag}");
        }
    }
}
