//! Webhook configurations of either kind: what the client needs to see of them.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A webhook of a configuration: its name and how it is called.
pub(super) type Webhook<'a> = (&'a str, &'a WebhookClientConfig);

/// A mutating or a validating webhook configuration.
pub(super) trait Configuration {
    /// `mutating` or `validating`.
    const SORT: &'static str;

    fn metadata(&self) -> &ObjectMeta;

    fn webhooks(&self) -> Vec<Webhook<'_>>;
}

macro_rules! configuration {
    ($kind:ty, $sort:literal) => {
        impl Configuration for $kind {
            const SORT: &'static str = $sort;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn webhooks(&self) -> Vec<Webhook<'_>> {
                let webhooks = self.webhooks.iter().flatten();
                webhooks.map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
            }
        }
    };
}

configuration!(MutatingWebhookConfiguration, "mutating");
configuration!(ValidatingWebhookConfiguration, "validating");
