{{/* Labels of an object: (list $ <name> <component>). */}}
{{- define "metal3-bmo.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ index . 2 }}
app.kubernetes.io/part-of: metal3
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of a pod: (list $ <name> <component>). Those of the selector cannot change: upgrades would fail. */}}
{{- define "metal3-bmo.podLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 2 }}
app.kubernetes.io/part-of: metal3
{{- end }}

{{/* (list $ <image value>) */}}
{{- define "metal3-bmo.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (printf "v%s" (index . 0).Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{- define "metal3-bmo.imagePullSecrets" -}}
{{- with (dig "imagePullSecrets" list (.Values.global | default dict)) | default .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{- define "metal3-bmo.tlsSource" -}}
{{- dig "tls" "source" "" (.Values.global | default dict) | default .Values.tls.source -}}
{{- end }}

{{- define "metal3-bmo.tlsSecret" -}}
{{- if eq (include "metal3-bmo.tlsSource" .) "secret" -}}
{{ .Values.tls.existingSecret | required "tls.existingSecret: tls.source secret needs the name of a Secret with tls.crt, tls.key and ca.crt" }}
{{- else -}}
baremetal-operator-host-service-cert
{{- end -}}
{{- end }}

{{- define "metal3-bmo.webhookSecret" -}}
{{- if eq (include "metal3-bmo.tlsSource" .) "secret" -}}
{{ .Values.tls.webhookSecret | required (printf "tls.webhookSecret: tls.source secret needs the name of a Secret with tls.crt and tls.key for baremetal-operator-webhook-service.%s.svc, or webhooks.enabled=false" .Release.Namespace) }}
{{- else -}}
bmo-webhook-server-cert
{{- end -}}
{{- end }}

{{/* How the API server can trust the webhooks: of clientConfig. */}}
{{- define "metal3-bmo.caBundle" -}}
{{- if eq (include "metal3-bmo.tlsSource" .) "secret" }}
{{- $pem := dig "tls" "caBundle" "" (.Values.global | default dict) | default .Values.tls.caBundle }}
caBundle: {{ $pem | required "tls.caBundle: tls.source secret needs the PEM of the CA of the webhooks (umbrella chart: global.tls.caBundle)" | b64enc }}
{{- end }}
{{- end }}

{{/* Ironic's API; says what to do when there is none. */}}
{{- define "metal3-bmo.ironicEndpoint" -}}
{{- if .Values.ironic.resource.name -}}
https://{{ .Values.ironic.resource.name }}.{{ .Values.ironic.resource.namespace | default .Release.Namespace }}.svc
{{- else if .Values.ironic.endpoint -}}
{{ .Values.ironic.endpoint }}
{{- else if .Values.ironicSim.enabled -}}
http://metal3-ironic-sim.{{ .Release.Namespace }}.svc:6385/v1
{{- else -}}
{{ fail (printf "\n\nNo Ironic: set %[1]sironic.endpoint (for example https://ironic.example.com:6385/v1), %[1]sironic.resource.name, or %[1]sironicSim.enabled=true to try Metal3 without hardware." (include "metal3-bmo.prefix" .)) }}
{{- end -}}
{{- end }}

{{/* How the values of this chart are named on the command line. */}}
{{- define "metal3-bmo.prefix" -}}
{{- if ne .Template.BasePath "metal3-bmo/templates" }}metal3-bmo.{{ end -}}
{{- end }}

{{/* Name of the Secret with username and password; empty: no authentication. */}}
{{- define "metal3-bmo.ironicCredentials" -}}
{{- if .Values.ironic.existingSecret -}}
{{ .Values.ironic.existingSecret }}
{{- else if .Values.ironic.username -}}
ironic-credentials
{{- end -}}
{{- end }}

{{/* restricted Pod Security */}}
{{- define "metal3-bmo.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "metal3-bmo.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The port of a URL. */}}
{{- define "metal3-bmo.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end }}
