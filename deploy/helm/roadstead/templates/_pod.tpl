{{/* The pod of the StatefulSet and of the Deployment. */}}
{{- define "roadstead.pod" -}}
{{- $bucket := ne .Values.storage "filesystem" -}}
{{- $keys := include "roadstead.secretKeys" . | fromJsonArray -}}
{{- $tls := include "roadstead.tlsSecret" . -}}
{{- $sleep := and $bucket (gt (int .Values.preStopSleepSeconds) 0) (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
metadata:
  labels: {{- merge (include "roadstead.selector" . | fromYaml) .Values.podLabels | toYaml | nindent 4 }}
  annotations:
    checksum/config: {{ toYaml .Values.configData | sha256sum }}
    {{- /* Not of htpasswd, which is read again when it changes. */}}
    checksum/secret: {{ list (omit .Values.secrets "htpasswd") .Values.externalSecrets | toJson | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  automountServiceAccountToken: false
  # Variables for a Service named `registry` would look like settings.
  enableServiceLinks: false
  {{- if or .Values.serviceAccount.create .Values.serviceAccount.name }}
  serviceAccountName: {{ .Values.serviceAccount.name | default (include "roadstead.fullname" .) }}
  {{- end }}
  terminationGracePeriodSeconds: {{ add .Values.drainTimeoutSeconds (ternary .Values.preStopSleepSeconds 0 $sleep) 15 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if .Values.securityContext.enabled }}
  securityContext: {{- omit .Values.securityContext "enabled" | toYaml | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: registry
      image: {{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [/bin/registry, serve, {{ .Values.configPath }}/config.yml]
      ports:
        - name: registry
          containerPort: 5000
        {{- if .Values.metrics.enabled }}
        - name: http-metrics
          containerPort: {{ .Values.metrics.port }}
        {{- end }}
      {{- with .Values.startupProbe }}
      startupProbe: {{- include "roadstead.probe" (dict "root" $ "probe" . "path" "/livez") | nindent 8 }}
      {{- end }}
      {{- with .Values.livenessProbe }}
      livenessProbe: {{- include "roadstead.probe" (dict "root" $ "probe" . "path" "/livez") | nindent 8 }}
      {{- end }}
      {{- with .Values.readinessProbe }}
      readinessProbe: {{- include "roadstead.probe" (dict "root" $ "probe" . "path" "/readyz") | nindent 8 }}
      {{- end }}
      {{- if $sleep }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .Values.preStopSleepSeconds }}
      {{- end }}
      {{- with .Values.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if .Values.containerSecurityContext.enabled }}
      securityContext: {{- omit .Values.containerSecurityContext "enabled" | toYaml | nindent 8 }}
      {{- end }}
      env: {{- include "roadstead.environment" . | trim | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: {{ .Values.configPath }}
          readOnly: true
        {{- if has "htpasswd" $keys }}
        - name: auth
          mountPath: /auth
          readOnly: true
        {{- end }}
        {{- if $tls }}
        - name: tls
          mountPath: /etc/ssl/docker
          readOnly: true
        {{- end }}
        {{- if and (eq .Values.storage "gcs") (has "gcsKeyfile" $keys) }}
        - name: gcs
          mountPath: /gcs
          readOnly: true
        {{- end }}
        {{- if not $bucket }}
        - name: data
          mountPath: /var/lib/registry
        {{- end }}
        {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
    {{- with .Values.extraContainers }}{{ toYaml . | nindent 4 }}{{ end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "roadstead.fullname" . }}-config
    {{- if has "htpasswd" $keys }}
    - name: auth
      secret:
        secretName: {{ include "roadstead.secretName" . }}
        items: [{key: htpasswd, path: htpasswd}]
    {{- end }}
    {{- if $tls }}
    - name: tls
      secret:
        secretName: {{ $tls }}
        items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
    {{- end }}
    {{- if and (eq .Values.storage "gcs") (has "gcsKeyfile" $keys) }}
    - name: gcs
      secret:
        secretName: {{ include "roadstead.secretName" . }}
        items: [{key: gcsKeyfile, path: key.json}]
    {{- end }}
    {{- if not $bucket }}
    - name: data
      {{- if .Values.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim | default (include "roadstead.fullname" .) }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if $bucket }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "roadstead.selector" . | nindent 10 }}
  {{- end }}
{{- end -}}

{{/* The settings as variables. */}}
{{- define "roadstead.environment" -}}
{{- $keys := include "roadstead.secretKeys" . | fromJsonArray -}}
{{- $secret := include "roadstead.secretName" . -}}
{{- $plain := dict "REGISTRY_HTTP_ADDR" ":5000" "REGISTRY_HTTP_DRAINTIMEOUT" (printf "%ds" (int .Values.drainTimeoutSeconds)) -}}
{{- $secrets := dict -}}
{{- if .Values.metrics.enabled -}}
{{- $_ := set $plain "REGISTRY_HTTP_DEBUG_ADDR" (printf ":%d" (int .Values.metrics.port)) -}}
{{- $_ := set $plain "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED" "true" -}}
{{- $_ := set $plain "REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH" "/metrics" -}}
{{- end -}}
{{- if has "haSharedSecret" $keys }}{{ $_ := set $secrets "REGISTRY_HTTP_SECRET" (list $secret "haSharedSecret") }}{{ end -}}
{{- if has "htpasswd" $keys }}{{ $_ := set $plain "REGISTRY_AUTH_HTPASSWD_PATH" "/auth/htpasswd" }}{{ end -}}
{{- /* The image allows it by itself. */ -}}
{{- if and (not (include "roadstead.tlsSecret" .)) (or (has "htpasswd" $keys) .Values.configData.auth) -}}
{{- $_ := set $plain "REGISTRY_AUTH_PLAINHTTP" (ternary "true" "false" .Values.allowPlainHTTP) -}}
{{- end -}}
{{- if include "roadstead.tlsSecret" . -}}
{{- $_ := set $plain "REGISTRY_HTTP_TLS_CERTIFICATE" "/etc/ssl/docker/tls.crt" -}}
{{- $_ := set $plain "REGISTRY_HTTP_TLS_KEY" "/etc/ssl/docker/tls.key" -}}
{{- end -}}
{{- with .Values.trustedProxies }}{{ $_ := set $plain "REGISTRY_HTTP_TRUSTEDPROXIES" (join "," .) }}{{ end -}}
{{- if .Values.persistence.deleteEnabled -}}
{{- $_ := set $plain "REGISTRY_STORAGE_DELETE_ENABLED" "true" -}}
{{- if .Values.garbageCollect.enabled -}}
{{- $_ := set $plain "REGISTRY_STORAGE_MAINTENANCE_GC_INTERVAL" .Values.garbageCollect.interval -}}
{{- if .Values.garbageCollect.deleteUntagged }}{{ $_ := set $plain "REGISTRY_STORAGE_MAINTENANCE_GC_DELETEUNTAGGED" .Values.garbageCollect.untaggedAge }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if not .Values.garbageCollect.enabled }}{{ $_ := set $plain "REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED" "false" }}{{ end -}}
{{- $_ := set $plain "REGISTRY_STORAGE" .Values.storage -}}
{{- if eq .Values.storage "filesystem" -}}
{{- $_ := set $plain "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY" "/var/lib/registry" -}}
{{- else if eq .Values.storage "s3" -}}
{{- $keysSecret := (.Values.secrets.s3).secretRef | default $secret -}}
{{- $_ := set $plain "REGISTRY_STORAGE_S3_BUCKET" (required "s3.bucket is required with storage: s3" .Values.s3.bucket) -}}
{{- range $value, $setting := dict "region" "REGION" "regionEndpoint" "REGIONENDPOINT" "rootdirectory" "ROOTDIRECTORY" "encrypt" "ENCRYPT" "secure" "SECURE" "forcepathstyle" "FORCEPATHSTYLE" -}}
{{- if and (hasKey $.Values.s3 $value) (ne (toString (get $.Values.s3 $value)) "") -}}
{{- $_ := set $plain (printf "REGISTRY_STORAGE_S3_%s" $setting) (get $.Values.s3 $value) -}}
{{- end -}}
{{- end -}}
{{- if or (.Values.secrets.s3).secretRef (has "s3AccessKey" $keys) -}}
{{- $_ := set $secrets "REGISTRY_STORAGE_S3_ACCESSKEY" (list $keysSecret "s3AccessKey") -}}
{{- $_ := set $secrets "REGISTRY_STORAGE_S3_SECRETKEY" (list $keysSecret "s3SecretKey") -}}
{{- end -}}
{{- else if eq .Values.storage "gcs" -}}
{{- $_ := set $plain "REGISTRY_STORAGE_GCS_BUCKET" (required "gcs.bucket is required with storage: gcs" .Values.gcs.bucket) -}}
{{- with .Values.gcs.rootdirectory }}{{ $_ := set $plain "REGISTRY_STORAGE_GCS_ROOTDIRECTORY" . }}{{ end -}}
{{- if has "gcsKeyfile" $keys -}}
{{- $_ := set $plain "REGISTRY_STORAGE_GCS_KEYFILE" "/gcs/key.json" -}}
{{- end -}}
{{- else if eq .Values.storage "azure" -}}
{{- with .Values.azure.rootdirectory }}{{ $_ := set $plain "REGISTRY_STORAGE_AZURE_ROOTDIRECTORY" . }}{{ end -}}
{{- range $key, $setting := dict "azureAccountName" "ACCOUNTNAME" "azureAccountKey" "ACCOUNTKEY" "azureContainer" "CONTAINER" -}}
{{- if has $key $keys -}}
{{- $_ := set $secrets (printf "REGISTRY_STORAGE_AZURE_%s" $setting) (list $secret $key) -}}
{{- else if and (not $.Values.extraEnvVars) (ne $key "azureAccountKey") -}}
{{- fail "storage: azure needs secrets.azure.accountName and container" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $plain }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $source := $secrets }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ index $source 0 }}
      key: {{ index $source 1 }}
{{- end }}
{{- with .Values.extraEnvVars }}
{{ toYaml . }}
{{- end }}
{{- end -}}
