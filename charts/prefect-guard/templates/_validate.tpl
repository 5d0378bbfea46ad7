{{/* Combinations that cannot work, each with the remedy. Each is tested. */}}
{{- define "prefect-guard.validate" -}}
{{- $v := .Values -}}
{{- $inCluster := not $v.webhook.url -}}
{{- $fails := eq (include "prefect-guard.validateFailurePolicy" .) "Fail" -}}
{{- if and $inCluster $fails (lt (int $v.replicas) 2) -}}
{{- fail "`replicas: 1` cannot serve a webhook whose failurePolicy is Fail: each restart would refuse Prefect servers; set `replicas: 2` or `webhook.validate.failurePolicy: Ignore`" -}}
{{- end -}}
{{- if and (eq $v.webhook.validate.failurePolicy "Fail") (ne (include "prefect-guard.enforces" .) "true") -}}
{{- fail (printf "`webhook.validate.failurePolicy: Fail` with `policy.mode: %s` denies nothing while the guard is up and everything while it is down; leave it empty, or set `policy.mode: enforce`" $v.policy.mode) -}}
{{- end -}}
{{- if eq (int $v.port) (int $v.adminPort) -}}
{{- fail (printf "`port` and `adminPort` are both %d; give each its own" (int $v.port)) -}}
{{- end -}}
{{- if and $v.hostNetwork (eq (int $v.port) 10250) -}}
{{- fail "`hostNetwork: true` with `port: 10250`: the kubelet holds that port on every node; set `port` to another one that the control plane may reach, such as 10260" -}}
{{- end -}}
{{- include "prefect-guard.validateTls" . -}}
{{- include "prefect-guard.validateKinds" . -}}
{{- if and $v.clientAuth.configMap (not $v.clientAuth.names) -}}
{{- fail "`clientAuth.configMap` without `clientAuth.names` lets in any certificate of that CA; list the names that the API server's certificate carries" -}}
{{- end -}}
{{- if and $v.audit.report (not $v.audit.schedule) -}}
{{- fail "`audit.report` without `audit.schedule` writes nothing; set a schedule" -}}
{{- end -}}
{{- if and $v.clientAuth.names (not $v.clientAuth.configMap) -}}
{{- fail "`clientAuth.names` without `clientAuth.configMap` checks nothing; name the ConfigMap that holds the CA" -}}
{{- end -}}
{{- end -}}

{{- define "prefect-guard.validateTls" -}}
{{- $v := .Values -}}
{{- if eq $v.tls.mode "secret" -}}
{{- if and (not $v.webhook.url) (not $v.tls.secretName) -}}
{{- fail "`tls.mode: secret` needs `tls.secretName`, the name of a `kubernetes.io/tls` Secret in the release's namespace" -}}
{{- end -}}
{{- $injected := or (hasKey $v.webhook.annotations "cert-manager.io/inject-ca-from") (hasKey $v.webhook.annotations "cert-manager.io/inject-ca-from-secret") -}}
{{- if and (not $v.tls.caBundle) (not $injected) -}}
{{- fail "`tls.mode: secret` needs `tls.caBundle`, the PEM of the CA that signed the certificate: `--set-file tls.caBundle=ca.crt` (or a `cert-manager.io/inject-ca-from` in `webhook.annotations`)" -}}
{{- end -}}
{{- else if $v.tls.caBundle -}}
{{- fail (printf "`tls.caBundle` with `tls.mode: %s` would be written by two; leave it empty, or set `tls.mode: secret`" $v.tls.mode) -}}
{{- end -}}
{{- if and $v.webhook.url (eq $v.tls.mode "cert-manager") -}}
{{- fail "`webhook.url` with `tls.mode: cert-manager`: a guard outside the cluster cannot mount that certificate; set `tls.mode: secret` and `tls.caBundle`" -}}
{{- end -}}
{{- if and $v.tls.certManager.issuerRef (ne $v.tls.mode "cert-manager") -}}
{{- fail (printf "`tls.certManager.issuerRef` with `tls.mode: %s` does nothing; set `tls.mode: cert-manager`" $v.tls.mode) -}}
{{- end -}}
{{- end -}}

{{- define "prefect-guard.validateKinds" -}}
{{- $never := list "/pods" "apps/replicasets" "apps/daemonsets" "/replicationcontrollers" "batch/jobs" "batch/cronjobs" -}}
{{- $seen := list "apps/deployments" "apps/statefulsets" -}}
{{- $reserved := list "as" "break" "const" "continue" "else" "false" "for" "function" "if" "import" "in" "let" "loop" "namespace" "null" "package" "return" "true" "var" "void" "while" -}}
{{- range .Values.kinds -}}
{{- $id := printf "%s/%s" .group .resource -}}
{{- if has $id $never -}}
{{- fail (printf "`kinds`: %s `%s` is never mutated (its pods are settled elsewhere, or would be stopped from coming back); take it out" .kind $id) -}}
{{- end -}}
{{- if has $id $seen -}}
{{- fail (printf "`kinds`: `%s` is watched already; take it out" $id) -}}
{{- end -}}
{{- $seen = append $seen $id -}}
{{- range splitList "/" (trimPrefix "/" .template) -}}
{{- if has . $reserved -}}
{{- fail (printf "`kinds`: `%s` in a template path is a reserved word of CEL, which the filter is written in; such a kind cannot be watched" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
