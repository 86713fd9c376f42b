{{/*
Values that have an older name, from Enterprise Gateway's charts. The newer name wins where both are set, so its default in
values.yaml is null (or empty): "set to the default" and "not set" differ. Only kernel.allowedKernels has another default, which
files/moved-values.yaml repeats. What counts is read by these helpers only.
*/}}

{{/* Call with (dict "values" MAPPING "path" "a.b"). JSON: {"value": …}, or {} where the value isn't set: missing, null or empty,
or the same as "default", if that is given. */}}
{{- define "eg.given" -}}
{{- $found := .values -}}
{{- range splitList "." .path -}}
  {{- $found = ternary (get (ternary $found dict (kindIs "map" $found)) .) nil (kindIs "map" $found) -}}
{{- end -}}
{{- /* A number or a truth is set whatever it is; a text, list or mapping where it isn't empty. */ -}}
{{- if and (kindIs "invalid" $found | not) (or (kindIs "bool" $found) (not (empty $found)) (eq (toString $found) "0")) (ne (toJson $found) (toJson .default)) -}}
{{- dict "value" $found | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/* Call with (dict "root" $ "newer" PATH "older" PATH "default" VALUE). JSON: {"value": …}. */}}
{{- define "eg.chosen" -}}
{{- $chosen := dict "value" .default -}}
{{- range list .older .newer -}}
  {{- with include "eg.given" (dict "values" $.root.Values "path" .) | fromJson }}{{ $chosen = . }}{{ end -}}
{{- end -}}
{{- toJson $chosen -}}
{{- end -}}

{{- define "eg.replicas" -}}
{{- (include "eg.chosen" (dict "root" . "newer" "deployment.replicas" "older" "replicas" "default" 1) | fromJson).value | int -}}
{{- end -}}

{{/* Whether kernels run in the release's namespace: `true` or nothing. */}}
{{- define "eg.sharesNamespace" -}}
{{- if (include "eg.chosen" (dict "root" . "newer" "kernel.shareGatewayNamespace" "older" "kernel.sharedNamespace" "default" false) | fromJson).value }}true{{ end -}}
{{- end -}}

{{/* The kernelspecs that are offered, separated by commas; nothing for all. */}}
{{- define "eg.allowedKernels" -}}
{{- $names := .Values.kernel.allowedKernels | default list -}}
{{- if or (empty $names) (include "eg.offersDelivered" .) }}{{ $names = .Values.kernel.whitelist | default $names }}{{ end -}}
{{- join "," $names -}}
{{- end -}}

{{/* Whether kernel.allowedKernels is as values.yaml has it: `true` or nothing. */}}
{{- define "eg.offersDelivered" -}}
{{- range (.Files.Get "files/moved-values.yaml" | fromYaml).renamed -}}
  {{- if and (eq .value "kernel.whitelist") (eq (toJson .default) (toJson $.Values.kernel.allowedKernels)) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The Service's addresses beside its own, as a JSON list. */}}
{{- define "eg.externalAddresses" -}}
{{- $first := (include "eg.chosen" (dict "root" . "newer" "service.externalIPs.k8sMasterPublicIP" "older" "k8sMasterPublicIP" "default" "") | fromJson).value -}}
{{- concat (compact (list $first)) .Values.service.externalIPs.addresses | toJson -}}
{{- end -}}

{{/* The ports, as a JSON list. The older value is the Service's port; at which one the process listens is nobody's business. */}}
{{- define "eg.ports" -}}
{{- $older := (include "eg.given" (dict "values" .Values "path" "port") | fromJson).value | default 8888 -}}
{{- .Values.service.ports | default (list (dict "name" "http" "port" $older "targetPort" 8888)) | toJson -}}
{{- end -}}

{{/* Which of the older blocks `ingress.traefik` and `ingress.nginx` is in use, as their chart chose: Traefik unless it is disabled. */}}
{{- define "eg.olderController" -}}
{{- $nginx := .Values.ingress.nginx | default dict -}}
{{- $traefik := .Values.ingress.traefik | default dict -}}
{{- if $nginx.enabled -}}
nginx
{{- else if and $traefik (ne (toString $traefik.enabled) "false") -}}
traefik
{{- end -}}
{{- end -}}

{{/* What the Ingress is made of, as JSON: class, path, pathType, annotations; and base, where the gateway must serve below the path. */}}
{{- define "eg.ingress" -}}
{{- $class := .Values.ingress.ingressClassName -}}
{{- $path := .Values.ingress.path | default "/" -}}
{{- $annotations := .Values.ingress.annotations -}}
{{- $base := "" -}}
{{- with include "eg.olderController" . -}}
  {{- $older := get $.Values.ingress . -}}
  {{- $annotations = merge dict $annotations ($older.annotations | default dict) -}}
  {{- /* Kubernetes refuses a class that stands in both places. */ -}}
  {{- $class = $class | default (get $annotations "kubernetes.io/ingress.class") | default . -}}
  {{- $annotations = omit $annotations "kubernetes.io/ingress.class" -}}
  {{- if not $.Values.ingress.path -}}
    {{- $path = $older.path | default (ternary "/gateway/?(.*)" "/gateway" (eq . "nginx")) -}}
    {{- if contains "(" $path -}}
      {{- $rewriting := dict "nginx.ingress.kubernetes.io/use-regex" "true" "nginx.ingress.kubernetes.io/rewrite-target" "/$1" -}}
      {{- $annotations = merge $annotations $rewriting -}}
    {{- else if not (or (get $annotations "traefik.ingress.kubernetes.io/router.middlewares") (get $annotations "nginx.ingress.kubernetes.io/rewrite-target")) -}}
      {{- $base = $path -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $type := .Values.ingress.pathType | default (ternary "ImplementationSpecific" "Prefix" (contains "(" $path)) -}}
{{- dict "class" $class "path" $path "pathType" $type "annotations" $annotations "base" $base | toJson -}}
{{- end -}}

{{/* The path below which the gateway serves everything, as the user wrote it. */}}
{{- define "eg.baseUrl" -}}
{{- $base := .Values.baseUrl -}}
{{- if and .Values.ingress.enabled (eq $base "/") }}{{ $base = (include "eg.ingress" . | fromJson).base | default $base }}{{ end -}}
{{- $base -}}
{{- end -}}

{{/* Older names that are set, each with its newer one, as lines for the notes. */}}
{{- define "eg.olderNames" -}}
{{- $lines := list -}}
{{- range (.Files.Get "files/moved-values.yaml" | fromYaml).renamed -}}
  {{- if include "eg.given" (dict "values" $.Values "path" .value) | fromJson -}}
    {{- $winners := list -}}
    {{- $default := .default -}}
    {{- range .takes }}{{ if include "eg.given" (dict "values" $.Values "path" . "default" $default) | fromJson }}{{ $winners = append $winners . }}{{ end }}{{ end -}}
    {{- $remark := "" -}}
    {{- if $winners }}{{ $remark = printf " (%s is set too and wins)" (join " and " $winners) }}{{ end -}}
    {{- $lines = append $lines (printf "     %-24s %s%s" .value .newer $remark) -}}
  {{- end -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}
