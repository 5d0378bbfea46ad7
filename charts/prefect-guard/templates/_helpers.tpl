{{- define "prefect-guard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters leave room for the longest suffix, `-self-signed`, in a name of 63. */}}
{{- define "prefect-guard.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "prefect-guard.selectorLabels" -}}
app.kubernetes.io/name: {{ include "prefect-guard.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "prefect-guard.labels" -}}
{{ include "prefect-guard.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "prefect-guard.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "prefect-guard.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "prefect-guard.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "prefect-guard.tlsSecret" -}}
{{- default (printf "%s-tls" (include "prefect-guard.fullname" .)) .Values.tls.secretName -}}
{{- end -}}

{{/* `true` where some namespace is enforced, so that a guard that is down has something to protect. */}}
{{- define "prefect-guard.enforces" -}}
{{- $mode := .Values.policy.mode | default "enforce" -}}
{{- $found := eq $mode "enforce" -}}
{{- range $name, $policy := .Values.policy.namespaces -}}
{{- if eq (default $mode ($policy | default dict).mode) "enforce" -}}{{- $found = true -}}{{- end -}}
{{- end -}}
{{- ternary "true" "" $found -}}
{{- end -}}

{{- define "prefect-guard.validateFailurePolicy" -}}
{{- .Values.webhook.validate.failurePolicy | default (ternary "Fail" "Ignore" (eq (include "prefect-guard.enforces" .) "true")) -}}
{{- end -}}

{{/* Events are written by `/validate` alone, and never on a dry run. */}}
{{- define "prefect-guard.validateSideEffects" -}}
{{- (.Values.events).enabled | default false | ternary "NoneOnDryRun" "None" -}}
{{- end -}}

{{/* Call with (dict "root" $ "path" "/validate"). The CA of `managed` and of cert-manager is never rendered: they
write it into the live object, and an upgrade leaves alone what no revision of the chart ever held. */}}
{{- define "prefect-guard.clientConfig" -}}
{{- if .root.Values.webhook.url -}}
url: {{ printf "%s%s" (trimSuffix "/" .root.Values.webhook.url) .path }}
{{- else -}}
service:
  name: {{ include "prefect-guard.fullname" .root }}
  namespace: {{ .root.Release.Namespace }}
  path: {{ .path }}
  port: 443
{{- end }}
{{- with .root.Values.tls.caBundle }}
caBundle: {{ b64enc . }}
{{- end }}
{{- end -}}

{{- define "prefect-guard.namespaceSelector" -}}
{{- $selector := .Values.webhook.namespaceSelector -}}
{{- with $selector.matchLabels -}}
matchLabels: {{- toYaml . | nindent 2 }}
{{ end -}}
matchExpressions:
{{- with .Values.webhook.excludedNamespaces }}
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson . }}}
{{- end }}
  - {key: prefect-guard.io/enabled, operator: NotIn, values: ["false"]}
{{- with $selector.matchExpressions }}
{{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "prefect-guard.webhookAnnotations" -}}
{{- /* Whoever meets a failing call looks at the configuration with `kubectl describe` first. */ -}}
{{- $annotations := dict "prefect-guard.io/when-calls-fail" "https://prefect-guard.github.io/prefect-guard/emergency.html" -}}
{{- $annotations = mergeOverwrite $annotations (deepCopy .Values.webhook.annotations) -}}
{{- if eq .Values.tls.mode "cert-manager" -}}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s" .Release.Namespace (include "prefect-guard.fullname" .)) -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end -}}
