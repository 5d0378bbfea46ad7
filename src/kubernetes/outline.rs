//! What lies around a pod template, as text: enough to tell whether an object concerns us.
//!
//! A review's object is stepped through once already, to tell where it ends and that it is JSON. What is wanted here
//! is noted on that way (`admission::compact`); of any other text it is found afterwards.

use crate::json::cursor::Cursor;
use crate::json::{Source, Unreadable};

/// Texts of the members of an object that are read beside its template; `None` where the key is absent. Of a key that
/// stands twice the last one counts.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outline<'a> {
    /// `metadata.deletionTimestamp`.
    pub(super) deletion_timestamp: Option<&'a str>,
    /// `metadata.ownerReferences`.
    pub(super) owner_references: Option<&'a str>,
    /// `spec.replicas`.
    pub(super) replicas: Option<&'a str>,
    /// `spec.template`.
    pub(super) template: Option<&'a str>,
    /// `spec.strategy`.
    pub(super) strategy: Option<&'a str>,
    /// `spec.volumeClaimTemplates`.
    pub(super) volume_claim_templates: Option<&'a str>,
}

/// The members of an object that are looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `metadata`.
    Metadata,
    /// `spec`.
    Spec,
}

impl Part {
    /// The part under a key of the object.
    pub(crate) fn under(key: &str) -> Option<Part> {
        match key {
            "metadata" => Some(Part::Metadata),
            "spec" => Some(Part::Spec),
            _ => None,
        }
    }
}

impl<'a> Outline<'a> {
    /// Where the text of this member of a part goes, if it is wanted.
    pub(crate) fn slot(&mut self, part: Part, key: &str) -> Option<&mut Option<&'a str>> {
        Some(match (part, key) {
            (Part::Metadata, "deletionTimestamp") => &mut self.deletion_timestamp,
            (Part::Metadata, "ownerReferences") => &mut self.owner_references,
            (Part::Spec, "replicas") => &mut self.replicas,
            (Part::Spec, "template") => &mut self.template,
            (Part::Spec, "strategy") => &mut self.strategy,
            (Part::Spec, "volumeClaimTemplates") => &mut self.volume_claim_templates,
            _ => return None,
        })
    }

    /// Finds the members in an object's text, which is known to be well-formed.
    ///
    /// # Errors
    /// When the object, its `metadata` or its `spec` is something else than an object.
    pub(super) fn read(json: &'a str) -> Result<Self, Unreadable> {
        let mut outline = Outline::default();
        members(".", &mut Cursor::new(json), |key, at| match Part::under(key) {
            None => Ok(()),
            Some(part) => members(key, at, |inner, at| {
                if let Some(slot) = outline.slot(part, inner) {
                    *slot = at.value();
                }
                Ok(())
            }),
        })?;
        Ok(outline)
    }
}

fn members<'a>(
    path: &str,
    at: &mut Cursor<'a>,
    visit: impl FnMut(&str, &mut Cursor<'a>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let no_object = || Unreadable { path: path.to_owned(), problem: "should be an object".to_owned() };
    at.members(visit).unwrap_or_else(|| Err(no_object()))
}
