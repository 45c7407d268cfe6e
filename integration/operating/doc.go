// Package operating checks what docs/operating has for the person on call against what there
// is: the list of metrics, the rules for alerts and the dashboard for Grafana.
package operating
