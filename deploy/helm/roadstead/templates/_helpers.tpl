{{- define "roadstead.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "roadstead.fullname" -}}
{{- $name := include "roadstead.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "roadstead.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* The labels of twuni's chart: selectors cannot be changed by an upgrade. */}}
{{- define "roadstead.selector" -}}
app: {{ include "roadstead.name" . }}
release: {{ .Release.Name }}
{{- end -}}

{{- define "roadstead.labels" -}}
{{ include "roadstead.selector" . }}
app.kubernetes.io/name: {{ include "roadstead.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "roadstead.metadata" -}}
name: {{ include "roadstead.fullname" . }}
namespace: {{ include "roadstead.namespace" . }}
labels: {{- include "roadstead.labels" . | nindent 2 }}
{{- end -}}

{{- define "roadstead.tlsSecret" -}}
{{- if .Values.tlsSecretName -}}
{{- .Values.tlsSecretName -}}
{{- else if .Values.certManager.enabled -}}
{{- include "roadstead.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "roadstead.secretName" -}}
{{- .Values.secrets.existingSecret | default (printf "%s-secret" (include "roadstead.fullname" .)) -}}
{{- end -}}

{{/* The keys that the Secret has, as JSON. */}}
{{- define "roadstead.secretKeys" -}}
{{- $keys := list -}}
{{- if .Values.secrets.existingSecret -}}
{{- $keys = .Values.secrets.existingSecretKeys -}}
{{- else if .Values.externalSecrets.enabled -}}
{{- range .Values.externalSecrets.data }}{{ $keys = append $keys .secretKey }}{{ end -}}
{{- else -}}
{{- $keys = keys (include "roadstead.secretData" . | fromJson) -}}
{{- end -}}
{{- $keys | toJson -}}
{{- end -}}

{{/* The content of the chart's own Secret, as JSON. */}}
{{- define "roadstead.secretData" -}}
{{- $secrets := .Values.secrets -}}
{{- $data := dict "haSharedSecret" $secrets.haSharedSecret -}}
{{- if not $secrets.haSharedSecret -}}
{{- $name := printf "%s-secret" (include "roadstead.fullname" .) -}}
{{- $old := lookup "v1" "Secret" (include "roadstead.namespace" .) $name -}}
{{- $old = dig "data" "haSharedSecret" "" ($old | default dict) | b64dec -}}
{{- $_ := set $data "haSharedSecret" ($old | default (randAlphaNum 48)) -}}
{{- end -}}
{{- with $secrets.htpasswd }}{{ $_ := set $data "htpasswd" . }}{{ end -}}
{{- if eq .Values.storage "s3" -}}
{{- with ($secrets.s3).accessKey }}{{ $_ := set $data "s3AccessKey" . }}{{ end -}}
{{- with ($secrets.s3).secretKey }}{{ $_ := set $data "s3SecretKey" . }}{{ end -}}
{{- else if eq .Values.storage "azure" -}}
{{- with ($secrets.azure).accountName }}{{ $_ := set $data "azureAccountName" . }}{{ end -}}
{{- with ($secrets.azure).accountKey }}{{ $_ := set $data "azureAccountKey" . }}{{ end -}}
{{- with ($secrets.azure).container }}{{ $_ := set $data "azureContainer" . }}{{ end -}}
{{- else if eq .Values.storage "gcs" -}}
{{- with ($secrets.gcs).keyfile }}{{ $_ := set $data "gcsKeyfile" . }}{{ end -}}
{{- end -}}
{{- $data | toJson -}}
{{- end -}}

{{/* Values that cannot work, before a pod says so. */}}
{{- define "roadstead.check" -}}
{{- $bucket := ne .Values.storage "filesystem" -}}
{{- if eq .Values.storage "swift" -}}
{{- fail "storage: swift: there is no such driver; use the store's S3 API, if it has one: storage: s3 and s3.regionEndpoint" -}}
{{- else if not (has .Values.storage (list "filesystem" "s3" "gcs" "azure")) -}}
{{- fail (printf "storage: %s: it is filesystem, s3, gcs or azure" .Values.storage) -}}
{{- end -}}
{{- if has .Values.image.repository (list "registry" "docker.io/registry" "docker.io/library/registry") -}}
{{- fail "image.repository: this is distribution's image; remove image from the values of twuni's chart" -}}
{{- end -}}
{{- if (.Values.proxy).enabled -}}
{{- fail "proxy.enabled: this registry is not a pull-through cache; keep twuni's chart for that" -}}
{{- end -}}
{{- if and (not $bucket) (gt (int .Values.replicaCount) 1) -}}
{{- fail "replicaCount: a directory has one writer; for more pods use a bucket (storage: s3, gcs or azure)" -}}
{{- end -}}
{{- if and (not $bucket) .Values.autoscaling.enabled -}}
{{- fail "autoscaling.enabled: a directory has one writer; for more pods use a bucket (storage: s3, gcs or azure)" -}}
{{- end -}}
{{- if .Values.s3.skipverify -}}
{{- fail "s3.skipverify: certificates are always verified; name a private CA with REGISTRY_STORAGE_S3_ROOTCERTBUNDLE in extraEnvVars" -}}
{{- end -}}
{{- if and .Values.secrets.existingSecret .Values.externalSecrets.enabled -}}
{{- fail "secrets.existingSecret and externalSecrets.enabled: choose one" -}}
{{- end -}}
{{- if and .Values.externalSecrets.enabled (not .Values.externalSecrets.secretStoreRef) -}}
{{- fail "externalSecrets.secretStoreRef is required with externalSecrets.enabled" -}}
{{- end -}}
{{- if and .Values.certManager.enabled (not .Values.certManager.issuerRef) -}}
{{- fail "certManager.issuerRef is required with certManager.enabled" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is required with httpRoute.enabled" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (include "roadstead.tlsSecret" .) (not .Values.httpRoute.backendTLSPolicy.enabled) -}}
{{- fail "httpRoute.backendTLSPolicy.enabled is required where the pod speaks TLS, or the gateway would speak plain HTTP to it" -}}
{{- end -}}
{{- end -}}

{{- define "roadstead.probe" -}}
{{- $probe := .probe -}}
{{- if not (or (hasKey $probe "httpGet") (hasKey $probe "tcpSocket") (hasKey $probe "exec")) -}}
{{- $scheme := include "roadstead.tlsSecret" .root | empty | ternary "HTTP" "HTTPS" -}}
{{- $probe = merge (dict "httpGet" (dict "path" .path "port" "registry" "scheme" $scheme)) $probe -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}
