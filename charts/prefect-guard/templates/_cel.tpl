{{/*
The filter that the API server applies before it calls us. It evaluates every condition of a webhook, also after one
was false, and counts their errors; so each condition is null-safe by itself and none leans on an earlier one.
Only has(), ?:, exists(), matches(), startsWith() and operators are used: the tests evaluate the same text.
`has()` is true for a null in a custom resource, and for a list that the author left empty: hence every `!= null`.
*/}}

{{/* (dict "root" "object" "path" (list "spec" "template")): each step is there and not null. */}}
{{- define "prefect-guard.cel.present" -}}
{{- $at := .root -}}
{{- $terms := list (printf "%s != null" $at) -}}
{{- range .path -}}
{{- $at = printf "%s.%s" $at . -}}
{{- $terms = concat $terms (list (printf "has(%s)" $at) (printf "%s != null" $at)) -}}
{{- end -}}
{{- join " && " $terms -}}
{{- end -}}

{{/* (list "c.command" "[]"): the value, or the other where it is absent or null. */}}
{{- define "prefect-guard.cel.or" -}}
has({{ first . }}) && {{ first . }} != null ? {{ first . }} : {{ last . }}
{{- end -}}

{{/* A name or the image of the container `c` matches. */}}
{{- define "prefect-guard.cel.names" -}}
[{{ include "prefect-guard.cel.or" (list "c.name" "''") }},
 {{ include "prefect-guard.cel.or" (list "c.image" "''") }}].exists(s, s.matches('{{ . }}'))
{{- end -}}

{{/* A word of the command line of the container `c` matches. */}}
{{- define "prefect-guard.cel.words" -}}
[{{ include "prefect-guard.cel.or" (list "c.command" "[]") }},
 {{ include "prefect-guard.cel.or" (list "c.args" "[]") }}].exists(l, l.exists(w, w != null && w.matches('{{ . }}')))
{{- end -}}

{{/* (list "name" "…"): the name (or the literal value) of an environment variable of the container `c` matches. */}}
{{- define "prefect-guard.cel.env" -}}
{{- $field := printf "e.%s" (first .) -}}
({{ include "prefect-guard.cel.or" (list "c.env" "[]") }}).exists(e, e != null && has({{ $field }}) && {{ $field }} != null && {{ $field }}.matches('{{ last . }}'))
{{- end -}}

{{/* A word of the command line is left for Kubernetes or a shell to expand, and a variable's value matches. */}}
{{- define "prefect-guard.cel.expanded" -}}
({{ include "prefect-guard.cel.words" "[$]" }} &&
{{ include "prefect-guard.cel.env" (list "value" .) }})
{{- end -}}

{{/* (dict "path" (list "spec" "template") "body" "…"): a container or initContainer `c` satisfies the body. */}}
{{- define "prefect-guard.cel.anyContainer" -}}
{{- $spec := append .path "spec" -}}
{{- $at := printf "object.%s" (join "." $spec) -}}
({{ include "prefect-guard.cel.present" (dict "root" "object" "path" $spec) }} &&
[{{ include "prefect-guard.cel.or" (list (printf "%s.containers" $at) "[]") }},
 {{ include "prefect-guard.cel.or" (list (printf "%s.initContainers" $at) "[]") }}].exists(cs, cs.exists(c, c != null && (
{{ .body | indent 2 }}))))
{{- end -}}

{{/* One of our annotations is on the pod template. */}}
{{- define "prefect-guard.cel.annotated" -}}
{{- $annotations := concat . (list "metadata" "annotations") -}}
({{ include "prefect-guard.cel.present" (dict "root" "object" "path" $annotations) }} &&
object.{{ join "." $annotations }}.exists(k, k.startsWith('prefect-guard.io/')))
{{- end -}}

{{- define "prefect-guard.cel.notTerminating" -}}
!({{ include "prefect-guard.cel.present" (dict "root" "object" "path" (list "metadata" "deletionTimestamp")) }})
{{- end -}}

{{- define "prefect-guard.cel.mentionsPrefect" -}}
{{ include "prefect-guard.cel.names" "(?i)prefect" }} ||
{{ include "prefect-guard.cel.words" "(?i)prefect" }} ||
{{ include "prefect-guard.cel.env" (list "name" "(?i)prefect") }} ||
{{ include "prefect-guard.cel.expanded" "(?i)prefect" }}
{{- end -}}

{{/*
What a worker or a flow is not, so that they go on while we are down: a word of the command line or a name speaks of a
server or a database, or expands to such a word (as a word: a URL of the server is in the env of every worker); a
database setting of Prefect is in the env; or the image is Prefect's and the command line does not say what it starts:
it calls no `prefect`, and no file or module of Python.
*/}}
{{- define "prefect-guard.cel.mayServe" -}}
{{ include "prefect-guard.cel.words" "(?i)server|orion|database" }} ||
{{ include "prefect-guard.cel.expanded" "(?i)(^|[^-a-z0-9_./:])(server|orion|database)([^-a-z0-9_./:]|$)|create_app" }} ||
{{ include "prefect-guard.cel.names" "(?i)server|orion" }} ||
{{ include "prefect-guard.cel.env" (list "name" "(?i)^prefect_.*database") }} ||
(({{ include "prefect-guard.cel.or" (list "c.image" "''") }}).matches('(?i)(^|/)prefect[^/]*$') &&
!{{ include "prefect-guard.cel.words" "(?i)prefect|[.]py( |$)|(^| )-m( |$)" }})
{{- end -}}

{{/* The template at this path is there and, in an UPDATE, is not what it was. */}}
{{- define "prefect-guard.cel.changed" -}}
{{- $at := join "." . -}}
({{ include "prefect-guard.cel.present" (dict "root" "object" "path" .) }} &&
!({{ include "prefect-guard.cel.present" (dict "root" "oldObject" "path" .) }} &&
object.{{ $at }} == oldObject.{{ $at }}))
{{- end -}}

{{/*
(dict "root" $ "paths" (list (list "spec" "template")) "kind" "workload" | "custom" | "jobs")
A rule with several paths (Job, CronJob) is judged by whichever is there.
*/}}
{{- define "prefect-guard.matchConditions" -}}
{{- $present := list -}}{{- $changed := list -}}{{- $mentions := list -}}{{- $narrow := list -}}
{{- range .paths -}}
{{- $annotated := include "prefect-guard.cel.annotated" . -}}
{{- $present = append $present (printf "(%s)" (include "prefect-guard.cel.present" (dict "root" "object" "path" (append . "spec")))) -}}
{{- $changed = append $changed (include "prefect-guard.cel.changed" .) -}}
{{- $mentions = append $mentions $annotated -}}
{{- $mentions = append $mentions (include "prefect-guard.cel.anyContainer" (dict "path" . "body" (include "prefect-guard.cel.mentionsPrefect" $))) -}}
{{- if eq $.kind "jobs" -}}
{{- $narrow = append $narrow (include "prefect-guard.cel.anyContainer" (dict "path" . "body" (include "prefect-guard.cel.words" "(?i)database"))) -}}
{{- else -}}
{{- $narrow = append $narrow $annotated -}}
{{- $narrow = append $narrow (include "prefect-guard.cel.anyContainer" (dict "path" . "body" (include "prefect-guard.cel.mayServe" $))) -}}
{{- end -}}
{{- end -}}
{{- if eq .kind "workload" -}}
- name: not-the-guard-itself
  # Else nobody could repair it while it is down. One without a name yet (generateName) is not ours.
  expression: |-
    !(request.resource.resource == 'deployments' &&
    has(request.namespace) && request.namespace == '{{ .root.Release.Namespace }}' &&
    has(request.name) && request.name == '{{ include "prefect-guard.fullname" .root }}')
{{ end -}}
- name: not-terminating
  # Removing a finalizer is an UPDATE: it must never wait for us.
  expression: |-
    {{- include "prefect-guard.cel.notTerminating" . | nindent 4 }}
- name: has-pod-template
  expression: |-
    {{- join " ||\n" $present | nindent 4 }}
- name: template-changed
  # Scaling, annotating and status never reach us.
  expression: |-
    request.operation != 'UPDATE' ||
    {{- join " ||\n" $changed | nindent 4 }}
- name: mentions-prefect
  expression: |-
    {{- join " ||\n" $mentions | nindent 4 }}
- name: {{ ternary "mentions-database" "may-run-a-server" (eq .kind "jobs") }}
  expression: |-
    {{- join " ||\n" $narrow | nindent 4 }}
{{- include "prefect-guard.breakGlassCondition" .root }}
{{- end -}}

{{/* Last, since it asks the authorizer. */}}
{{- define "prefect-guard.breakGlassCondition" -}}
{{- if .Values.breakGlass.enabled }}
- name: break-glass
  expression: |-
    !authorizer.group('admissionregistration.k8s.io').resource('validatingwebhookconfigurations').name('{{ include "prefect-guard.fullname" . }}').check('break-glass').allowed()
{{- end }}
{{- end -}}
