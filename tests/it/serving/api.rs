//! A Kubernetes API as far as certificates need one: Secrets and webhook configurations with `resourceVersion`,
//! conflicts, two kinds of patch, a clock of its own, and outages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const SECRET: &str = "/api/v1/namespaces/prefect-guard/secrets/prefect-guard-tls";
pub const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/prefect-guard";
pub const VALIDATING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/prefect-guard";

/// The fake; clones share one state.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Seconds since 1970, as the `Date` of answers has it.
    now: i64,
    away: bool,
    forbidden: bool,
    requests: Vec<(Method, String, u16)>,
}

impl Api {
    /// A cluster with our empty Secret and both configurations, as the chart renders them.
    pub fn new(now: i64) -> Api {
        let api = Api::default();
        api.0.lock().unwrap().now = now;
        api.put(
            SECRET,
            json!({"kind": "Secret", "metadata": {"name": "prefect-guard-tls", "labels": {"a": "b"}}}),
        );
        let webhook = |name: &str| json!({"name": name, "clientConfig": {"service": {"name": "prefect-guard"}}, "sideEffects": "None"});
        api.put(
            MUTATING,
            json!({"metadata": {"name": "prefect-guard"}, "webhooks": [webhook("mutate.prefect-guard.io")]}),
        );
        let two = [webhook("validate.prefect-guard.io"), webhook("jobs.prefect-guard.io")];
        api.put(VALIDATING, json!({"metadata": {"name": "prefect-guard"}, "webhooks": two}));
        api
    }

    pub fn put(&self, path: &str, object: Value) {
        let mut world = self.0.lock().unwrap();
        world.store(path, object);
    }

    pub fn get(&self, path: &str) -> Value {
        self.0.lock().unwrap().objects[path].clone()
    }

    pub fn remove(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    pub fn set_now(&self, now: i64) {
        self.0.lock().unwrap().now = now;
    }

    pub fn set_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    pub fn set_forbidden(&self, forbidden: bool) {
        self.0.lock().unwrap().forbidden = forbidden;
    }

    /// How many requests of this method there were, since the last time somebody asked.
    pub fn requests(&self, method: &Method) -> usize {
        let mut world = self.0.lock().unwrap();
        let count = world.requests.iter().filter(|(m, _, _)| m == method).count();
        world.requests.retain(|(m, _, _)| m != method);
        count
    }

    /// Writes that found the object changed.
    pub fn conflicts(&self) -> usize {
        self.0.lock().unwrap().requests.iter().filter(|(_, _, status)| *status == 409).count()
    }

    /// A field of the Secret, decoded.
    pub fn secret(&self, key: &str) -> String {
        let secret = self.get(SECRET);
        let text = secret["data"][key].as_str().unwrap_or_default();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    }

    /// Every `caBundle` there is, decoded.
    pub fn bundles(&self) -> Vec<String> {
        [MUTATING, VALIDATING]
            .iter()
            .flat_map(|path| self.get(path)["webhooks"].as_array().unwrap().clone())
            .map(|webhook| {
                let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
                String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
            })
            .collect()
    }

    /// Sets the `caBundle` of one webhook.
    pub fn set_bundle(&self, path: &str, index: usize, bundle: Option<&str>) {
        let mut object = self.get(path);
        let config = object["webhooks"][index]["clientConfig"].as_object_mut().unwrap();
        match bundle {
            Some(text) => drop(config.insert("caBundle".to_owned(), STANDARD.encode(text).into())),
            None => drop(config.remove("caBundle")),
        }
        self.put(path, object);
    }

    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// A client that speaks to it without a socket.
    pub fn client(&self) -> kube::Client {
        use tower::ServiceExt;
        let service = self
            .router()
            .map_request(|request: http::Request<kube::client::Body>| request.map(axum::body::Body::new));
        kube::Client::new(service, "default")
    }
}

impl World {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn answer(&mut self, method: &Method, path: &str, media: &str, body: &[u8]) -> (u16, Value) {
        if self.away {
            return (503, json!({"kind": "Status", "code": 503}));
        }
        if self.forbidden {
            return (403, json!({"kind": "Status", "code": 403}));
        }
        let Some(object) = self.objects.get(path).cloned() else {
            return (404, json!({"kind": "Status", "code": 404}));
        };
        if method == Method::GET {
            return (200, object);
        }
        assert_eq!(method, Method::PATCH, "the Role allows get and patch");
        let body: Value = serde_json::from_slice(body).unwrap();
        let version = object["metadata"]["resourceVersion"].clone();
        let mut changed = object;
        match media {
            "application/merge-patch+json" => json_patch::merge(&mut changed, &body),
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_value(body).unwrap();
                if json_patch::patch(&mut changed, &patch).is_err() {
                    return (422, json!({"kind": "Status", "code": 422}));
                }
            }
            other => panic!("a patch of type {other}"),
        }
        if changed["metadata"]["resourceVersion"] != version {
            return (409, json!({"kind": "Status", "code": 409, "reason": "Conflict"}));
        }
        (200, self.store(path, changed))
    }
}

async fn answer(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // Between two requests of one replica the others get a chance, as over a network.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let mut world = api.0.lock().unwrap();
    let (status, object) = world.answer(&method, uri.path(), media, &body);
    world.requests.push((method, uri.path().to_owned(), status));
    let date = time::OffsetDateTime::from_unix_timestamp(world.now).unwrap();
    let date = format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        &date.weekday().to_string()[..3],
        date.day(),
        &date.month().to_string()[..3],
        date.year(),
        date.hour(),
        date.minute(),
        date.second()
    );
    let status = StatusCode::from_u16(status).unwrap();
    (
        status,
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::DATE, date)],
        object.to_string(),
    )
        .into_response()
}

/// A fake over a real port, and a folder with the kubeconfig `config` that names it.
pub fn kubeconfig(router: Router) -> TempDir {
    let (sender, bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    let folder = TempDir::new().unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": format!("http://{}", bound.recv().unwrap())}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "users": [{"name": "fake", "user": {}}],
    });
    std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
    folder
}
