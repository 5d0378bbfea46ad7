//! The parts of a container that are copied or compared as they stand in the manifest, byte for byte.

use super::scan::{self, Cursor};

/// Texts of members of one container; `None` where the key is absent or `null`. Not for printing: variables may hold
/// passwords.
#[derive(Clone, Copy, Default)]
pub struct Verbatim<'a> {
    /// `envFrom`.
    pub env_from: Option<&'a str>,
    /// `env`.
    pub env: Option<&'a str>,
    /// `resources`.
    pub resources: Option<&'a str>,
    /// `volumeMounts`.
    pub volume_mounts: Option<&'a str>,
    /// `volumeDevices`.
    pub volume_devices: Option<&'a str>,
    /// `securityContext`.
    pub security_context: Option<&'a str>,
}

impl<'a> Verbatim<'a> {
    /// Finds them in the container that comes next, which is known to be well-formed.
    pub(super) fn read(container: &mut Cursor<'a>) -> Self {
        let mut found = Verbatim::default();
        container.members(|key, at| {
            let slot = match key {
                "envFrom" => &mut found.env_from,
                "env" => &mut found.env,
                "resources" => &mut found.resources,
                "volumeMounts" => &mut found.volume_mounts,
                "volumeDevices" => &mut found.volume_devices,
                "securityContext" => &mut found.security_context,
                _ => return Ok(()),
            };
            *slot = at.value().filter(|text| *text != "null");
            Ok::<(), std::convert::Infallible>(())
        });
        found
    }
}

/// The entries of a list such as [`Verbatim::env`]; none where it is absent.
pub fn entries(list: Option<&str>) -> Vec<&str> {
    list.and_then(scan::items).into_iter().flatten().collect()
}
