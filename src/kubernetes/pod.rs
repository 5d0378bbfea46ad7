//! The pod template as rules read it: borrowed from the text, and only the fields that some rule looks at.
//!
//! Everything else is skipped unparsed. What is copied or compared as it stands is kept with its text.
//!
//! `null` reads as absent everywhere, as the API server's own decoder does.

use std::borrow::{Borrow, Cow};
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::json::{
    Raw, Unreadable, null_is_default, object, object_or_none, objects, objects_or_none, parse, read,
};

/// Shows the named fields of a type and hides the rest: what stands in a manifest may be a password.
macro_rules! show_only {
    ($type:ident: $($field:ident),*) => {
        impl std::fmt::Debug for $type<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use show_only;

show_only!(Container: name);
show_only!(EnvVar: name);
show_only!(EnvFrom:);
show_only!(ValueFrom:);
show_only!(VolumeMount: name);
show_only!(Annotations:);

/// A string borrowed from the review where it holds no escapes.
///
/// The wrapper is needed because `Vec<Cow<str>>` never borrows with serde.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text(Cow::Borrowed(text))
    }
}

/// A pod template (`core/v1` PodTemplateSpec), as far as rules read it.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate<'a> {
    /// The template's own metadata.
    #[serde(borrow, default, deserialize_with = "object")]
    pub metadata: TemplateMeta<'a>,
    /// The pod spec.
    #[serde(borrow, default, deserialize_with = "object")]
    pub spec: PodSpec<'a>,
    #[serde(skip)]
    text: Raw<'a>,
}

impl<'a> PodTemplate<'a> {
    /// Reads a template; its text stays with it.
    ///
    /// # Errors
    /// When it is not shaped as it should be.
    pub fn read(text: Raw<'a>) -> Result<Self, Unreadable> {
        let mut template: Self = read(text)?;
        template.text = text;
        let spec = &mut template.spec;
        Container::read_lists_of(spec.init_containers.as_deref_mut().unwrap_or_default(), "initContainers")?;
        Container::read_lists_of(&mut spec.containers, "containers")?;
        Ok(template)
    }

    /// The text of an initContainer, byte for byte. Not for printing: it may hold a password. Reads the template once
    /// more, since few ask for it.
    pub fn init_container_text(&self, index: usize) -> Option<Raw<'a>> {
        #[derive(serde::Deserialize)]
        struct Template<'a> {
            #[serde(borrow)]
            spec: Spec<'a>,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            #[serde(borrow)]
            init_containers: Vec<Raw<'a>>,
        }
        let template: Template<'a> = parse(self.text.get()).ok()?;
        template.spec.init_containers.get(index).copied()
    }
}

/// Metadata of a pod template.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct TemplateMeta<'a> {
    /// Annotations, in the order written.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub annotations: Annotations<'a>,
    /// Labels (meshes are switched on by label too).
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub labels: Annotations<'a>,
}

/// A string map in the order written; values that are no strings read as absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Annotations<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl<'a> Annotations<'a> {
    /// The value of `key`; the last one where a key is given twice, as Go's decoder has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    /// All pairs in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Annotations<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    let value = map.next_value::<Raw<'de>>()?.get();
                    if value.starts_with('"') {
                        let value = serde_json::from_str(value)
                            .map_err(|_| Error::custom("no text that these escapes could mean"))?;
                        pairs.push((key, value));
                    }
                }
                Ok(Annotations(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The pod spec, as far as rules read it.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec<'a> {
    /// `None` when absent or null: then a patch has to add the whole list.
    #[serde(borrow, default, deserialize_with = "objects_or_none")]
    pub init_containers: Option<Vec<Container<'a>>>,
    /// The ordinary containers.
    #[serde(borrow, default, deserialize_with = "objects")]
    pub containers: Vec<Container<'a>>,
    /// The pod's volumes.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub volumes: Vec<Volume<'a>>,
    /// Whether the pod is on its node's network.
    #[serde(default, deserialize_with = "null_is_default")]
    pub host_network: bool,
    /// Whether Service variables are injected; `None` means the default, true.
    pub enable_service_links: Option<bool>,
}

impl<'a> PodSpec<'a> {
    /// The initContainers, none when absent.
    pub fn init_containers(&self) -> &[Container<'a>] {
        self.init_containers.as_deref().unwrap_or_default()
    }

    /// Whether the kubelet adds `*_SERVICE_HOST` and friends to the environment.
    pub fn service_links(&self) -> bool {
        self.enable_service_links.unwrap_or(true)
    }
}

/// One container of a pod template. What serde derives leaves the lists empty whose entries are kept as text too.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<'a> {
    /// Its name.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub name: Text<'a>,
    /// Its image reference as written.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub image: Text<'a>,
    /// `Always`, `IfNotPresent`, `Never`.
    #[serde(borrow)]
    pub image_pull_policy: Option<Text<'a>>,
    /// Replaces the image's entrypoint.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub command: Vec<Text<'a>>,
    /// Replaces the image's CMD.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub args: Vec<Text<'a>>,
    /// Environment variables, in order: later ones may use earlier ones, a later duplicate wins.
    #[serde(skip)]
    pub env: Vec<EnvVar<'a>>,
    /// Whole ConfigMaps and Secrets as variables; these come before `env`.
    #[serde(skip)]
    pub env_from: Vec<EnvFrom<'a>>,
    /// Where the process starts.
    #[serde(borrow)]
    pub working_dir: Option<Text<'a>>,
    /// Mounted volumes.
    #[serde(skip)]
    pub volume_mounts: Vec<VolumeMount<'a>>,
    /// Requests and limits, as written.
    #[serde(borrow)]
    pub resources: Option<Raw<'a>>,
    /// Where the kubelet takes its last words from: `File`, `FallbackToLogsOnError`.
    #[serde(borrow)]
    pub termination_message_policy: Option<Text<'a>>,
    /// Block devices, as written.
    #[serde(borrow)]
    pub volume_devices: Option<Raw<'a>>,
    /// As written.
    #[serde(borrow)]
    pub security_context: Option<Raw<'a>>,
    /// `Always` on an initContainer makes it a native sidecar.
    #[serde(borrow)]
    pub restart_policy: Option<Text<'a>>,
    /// Hooks around its life. Boxed, like the probes: most containers have none, and a list of them moves as it grows.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    lifecycle: Option<Box<Lifecycle<'a>>>,
    /// A probe can run a command too.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    pub(super) liveness_probe: Option<Box<Probe<'a>>>,
    /// See above.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    pub(super) readiness_probe: Option<Box<Probe<'a>>>,
    /// See above.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    pub(super) startup_probe: Option<Box<Probe<'a>>>,
    /// As written.
    #[serde(borrow)]
    pub(super) ports: Option<Raw<'a>>,
    /// The lists that a migration container takes over, as text; what [`Container::read_lists`] reads.
    #[serde(borrow, rename = "env", default, deserialize_with = "null_is_default")]
    env_texts: Vec<Raw<'a>>,
    /// See above.
    #[serde(borrow, rename = "envFrom", default, deserialize_with = "null_is_default")]
    env_from_texts: Vec<Raw<'a>>,
    /// See above.
    #[serde(borrow, rename = "volumeMounts", default, deserialize_with = "null_is_default")]
    mount_texts: Vec<Raw<'a>>,
}

/// What a migration container takes from its server, entry by entry as it is written.
#[derive(Default)]
pub struct Written<'a> {
    /// The entries of `env`.
    pub env: Vec<Raw<'a>>,
    /// The entries of `envFrom`.
    pub env_from: Vec<Raw<'a>>,
    /// The entries of `volumeMounts`.
    pub volume_mounts: Vec<Raw<'a>>,
}

/// What runs when a container has started and before it stops.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    post_start: Hook<'a>,
    #[serde(borrow, default, deserialize_with = "object")]
    pre_stop: Hook<'a>,
}

/// A hook, as far as it runs a command.
#[derive(Clone, Default, serde::Deserialize)]
struct Hook<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    exec: Exec<'a>,
}

/// A probe: what it runs, or what it asks, as written.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Probe<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    exec: Exec<'a>,
    #[serde(borrow)]
    pub(super) http_get: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) tcp_socket: Option<Raw<'a>>,
}

#[derive(Clone, Default, serde::Deserialize)]
struct Exec<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    command: Vec<Text<'a>>,
}

/// Reads the entries of a list, each from its own text.
fn read_all<'a, T: Deserialize<'a>>(texts: &[Raw<'a>], list: &str) -> Result<Vec<T>, Unreadable> {
    let read = |(index, text): (usize, &Raw<'a>)| {
        parse(text.get()).map_err(|error| error.within(&format!("{list}[{index}]")))
    };
    texts.iter().enumerate().map(read).collect()
}

impl<'a> Container<'a> {
    /// Reads one container from its text.
    ///
    /// # Errors
    /// When it is not shaped as it should be.
    pub fn read(text: Raw<'a>) -> Result<Self, Unreadable> {
        let mut container: Self = parse(text.get())?;
        container.read_lists()?;
        Ok(container)
    }

    /// Reads the entries that were kept as text, of each container of a template's list.
    fn read_lists_of(containers: &mut [Self], list: &str) -> Result<(), Unreadable> {
        for (index, container) in containers.iter_mut().enumerate() {
            container.read_lists().map_err(|error| error.within(&format!("spec.{list}[{index}]")))?;
        }
        Ok(())
    }

    /// The same of this container.
    fn read_lists(&mut self) -> Result<(), Unreadable> {
        self.env = read_all(&self.env_texts, "env")?;
        self.env_from = read_all(&self.env_from_texts, "envFrom")?;
        self.volume_mounts = read_all(&self.mount_texts, "volumeMounts")?;
        Ok(())
    }

    /// The entries of its lists as they are written.
    pub fn written(&self) -> Written<'a> {
        Written {
            env: self.env_texts.clone(),
            env_from: self.env_from_texts.clone(),
            volume_mounts: self.mount_texts.clone(),
        }
    }

    /// The words of its command line: `command`, then `args`.
    pub fn argv(&self) -> impl Iterator<Item = &str> + Clone {
        self.command.iter().chain(&self.args).map(|word| &**word)
    }

    /// The commands that the kubelet runs inside the container, with their field: hooks and probes.
    pub fn hooks(&self) -> impl Iterator<Item = (&'static str, &[Text<'a>])> {
        let hooks = self.lifecycle.iter().flat_map(|hooks| {
            [("lifecycle/postStart", &hooks.post_start.exec), ("lifecycle/preStop", &hooks.pre_stop.exec)]
        });
        let probes = [
            ("livenessProbe", &self.liveness_probe),
            ("readinessProbe", &self.readiness_probe),
            ("startupProbe", &self.startup_probe),
        ];
        let probes = probes.into_iter().filter_map(|(field, probe)| Some((field, &probe.as_ref()?.exec)));
        hooks.chain(probes).map(|(field, exec)| (field, &*exec.command)).filter(|(_, argv)| !argv.is_empty())
    }

    /// An initContainer that keeps running beside the pod (Kubernetes 1.29 and later).
    pub fn is_native_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// One entry of `env`.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar<'a> {
    /// The name as written.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub name: Text<'a>,
    /// A literal value, `$(VAR)` not yet expanded. `None` where the key is absent (that is the empty string
    /// when there is no `valueFrom` either).
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
    /// Where the value comes from instead.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    pub value_from: Option<ValueFrom<'a>>,
}

/// The source of a variable's value.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom<'a> {
    /// From a Secret. Boxed, like the other: most variables have neither, and a list of them moves as it grows.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    pub secret_key_ref: Option<Box<KeyRef<'a>>>,
    /// From a ConfigMap.
    #[serde(borrow, default, deserialize_with = "object_or_none")]
    pub config_map_key_ref: Option<Box<KeyRef<'a>>>,
}

/// A key of a Secret or a ConfigMap.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct KeyRef<'a> {
    /// The object's name.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub name: Text<'a>,
    /// The key in it.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub key: Text<'a>,
    /// Whether the pod starts without it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub optional: bool,
}

/// One entry of `envFrom`.
#[derive(Clone, Default, serde::Deserialize)]
pub struct EnvFrom<'a> {
    /// Put before each key.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub prefix: Text<'a>,
}

/// One mounted volume of a container.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount<'a> {
    /// The volume's name.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub name: Text<'a>,
    /// Where it is mounted.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub mount_path: Text<'a>,
    /// Read-only mounts cannot hold a database.
    #[serde(default, deserialize_with = "null_is_default")]
    pub read_only: bool,
    /// The part of the volume that is mounted.
    #[serde(borrow)]
    pub sub_path: Option<Text<'a>>,
}

/// One volume of a pod: its name and what backs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// The key beside `name` that names the source (`persistentVolumeClaim`, `emptyDir`, `configMap`…);
    /// empty when there is none, which Kubernetes reads as `emptyDir`.
    pub source: Text<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Volume<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Volume<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a volume")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut volume = Volume::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if &*key == "name" {
                        volume.name = map.next_value::<Option<Text<'de>>>()?.unwrap_or_default();
                    } else if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                        volume.source = key;
                    }
                }
                Ok(volume)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
