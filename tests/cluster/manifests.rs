//! The manifests that the tests apply.

/// The image of every server here.
pub(crate) const IMAGE: &str = "prefecthq/prefect:3.4.20-python3.12";

/// A namespace that the webhooks of the world of this name select.
pub(crate) fn namespace(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{prefect-guard-test: {name}}}}}}}"
    )
}

/// A server as it should be written. `replicas: 0`: nothing needs to run.
pub(crate) fn server(name: &str) -> String {
    let container = format!(
        "        - name: api
          image: {IMAGE}
          args: [prefect, server, start]
          env:
            - name: PREFECT_API_DATABASE_CONNECTION_URL
              valueFrom: {{secretKeyRef: {{name: db, key: url}}}}
"
    );
    deployment(name, &container)
}

/// A server with this database URL in plain sight.
pub(crate) fn server_with(name: &str, url: &str) -> String {
    server(name).replace("valueFrom: {secretKeyRef: {name: db, key: url}}", &format!("value: {url:?}"))
}

/// A Deployment with these containers, indented by eight.
pub(crate) fn deployment(name: &str, containers: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
{containers}"
    )
}

/// Something that has nothing to do with Prefect.
pub(crate) fn nginx(name: &str) -> String {
    deployment(name, "        - {name: web, image: 'nginx:1.29'}\n")
}

/// A worker: Prefect's image, but no server.
pub(crate) fn worker(name: &str) -> String {
    deployment(
        name,
        &format!(
            "        - {{name: worker, image: '{IMAGE}', args: [prefect, worker, start, --pool, k8s], \
             env: [{{name: PREFECT_API_URL, value: 'http://prefect-server:4200/api'}}]}}\n"
        ),
    )
}

/// A Job that runs this command line in Prefect's image.
pub(crate) fn job(name: &str, arguments: &str) -> String {
    format!(
        "\
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: job, image: '{IMAGE}', args: [{arguments}]}}]
"
    )
}

/// A kind that keeps a pod template as it comes, nulls included.
pub(crate) fn definition(name: &str) -> String {
    format!(
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: fleets.{name}.example.com, labels: {{prefect-guard-test: {name}}}}}
spec:
  group: {name}.example.com
  scope: Namespaced
  names: {{kind: Fleet, plural: fleets, singular: fleet}}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
"
    )
}
