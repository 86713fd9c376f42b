{{/*
Names. A release `enterprise-gateway` in a namespace `enterprise-gateway` has the names that every guide of Enterprise
Gateway uses. Any other release has its own name in all of them, and in names that belong to the whole cluster its
namespace too, so that no two releases ever share an object.
*/}}

{{- define "eg.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) | replace "." "-" -}}
{{- include "eg.bounded" (dict "text" $full "most" 40) -}}
{{- end -}}

{{/* A text of at most so many characters; what is cut off lives on as a hash, so that different texts stay different. */}}
{{- define "eg.bounded" -}}
{{- if gt (len .text) (int .most) -}}
{{- printf "%s-%s" (.text | trunc (int (sub .most 9)) | trimSuffix "-" | trimSuffix ".") (.text | sha256sum | trunc 8) -}}
{{- else -}}
{{- .text -}}
{{- end -}}
{{- end -}}

{{- define "eg.isDefault" -}}
{{- if and (eq (include "eg.fullname" .) .Chart.Name) (eq .Release.Namespace .Chart.Name) }}true{{ end -}}
{{- end -}}

{{/* Tells this installation from every other one of the cluster: the instance label of all its objects, kernels too. */}}
{{- define "eg.instance" -}}
{{- if include "eg.isDefault" . -}}
{{- .Chart.Name -}}
{{- else -}}
{{- include "eg.bounded" (dict "text" (printf "%s.%s" .Release.Namespace (include "eg.fullname" .)) "most" 63) -}}
{{- end -}}
{{- end -}}

{{/* Call with (dict "root" $ "base" NAME). The name of an object that belongs to no namespace. */}}
{{- define "eg.clusterWide" -}}
{{- if include "eg.isDefault" .root -}}
{{- .base -}}
{{- else -}}
{{- printf "%s.%s.%s" .base .root.Release.Namespace (include "eg.fullname" .root) -}}
{{- end -}}
{{- end -}}

{{- define "eg.serviceAccount" -}}
{{- .Values.deployment.serviceAccountName | default (printf "%s-sa" (include "eg.fullname" .)) -}}
{{- end -}}

{{- define "eg.kip" -}}
{{- $full := include "eg.fullname" . -}}
{{- ternary "kernel-image-puller" (printf "%s-kernel-image-puller" $full) (eq $full .Chart.Name) -}}
{{- end -}}

{{- define "eg.kipServiceAccount" -}}
{{- .Values.kip.serviceAccountName | default (printf "%s-sa" (include "eg.kip" .)) -}}
{{- end -}}

{{- define "eg.controllerRole" -}}
{{- include "eg.clusterWide" (dict "root" . "base" "enterprise-gateway-controller") -}}
{{- end -}}

{{/* The name that the gateway gives its Lease: the instance's where that can be one, else a readable part and a hash. */}}
{{- define "eg.lease" -}}
{{- $instance := include "eg.instance" . -}}
{{- if include "eg.isDefault" . -}}
{{- $instance -}}
{{- else -}}
{{- printf "%s-%s" (regexReplaceAll "[^0-9a-z]+" $instance "-" | trunc 54 | trimSuffix "-") ($instance | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces, as a JSON list, outside of which the gateway has no rights; none where it makes a namespace for each kernel. */}}
{{- define "eg.kernelHomes" -}}
{{- $spark := compact (list .Values.kernel.sparkNamespace) -}}
{{- if include "eg.sharesNamespace" . -}}
{{- concat (list .Release.Namespace) $spark | toJson -}}
{{- else if .Values.kernel.fixedNamespaces -}}
{{- concat .Values.kernel.namespaces $spark | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* Whether the role of kernels is the chart's own. */}}
{{- define "eg.ownsKernelRole" -}}
{{- if and (eq .Values.kernel.clusterRole "kernel-controller") (not (include "eg.kernelHomes" . | fromJsonArray)) .Values.deployment.enabled }}true{{ end -}}
{{- end -}}

{{- define "eg.kernelRole" -}}
{{- if eq .Values.kernel.clusterRole "kernel-controller" -}}
{{- include "eg.clusterWide" (dict "root" . "base" "kernel-controller") -}}
{{- else -}}
{{- .Values.kernel.clusterRole -}}
{{- end -}}
{{- end -}}

{{- define "eg.tokenSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-token" (include "eg.fullname" .)) -}}
{{- end -}}

{{- define "eg.priorityClass" -}}
{{- if .given -}}
{{- .given -}}
{{- else if .root.Values.priorityClasses.enabled -}}
{{- include "eg.clusterWide" (dict "root" .root "base" .base) -}}
{{- end -}}
{{- end -}}
