{{/* Labels of an object: (list $ <name> <component>). */}}
{{- define "metal3-capm3.labels" -}}
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
{{- define "metal3-capm3.podLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 2 }}
app.kubernetes.io/part-of: metal3
{{- end }}

{{/* (list $ <image value>) */}}
{{- define "metal3-capm3.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (printf "v%s" (index . 0).Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{- define "metal3-capm3.imagePullSecrets" -}}
{{- with (dig "imagePullSecrets" list (.Values.global | default dict)) | default .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{- define "metal3-capm3.tlsSource" -}}
{{- dig "tls" "source" "" (.Values.global | default dict) | default .Values.tls.source -}}
{{- end }}

{{/* restricted Pod Security */}}
{{- define "metal3-capm3.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "metal3-capm3.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The port of a URL. */}}
{{- define "metal3-capm3.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end }}

{{- define "metal3-capm3.tlsSecret" -}}
{{- if eq (include "metal3-capm3.tlsSource" .) "secret" -}}
{{ .Values.tls.existingSecret | required "tls.existingSecret: tls.source secret needs the name of a Secret with tls.crt and tls.key" }}
{{- else -}}
capm3-webhook-service-cert
{{- end -}}
{{- end }}

{{/* How the API server can trust a webhook: fields of metadata. */}}
{{- define "metal3-capm3.caAnnotation" -}}
{{- if eq (include "metal3-capm3.tlsSource" .) "cert-manager" }}
annotations:
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/capm3-serving-cert
{{- end }}
{{- end }}

{{/* and of clientConfig */}}
{{- define "metal3-capm3.caBundle" -}}
{{- if eq (include "metal3-capm3.tlsSource" .) "secret" }}
{{- $pem := dig "tls" "caBundle" "" (.Values.global | default dict) | default .Values.tls.caBundle }}
caBundle: {{ $pem | required "tls.caBundle: tls.source secret needs the PEM of the CA of the webhooks (umbrella chart: global.tls.caBundle)" | b64enc }}
{{- end }}
{{- end }}

{{- define "metal3-capm3.hostService" -}}
{{ .Values.hostService.address | default (printf "https://baremetal-operator-host-service-headless.%s.svc:8443" .Release.Namespace) }}
{{- end }}

{{/* The name that its certificate is made for; empty: the host of the address. */}}
{{- define "metal3-capm3.hostServiceName" -}}
{{- if .Values.hostService.serverName -}}
{{ .Values.hostService.serverName }}
{{- else if not .Values.hostService.address -}}
baremetal-operator-host-service.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end }}

{{/* The HostService as one address, for those who check its certificate by that. */}}
{{- define "metal3-capm3.hostServiceUrl" -}}
{{ .Values.hostService.address | default (printf "https://baremetal-operator-host-service.%s.svc:8443" .Release.Namespace) }}
{{- end }}

{{/* Where the CA of the HostService is: a volume source. The key of a certificate stays with the server. */}}
{{- define "metal3-capm3.hostServiceCa" -}}
{{- $map := .Values.hostService.caConfigMap }}
{{- if and (not $map) (not .Values.hostService.caSecret) (eq (include "metal3-capm3.tlsSource" .) "self-signed") }}
{{- $map = "baremetal-operator-host-service-ca" }}
{{- end }}
{{- if $map -}}
configMap:
  name: {{ $map }}
{{- else -}}
secret:
  secretName: {{ .Values.hostService.caSecret | default "baremetal-operator-host-service-cert" }}
{{- end }}
  items:
  - {key: ca.crt, path: ca.crt}
{{- end }}
