{{/* Call with (dict "root" $ "component" NAME). The labels of an object. */}}
{{- define "eg.labels" -}}
{{- $own := dict
  "app" "enterprise-gateway"
  "component" .component
  "app.kubernetes.io/name" "enterprise-gateway"
  "app.kubernetes.io/instance" (include "eg.instance" .root)
  "app.kubernetes.io/component" .component
  "app.kubernetes.io/part-of" "enterprise-gateway"
  "app.kubernetes.io/version" (.root.Chart.AppVersion | toString)
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- if eq .component "enterprise-gateway" }}{{ $_ := set $own "gateway-selector" "enterprise-gateway" }}{{ end -}}
{{- merge $own (.more | default dict) .root.Values.global.commonLabels | toYaml -}}
{{- end -}}

{{/* Call as eg.labels. The labels by which an object of this release is found; they never change. */}}
{{- define "eg.selector" -}}
app: enterprise-gateway
component: {{ .component }}
app.kubernetes.io/instance: {{ include "eg.instance" .root }}
{{- end -}}

{{/* Call with (dict "root" $ "own" ANNOTATIONS). The annotations of an object, as a whole entry or nothing. */}}
{{- define "eg.annotations" -}}
{{- with merge (dict) (.own | default dict) .root.Values.global.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Call with (dict "root" $ "component" NAME "name" NAME ["own" ANNOTATIONS] ["more" LABELS] ["namespace" NAME]). */}}
{{- define "eg.metadata" -}}
name: {{ .name }}
{{- if not .clusterWide }}
namespace: {{ .namespace | default .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "eg.labels" . | nindent 2 }}
{{- include "eg.annotations" . }}
{{- end -}}

{{/*
Call with (dict "chart" VALUES "extra" VALUES). A container's env, in which extra values take the place of the chart's, also by
an empty one. A value is a text, a number, a truth, or has valueFrom.
*/}}
{{- define "eg.env" -}}
{{- $env := .chart -}}
{{- range $name, $value := .extra }}{{ $_ := set $env $name $value }}{{ end -}}
{{- range $name, $value := $env }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else if kindIs "string" $value }}
  value: {{ $value | quote }}
  {{- else }}
  value: {{ $value | toJson | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Call with (dict "root" $ "name" http OR http-response). The port of the gateway's process. */}}
{{- define "eg.port" -}}
{{- $port := ternary 8888 8877 (eq .name "http") -}}
{{- $name := .name -}}
{{- range include "eg.ports" .root | fromJsonArray }}{{ if eq .name $name }}{{ $port = .targetPort | default .port }}{{ end }}{{ end -}}
{{- int $port -}}
{{- end -}}

{{- define "eg.servicePort" -}}
{{- range include "eg.ports" . | fromJsonArray }}{{ if eq .name "http" }}{{ int .port }}{{ end }}{{ end -}}
{{- end -}}

{{/* The base path without a slash at its end: empty for the root. */}}
{{- define "eg.base" -}}
{{- include "eg.baseUrl" . | trimSuffix "/" -}}
{{- end -}}

{{- define "eg.scheme" -}}
{{- ternary "https" "http" (not (empty .Values.tls.secretName)) -}}
{{- end -}}

{{/* The gateway's address inside the cluster. */}}
{{- define "eg.url" -}}
{{- printf "%s://%s.%s.svc:%s%s" (include "eg.scheme" .) (include "eg.fullname" .) .Release.Namespace (include "eg.servicePort" .) (include "eg.base" .) -}}
{{- end -}}

{{/* Names of the pull secrets, as a YAML list. */}}
{{- define "eg.pullSecretNames" -}}
{{- $names := list -}}
{{- range .Values.global.imagePullSecrets }}{{ $names = append $names (ternary . (get (ternary (dict) . (kindIs "string" .)) "name") (kindIs "string" .)) }}{{ end -}}
{{- if .Values.imagePullSecretsCreate.enabled }}{{ range .Values.imagePullSecretsCreate.secrets }}{{ $names = append $names .name }}{{ end }}{{ end -}}
{{- $names | uniq | toYaml -}}
{{- end -}}

{{- define "eg.imagePullSecrets" -}}
{{- with include "eg.pullSecretNames" . | fromYamlArray }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The service account's token as a volume of the one container that uses it, where other containers of the pod don't see it. */}}
{{- define "eg.accountVolume" -}}
- name: service-account
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                apiVersion: v1
                fieldPath: metadata.namespace
{{- end -}}

{{- define "eg.accountMount" -}}
- name: service-account
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end -}}

{{/* Call with (dict "root" $ "path" /livez "timing" VALUES). */}}
{{- define "eg.probe" -}}
{{- if .root.Values.tls.clientCertificates }}
tcpSocket:
  port: http
{{- else }}
httpGet:
  path: {{ include "eg.base" .root }}{{ .path }}
  port: http
  scheme: {{ include "eg.scheme" .root | upper }}
{{- end }}
{{- toYaml .timing | nindent 0 }}
{{- end -}}

{{/* Call with (dict "root" $ "timing" VALUES). Its port speaks neither TLS nor asks for a token. */}}
{{- define "eg.healthProbe" -}}
httpGet:
  path: {{ include "eg.base" .root }}/livez
  port: health
{{- toYaml .timing | nindent 0 }}
{{- end -}}

{{/* Which source of image names the puller has. */}}
{{- define "eg.kipFetcher" -}}
{{- $gateway := or .Values.deployment.enabled .Values.kip.serviceName -}}
{{- $own := ternary "StaticListFetcher" "FileImagesFetcher" (kindIs "string" (.Values.kip.images | default "")) -}}
{{- if .Values.kip.fetcher -}}
{{- .Values.kip.fetcher -}}
{{- else if not .Values.kip.images -}}
KernelSpecsFetcher
{{- else -}}
{{- ternary "CombinedImagesFetcher" $own (not (empty $gateway)) -}}
{{- end -}}
{{- end -}}

{{- define "eg.kipAsksGateway" -}}
{{- $fetcher := include "eg.kipFetcher" . -}}
{{- if or (eq $fetcher "KernelSpecsFetcher") (and (eq $fetcher "CombinedImagesFetcher") (or (not .Values.kip.internalFetcher) (contains "KernelSpecsFetcher" .Values.kip.internalFetcher))) }}true{{ end -}}
{{- end -}}

{{- define "eg.kipReadsConfigMap" -}}
{{- if or (eq (include "eg.kipFetcher" .) "ConfigMapImagesFetcher") (contains "ConfigMapImagesFetcher" (.Values.kip.internalFetcher | default "")) }}true{{ end -}}
{{- end -}}

{{/* What the gateway's policy file says: the administrator's policy, and the namespaces that exist for kernels. */}}
{{- define "eg.policy" -}}
{{- $policy := deepCopy .Values.policy -}}
{{- with .Values.kernel.namespaces }}{{ $_ := set $policy "namespaces" (concat (get $policy "namespaces" | default list) . | uniq) }}{{ end -}}
{{- toYaml $policy -}}
{{- end -}}

{{/* Pods in waiting by kernelspec, as EG_WARM_POOLS has them. */}}
{{- define "eg.warmPools" -}}
{{- $pools := list -}}
{{- range $name, $pool := .Values.kernel.warmPool -}}
  {{- $minimum := int (dig "minimum" (dig "size" 0 $pool) $pool) -}}
  {{- $maximum := int (dig "maximum" (max $minimum (int (dig "size" 0 $pool))) $pool) -}}
  {{- $pools = append $pools (ternary (printf "%s=%d" $name $minimum) (printf "%s=%d..%d" $name $minimum $maximum) (eq $minimum $maximum)) -}}
{{- end -}}
{{- join "," $pools -}}
{{- end -}}
